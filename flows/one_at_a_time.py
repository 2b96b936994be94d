"""The global limit `train`: nightly, manual and triggered runs never train at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

LIMIT = "train"
LEASE_SECONDS = 60.0
"""A run that died gives its place back after so long."""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the only place of the limit, which is made on the server where it is absent."""
    with get_client(sync_client=True) as client:
        limit = make_limit(client)
        if limit.active_slots >= limit.limit:
            get_run_logger().info("Wait: another run holds the limit `%s`", LIMIT)
    with concurrency(LIMIT, occupy=1, lease_duration=LEASE_SECONDS, strict=True):
        yield


def make_limit(client: SyncPrefectClient) -> GlobalConcurrencyLimitResponse:
    """The limit as the server has it; made where it is absent."""
    try:
        return client.read_global_concurrency_limit_by_name(LIMIT)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))
    return client.read_global_concurrency_limit_by_name(LIMIT)
