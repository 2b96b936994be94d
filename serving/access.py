"""Who may ask what: keys, roles, and the address a request came in by.

On loopback without keys everything is open to who asks for this machine by its own names: a
request for any other came through a proxy, or from a web page whose name was bent to this address.
With the first key that was ever made, every caller needs one, also where all were revoked since.
On any other address nobody is answered without one.
"""

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from sensei.errors import InvalidInput, StorageUnavailable
from sensei.keys import OPEN, OPERATOR, PLATFORM, Key, id_of

if TYPE_CHECKING:
    from sensei.settings import Settings

EVERY_SECONDS = 2.0
"""How often the keys are read again: a revoked one opens nothing after at most so long."""

ROLE = "sensei.role"
"""Where a request's scope holds the role of its caller."""

RANK = {OPEN: 0, PLATFORM: 1, OPERATOR: 2}
"""An operator may ask what the platform may, and more."""

CREATE = "run `sensei keys create`"
logger = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is not let in: its status and the sentence of why."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


class Access:
    """Lets callers in by the keys as this process read them last.

    Args:
        read: reads all keys; raises StorageUnavailable.
    """

    def __init__(self, read: Callable[[], Sequence[Key]] = list) -> None:
        self._read = read
        self._keys: Mapping[str, Key] | None = None
        self._was_read = True
        self.refresh()

    def refresh(self) -> None:
        """Read the keys again; where they cannot be read, those known before go on to count."""
        try:
            self._keys = {key.key_id: key for key in self._read()}
        except StorageUnavailable as error:
            if self._was_read:
                logger.warning("keys are as they were: %s", error)
            self._was_read = False
        else:
            self._was_read = True

    @property
    def has_valid_key(self) -> bool:
        """Whether anybody could be let in by a key."""
        return any(key.is_valid for key in (self._keys or {}).values())

    def admit(
        self, address: str | None, host: bytes, presented: bytes, *, is_passed_on: bool = False
    ) -> Key | None:
        """The key that a caller presents; None where none is needed.

        Args:
            address: of this machine, by which the request came in; None for a socket file.
            host: whom the request names, as in its `Host`.
            presented: the key as sent; empty where there was none.
            is_passed_on: whether a proxy says that it passed the request on for somebody.

        Raises:
            Refused: 401, or 503 where the keys could not be read yet.
        """
        is_near = is_loopback(address) and is_ours(host, address) and not is_passed_on
        if not self._keys and is_near:
            return None
        if self._keys is None:
            raise Refused(503, "keys: expected to be read, got no answer of the log; repeat", AGAIN)
        if not self._keys:
            raise Refused(401, f"key: expected one for this address, none exists; {CREATE}", BEARER)
        key = self._keys.get(id_of(presented))
        if key is None or not key.fits(presented) or not key.is_valid:
            got = "one that is not valid" if presented else "none"
            said = f"key: expected one, got {got}; send `Authorization: Bearer KEY`"
            raise Refused(401, said, BEARER)
        return key


BEARER = {"WWW-Authenticate": "Bearer"}
AGAIN = {"Retry-After": "2"}


class OnlyFor:
    """ASGI middleware of one route: refuses callers of a lesser role with 403."""

    def __init__(self, app: ASGIApp, role: str) -> None:
        self._app = app
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or refuse."""
        if RANK[scope[ROLE]] < RANK[self._role]:
            said = f"key: expected one of role {self._role}, got {scope[ROLE]}; use such a key"
            raise HTTPException(403, said)
        await self._app(scope, receive, send)


@lru_cache(maxsize=256)
def is_loopback(address: str | None) -> bool:
    """Whether only this machine can reach an address; a socket file (None or a path) is such."""
    try:
        return address is None or ip_address(address).is_loopback
    except ValueError:  # no address of a network: a path, or a test's name
        return True


_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::\d*)?")
"""Name, or IPv6 address in brackets, and port."""


@lru_cache(maxsize=256)
def is_ours(host: bytes, address: str | None) -> bool:
    """Whether a `Host` names loopback, or the address that the request came in by."""
    said = host.decode("latin-1").lower()
    named = _HOST.fullmatch(said)
    if named is None:
        return False
    name = named[1] or named[2] or ""
    return name in ("", "localhost", address) or _is_loopback_address(name)


def _is_loopback_address(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def open_access(settings: "Settings") -> Access:
    """The keys of the log that the settings name; a log that does not exist yet holds none."""
    from sensei import database, key_store

    engine = database.connect(settings.log_url, database.PROMPT)
    file = engine.url.database if database.is_sqlite(engine.url) else None

    def read() -> Sequence[Key]:
        if file and not Path(file).exists():  # asking would make it
            return []
        return key_store.read(engine)

    return Access(read)


def keep_current(access: Access, every: float = EVERY_SECONDS) -> threading.Event:
    """Read the keys again every so many seconds, in the background, until the event is set."""
    ended = threading.Event()

    def forever() -> None:
        while not ended.wait(every):
            try:
                access.refresh()
            except Exception:  # the thread must outlive whatever one reading runs into
                logger.exception("keys are as they were")

    threading.Thread(target=forever, daemon=True, name="keys").start()
    return ended


def refuse_exposed(host: str, settings: "Settings") -> None:
    """Hold that a service on an address that others reach has a key.

    Raises:
        InvalidInput: it has none, or nobody can say.
    """
    if is_loopback(host) or open_access(settings).has_valid_key:
        return
    raise InvalidInput(
        f"keys: expected at least one for a service on {host}, got none; "
        f"{CREATE}, or listen on 127.0.0.1 (SENSEI_SERVICE_HOST, --host)"
    )
