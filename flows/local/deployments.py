"""Prefect resources that runs need: work pool, global limit, deployments, automation.

The automation marks lost runs as crashed.
"""

import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
from prefect.automations import (
    AutomationCore,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    ResourceSpecification,
)
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from flows.local.run_lock import make_limit
from flows.local.service_probe import POOL
from sensei.errors import StorageUnavailable

ROOT = Path(__file__).resolve().parents[2]

LOST = "crash-lost-runs"
"""Name of the server automation that ends runs whose process no longer exists."""

HEARTBEAT = "prefect.flow-run.heartbeat"

SILENCE = timedelta(minutes=10)
"""Time without a heartbeat after which a run counts as lost.

By default a run sends a heartbeat every three minutes.
"""


def deploy() -> None:
    """Deploy to the server of `PREFECT_API_URL`, and replace existing deployments.

    Raises:
        StorageUnavailable: no server answers, or it refuses a deployment.
    """
    try:
        with get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(_pool())
            make_limit(client)
            _watch_over_lost_runs(client)
    except httpx.TransportError as error:
        raise StorageUnavailable(
            f"Prefect: expected a server that answers, got {error}; run `make server` first"
        ) from error
    prefect = Path(sys.executable).with_name("prefect")
    completed = subprocess.run(  # noqa: S603 - our own interpreter's
        [str(prefect), "--no-prompt", "deploy", "--all"], cwd=ROOT, check=False
    )
    if completed.returncode:
        raise StorageUnavailable("Prefect: expected to deploy all, got a refusal; see above")


def _watch_over_lost_runs(client: SyncPrefectClient) -> None:
    """Create the automation that sets the state of a killed run to `Crashed`.

    A killed run cannot report its own end.
    """
    ends = {f"prefect.flow-run.{end}" for end in ("Completed", "Failed", "Cancelled", "Crashed")}
    automation = AutomationCore(
        name=LOST,
        description="A run whose process has ended is marked as crashed.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ends},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {SILENCE.seconds // 60} minutes: its process ended.",
            )
        ],
    )
    if not client.read_automations_by_name(LOST):  # a new one would forget the runs that it watches
        client.create_automation(automation)


def _pool() -> WorkPoolCreate:
    template = ProcessWorker.get_default_base_job_template()
    return WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template)


if __name__ == "__main__":
    try:
        deploy()
    except StorageUnavailable as error:
        sys.exit(str(error))
