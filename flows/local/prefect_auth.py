"""The API auth string of this installation's Prefect server, one per `SENSEI_HOME`.

Whoever may call Prefect's API runs commands as our user, so every server that we start asks for
this string: the one of `sensei up`, and the temporary one of a run without a server.
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

from sensei.settings import Settings

SERVER = "PREFECT_SERVER_API_AUTH_STRING"
CLIENT = "PREFECT_API_AUTH_STRING"
API = "PREFECT_API_URL"


def auth_file(settings: Settings) -> Path:
    """Path of the file that holds the string; mode 0600."""
    return settings.root / "prefect-auth"


def auth_string(settings: Settings) -> str:
    """Read the string; made at the first call, by whichever process comes first."""
    path = auth_file(settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with suppress(FileExistsError):
            os.link(draft, path)
        Path(draft).unlink()
    return path.read_text().strip()


def auth_environment(settings: Settings) -> dict[str, str]:
    """Variables by which Prefect's servers ask for the string and its clients send it."""
    string = auth_string(settings)
    return {
        SERVER: string,
        CLIENT: string,
        # By default Prefect lets pages of every site read its answers.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{settings.prefect_port}",
    }


def use_auth_string(settings: Settings) -> None:
    """Have this process and its children send and ask for the string.

    A variable that is set already stays. A server on another machine never gets our string: its
    own one is `PREFECT_API_AUTH_STRING`, which is then to be set by hand.
    """
    if _is_near(os.environ.get(API, "")):
        for name, value in auth_environment(settings).items():
            os.environ[name] = os.environ.get(name) or value


def use_known_auth_string(settings: Settings) -> None:
    """Do the same where the string exists; commands that only look make no file."""
    if auth_file(settings).exists():
        use_auth_string(settings)


def auth_header(api: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Make the header of a request to a Prefect API; empty without a string.

    Args:
        api: the address that is asked; no other than that of `PREFECT_API_URL` gets its string.
        environment: variables of the process.
    """
    known = environment.get(API, "").rstrip("/")
    string = environment.get(CLIENT, "")
    if not string or (known and known != api):
        return {}
    return {"Authorization": "Basic " + base64.b64encode(string.encode()).decode()}


def _is_near(api: str) -> bool:
    """Tell whether an address is this machine's; none at all means that it will be."""
    host = urlsplit(api).hostname or "localhost"
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
