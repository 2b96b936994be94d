"""API auth string of this installation's Prefect server, one per `SENSEI_HOME`.

Anyone who may call Prefect's API can run commands as our user. So every server that we start asks
for this string: the server of `sensei up`, and the temporary server of a run without one.
"""

import base64
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from sensei.errors import StorageUnavailable
from sensei.settings import Settings

SERVER = "PREFECT_SERVER_API_AUTH_STRING"
CLIENT = "PREFECT_API_AUTH_STRING"
API = "PREFECT_API_URL"


def auth_file(settings: Settings) -> Path:
    """Return the path of the file that holds the string; mode 0600."""
    return settings.root / "prefect-auth"


def auth_string(settings: Settings) -> str:
    """Read the string; the first process that calls this creates it."""
    path = auth_file(settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
        Path(draft).unlink()
    if not (string := path.read_text().strip()):
        raise StorageUnavailable(f"{path}: expected an auth string, got nothing; remove the file")
    return string


def auth_environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which Prefect's servers ask for the string and clients send it."""
    string = auth_string(settings)
    return {
        SERVER: string,
        CLIENT: string,
        # By default Prefect lets pages of every site read its answers.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{settings.prefect_port}",
    }


def use_auth_string(settings: Settings) -> None:
    """Make this process and its children send and ask for the string.

    A variable that is already set stays. A server on another machine never receives our string: its
    own string is `PREFECT_API_AUTH_STRING`, which must be set by hand.
    """
    if _is_near(os.environ.get(API, "")):
        require_auth_string(settings)


def require_auth_string(settings: Settings) -> None:
    """Do the same for our own server, whatever server the shell's `PREFECT_API_URL` names."""
    for name, value in auth_environment(settings).items():
        os.environ[name] = os.environ.get(name) or value


def use_known_auth_string(settings: Settings) -> None:
    """Use the string if it exists; commands that only read do not create the file."""
    if auth_file(settings).exists():
        use_auth_string(settings)


def auth_header(api: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Build the auth header of a request to a Prefect API; empty without a string.

    Args:
        api: address of the request; only that of `PREFECT_API_URL`, if set, receives the string.
        environment: variables of the process.
    """
    configured = environment.get(API, "").rstrip("/")
    string = environment.get(CLIENT, "")
    if not string or (configured and configured != api):
        return {}
    return {"Authorization": "Basic " + base64.b64encode(string.encode()).decode()}


def _is_near(api: str) -> bool:
    """Tell if an address is on this machine; an empty address counts as local."""
    host = urlsplit(api).hostname or "localhost"
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
