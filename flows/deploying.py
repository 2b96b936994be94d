"""Makes the work pool, the global limit and every deployment of `prefect.yaml` on a server."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from flows.one_at_a_time import make_limit
from sensei.errors import StorageUnavailable

ROOT = Path(__file__).resolve().parents[1]
POOL = "sensei"


def deploy() -> None:
    """Deploy to the server of `PREFECT_API_URL`; what is there already is replaced.

    Raises:
        StorageUnavailable: no server answers, or it refuses a deployment.
    """
    try:
        with get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(_pool())
            make_limit(client)
    except httpx.TransportError as error:
        raise StorageUnavailable(
            f"Prefect: expected a server that answers, got {error}; run `make server` first"
        ) from error
    prefect = Path(sys.executable).with_name("prefect")
    done = subprocess.run(  # noqa: S603 - our own interpreter's
        [str(prefect), "--no-prompt", "deploy", "--all"], cwd=ROOT, check=False
    )
    if done.returncode:
        raise StorageUnavailable("Prefect: expected to deploy all, got a refusal; see above")


def _pool() -> WorkPoolCreate:
    template = ProcessWorker.get_default_base_job_template()
    return WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template)


if __name__ == "__main__":
    try:
        deploy()
    except StorageUnavailable as error:
        sys.exit(str(error))
