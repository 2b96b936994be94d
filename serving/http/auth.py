"""Authentication by keys, the roles of keys, and access without keys.

No caller is admitted before the keys were read once. After the first key was created, every caller
needs one, even if all keys were revoked since. During a database outage the last keys read stay
valid, up to a maximum age. For access without keys see `serving.http.keyless`. Without keys,
requests on any other address than loopback are refused.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from starlette.exceptions import HTTPException

from sensei.access.keys import OPEN, OPERATOR, PLATFORM, Key, id_of
from sensei.errors import InvalidInput, StorageUnavailable
from serving.http.keyless import Headers, Keyless, is_loopback, is_of_another_site

if TYPE_CHECKING:
    from sensei.settings import Settings
    from sensei.storage.database_file import DatabaseFile

EVERY_SECONDS = 2.0
"""Seconds between two reads of the keys: the maximum time until a revoked key is refused."""

ROLE = "sensei.role"
"""Name of the ASGI scope entry with the caller's role."""

RANK = {OPEN: 0, PLATFORM: 1, OPERATOR: 2}
"""Rank of each role: an operator may call everything that the platform may call, and more."""

CALLER = "sensei.key"
"""Name of the ASGI scope entry with the id of the caller's key; None or absent without a key."""

CREATE = "run `sensei keys create`"
BACK = "put the database back"
logger = logging.getLogger(__name__)


class RequestRefused(Exception):
    """Refused request, with the status and the reason as a sentence."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


class KeyStatus(NamedTuple):
    """Status of the keys, for `/readyz`; `note` tells a person what to do."""

    state: Literal["unread", "expired", "none", "valid"]
    read_seconds: float | None
    max_age_seconds: int
    note: str | None

    @property
    def is_ready(self) -> bool:
        """True if any caller can be admitted."""
        return self.state in ("none", "valid")


class Access:
    """Access control by the keys that this process read last.

    Before the first read it admits nobody.

    Args:
        read: reads all keys; raises StorageUnavailable.
        max_age_seconds: maximum age of the keys; older keys admit nobody.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Key]] = list,
        max_age_seconds: int = 86_400,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._max_age = max_age_seconds
        self._clock = clock
        self._current: tuple[Mapping[str, Key] | None, float] = (None, -math.inf)
        self._was_read = True
        self._keyless = Keyless()
        self.refresh()

    def refresh(self) -> None:
        """Read the keys again; keep the previous keys if the read fails."""
        asked_at = self._clock()
        try:
            keys = {key.key_id: key for key in self._read()}
        except StorageUnavailable as error:
            if self._was_read:
                logger.warning("keys could not be read, the last ones stay valid: %s", error)
            self._was_read = False
        else:
            self._current, self._was_read = (keys, asked_at), True

    @property
    def has_valid_key(self) -> bool:
        """True if at least one key is valid."""
        return any(key.is_valid for key in (self._current[0] or {}).values())

    def status(self) -> KeyStatus:
        """Return the age of the keys, and if they can admit a caller."""
        keys, read_at = self._current
        if keys is None:
            return KeyStatus("unread", None, self._max_age, UNREAD)
        age = self._clock() - read_at
        if age > self._max_age:
            return KeyStatus("expired", age, self._max_age, EXPIRED)
        if not keys:
            return KeyStatus("none", age, self._max_age, NO_KEYS)
        return KeyStatus("valid", age, self._max_age, None)

    def admit(self, scope: Mapping[str, Any], headers: Headers) -> Key | None:
        """Return the key that a caller presents; None if no key is needed.

        Args:
            scope: ASGI scope.
            headers: headers of the request, by name.

        Raises:
            RequestRefused: 401, 403, or 503 if the keys could not be read.
        """
        keys, read_at = self._current
        if keys is None:
            raise RequestRefused(503, UNREAD, AGAIN)
        if self._clock() - read_at > self._max_age:
            raise RequestRefused(503, EXPIRED, AGAIN)
        if not keys:
            self._check_own(scope, headers)
            return None
        presented = _presented(headers)
        key = keys.get(id_of(presented))
        if key is None or not key.fits(presented) or not key.is_valid:
            key_state = "an invalid one" if presented else "none"
            sentence = f"key: expected one, got {key_state}; send `Authorization: Bearer KEY`"
            raise RequestRefused(401, sentence, BEARER)
        return key

    def _check_own(self, scope: Mapping[str, Any], headers: Headers) -> None:
        """Check that a request without a key comes from a program of the service's own account.

        Raises:
            RequestRefused: 401, 403.
        """
        if reason := self._keyless.foreign(scope, headers):
            raise RequestRefused(401, f"key: expected one {reason}, none exists; {CREATE}", BEARER)
        if is_of_another_site(headers):
            raise RequestRefused(
                403, f"request: expected none from a page of another site; {CREATE}"
            )


def _presented(headers: Headers) -> bytes:
    """Return the key as sent; empty if none was sent."""
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")


NO_KEYS = (
    "keys: none exists, so only programs of this account on this machine are answered; "
    "run `sensei keys create` before other callers send requests"
)
UNREAD = "keys: expected to read them, got no answer of the database yet; repeat in 2 seconds"
EXPIRED = (
    "keys: expected to read them again, got no answer of the database for longer than "
    "SENSEI_KEYS_MAX_AGE_SECONDS; repeat in 2 seconds"
)
BEARER = {"WWW-Authenticate": "Bearer"}
AGAIN = {"Retry-After": "2"}


def require_role(role: str, scope: Mapping[str, Any], unless: str | None = None) -> None:
    """Check that the caller has a role or a higher one.

    Args:
        role: the lowest role that may call.
        scope: ASGI scope.
        unless: name of a value in the application's state; while it is true, lower roles may call
            too.

    Raises:
        HTTPException: 403.
    """
    caller = scope[ROLE]
    if RANK[caller] >= RANK[role] or (unless and getattr(scope["app"].state, unless, False)):
        return
    raise HTTPException(403, f"key: expected one of role {role}, got {caller}; use such a key")


def open_access(settings: "Settings", log_file: "DatabaseFile | None" = None) -> Access:
    """Return access control by the keys in the database that the settings name.

    Keys are read only from the file that was opened first: if it was moved or replaced, the last
    keys stay valid up to their maximum age. A home without a database that never had a key counts
    as having no keys. If the home ever had a key, missing keys are an outage. If an address names
    the database, a missing database is one too.

    Args:
        settings: location of the database, and the maximum age of the keys.
        log_file: SQLite file that the process has open; None to open one here.
    """
    from sensei.access import key_store
    from sensei.storage import database

    engine = database.connect(settings.log_url, database.PROMPT, log_file)
    database_file = database.file_of(engine)
    file = engine.url.database if database.is_sqlite(engine.url) else None
    home = settings.root
    folders = {home, Path(file).parent} if file else {home}

    def read_keys() -> Sequence[Key]:
        had_keys = any(key_store.has_mark(folder) for folder in folders)
        if file and not Path(file).exists():  # connecting would create it
            if had_keys or settings.database_url:
                raise StorageUnavailable(f"database: expected a file at {file}, got none; {BACK}")
            return []
        if database_file:
            database_file.check()
        keys = key_store.read(engine)
        if had_keys and not keys:
            raise StorageUnavailable(
                f"keys: expected those of this home, got none; {CREATE}, or {BACK}; "
                f"to serve it without keys again, remove {key_store.HAD_KEYS} in {home}"
            )
        if keys and not had_keys:
            _remember(home)
        return keys

    return Access(read_keys, settings.keys_max_age_seconds)


def _remember(home: Path) -> None:
    from sensei.access import key_store

    try:
        key_store.remember(home)
    except StorageUnavailable as error:
        _warn_once(str(error))


@cache
def _warn_once(sentence: str) -> None:
    logger.warning("%s", sentence)


def keep_current(access: Access, every: float = EVERY_SECONDS) -> threading.Event:
    """Read the keys again every `every` seconds in the background, until the returned event is set.

    Their status is logged at the start and at every change.
    """
    stopping = threading.Event()

    def forever() -> None:
        logged_state = None
        while True:
            now = access.status()
            if now.state != logged_state:
                logged_state = now.state
                logger.log(logging.WARNING if now.note else logging.INFO, now.note or "keys: read")
            if stopping.wait(every):
                return
            try:
                access.refresh()
            except Exception:  # the thread must survive any error of one read
                logger.exception("the keys stay as they were")

    threading.Thread(target=forever, daemon=True, name="keys").start()
    return stopping


def refuse_exposed(host: str, settings: "Settings") -> None:
    """Check that a service on an address other than loopback has a valid key.

    Raises:
        InvalidInput: it has none, or the keys could not be read.
    """
    if is_loopback(host) or open_access(settings).has_valid_key:
        return
    raise InvalidInput(
        f"keys: expected at least one for a service on {host}, got none; "
        f"{CREATE}, or listen on 127.0.0.1 (SENSEI_SERVICE_HOST, --host)"
    )
