"""Probes of the local servers: their state, and if another program holds the port."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flows.local.prefect_auth import auth_header, use_auth_string
from flows.local.preflight import check_prefect_store
from sensei.settings import Settings

if TYPE_CHECKING:  # an import here would delay each command
    import httpx

Reader = Callable[["httpx.Response"], str]
"""Function that reads a server's answer; it raises an error for another program."""

SECONDS = 1.0
"""Timeout of a probe in seconds; a server that needs longer counts as silent."""

POOL = "sensei"
"""Work pool of our deployments on Prefect's server."""

State = Literal["answers", "off", "silent", "another program"]


@dataclass(frozen=True)
class ServerProbe:
    """Probe result of one local server.

    Attributes:
        name: of the server, as a person knows it.
        address: address at which it should listen.
        setting: the variable that changes its port.
        state: `off` if nothing listens, `silent` if there is no answer in time.
        said: content of its answer: version or troubles.
    """

    name: str
    address: str
    setting: str
    state: State
    said: str = ""

    @property
    def port(self) -> str:
        """Port number as text."""
        return self.address.rpartition(":")[2]


def neighbours(settings: Settings) -> list[ServerProbe]:
    """Probe the service, Prefect, MLflow and Evidently at their ports, all at once."""
    base = "http://127.0.0.1"
    # a server that listens on all addresses answers on loopback too
    host = settings.service_host if settings.service_host != "0.0.0.0" else "127.0.0.1"  # noqa: S104
    probes = [
        ("service", f"http://{host}:{settings.service_port}", "SERVICE", "/readyz", _service),
        ("Prefect", f"{base}:{settings.prefect_port}", "PREFECT", "/api/admin/version", _prefect),
        ("MLflow", f"{base}:{settings.mlflow_port}", "MLFLOW", "/version", _mlflow),
        ("Evidently", f"{base}:{settings.evidently_port}", "EVIDENTLY", "/api/version", _evidently),
    ]
    with ThreadPoolExecutor(len(probes)) as threads:
        return list(threads.map(lambda probe: _ask(*probe), probes))


def _ask(name: str, address: str, setting: str, path: str, parse: Reader) -> ServerProbe:
    import httpx

    variable = f"SENSEI_{setting}_PORT"
    try:
        auth = auth_header(f"{address}/api") if name == "Prefect" else {}
        version = parse(httpx.get(address + path, headers=auth, timeout=SECONDS, trust_env=False))
        return ServerProbe(name, address, variable, "answers", version)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return ServerProbe(name, address, variable, "off")
    except httpx.TimeoutException:
        return ServerProbe(name, address, variable, "silent")
    except (httpx.HTTPError, LookupError, ValueError, TypeError):
        return ServerProbe(name, address, variable, "another program")


def _service(answer: "httpx.Response") -> str:
    """Return the troubles that the service reports."""
    return "; ".join(answer.json()["troubles"])


def _prefect(answer: "httpx.Response") -> str:
    return _version(answer.raise_for_status().json())


def _mlflow(answer: "httpx.Response") -> str:
    return _version(answer.raise_for_status().text)


def _evidently(answer: "httpx.Response") -> str:
    document = answer.raise_for_status().json()
    return _version(document["version"] if "Evidently" in document["application"] else None)


def _version(version: Any) -> str:
    """Return the text if it looks like a version.

    Raises:
        ValueError: it does not, so this is another program.
    """
    if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+\S*", version.strip()):
        raise ValueError(version)
    return version.strip()


def prefect_api(settings: Settings) -> str:
    """Return the address of the Prefect server of flows, or the one that `make server` starts."""
    local = f"http://127.0.0.1:{settings.prefect_port}/api"
    return os.environ.get("PREFECT_API_URL", "").rstrip("/") or local


def use_prefect(settings: Settings) -> None:
    """Make flows use the server at our port if it answers; otherwise each starts its own.

    Call it before Prefect is imported. Either server asks for the auth string.

    Raises:
        StorageUnavailable: none answers, and a newer Prefect wrote the database of this home.
    """
    use_auth_string(settings)
    api = prefect_api(settings)
    if ask_prefect(api, "/work_pools/filter", {}) is not None:
        os.environ.setdefault("PREFECT_API_URL", api)
    elif "PREFECT_API_URL" not in os.environ:
        check_prefect_store(settings.environment() | os.environ)


def ask_prefect(api: str, path: str, body: dict[str, Any]) -> Any:
    """Post to a Prefect server.

    Returns:
        Its answer; None if there is none.
    """
    import httpx

    try:
        answer = httpx.post(
            api + path, json=body, headers=auth_header(api), timeout=SECONDS, trust_env=False
        )
        return answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
