"""Global limit `train`: nightly, manual and triggered runs never train at once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from sqlalchemy import Engine

from sensei.storage.locks import exclusive_lock

LIMIT = "train"
LEASE_SECONDS = 60.0
"""Seconds after which a dead run's slot of the limit is free again."""


@contextmanager
def one_at_a_time(engine: Engine) -> Iterator[None]:
    """Hold the exclusive lock of this log and, on a server, the only slot of the limit.

    The operating system frees the lock of a process that dies. The limit is not taken on a
    temporary server, because nothing there frees the slot of a killed run.

    Args:
        engine: of the log's database.
    """
    say = get_run_logger().info
    with exclusive_lock(
        engine, LIMIT, math.inf, lambda: say("Wait: another run trains on this log")
    ):
        if get_current_settings().api.url is None:
            yield
            return
        with get_client(sync_client=True) as client:
            limit = make_limit(client)
            if limit.active_slots >= limit.limit:
                say("Wait: another run holds the limit `%s`", LIMIT)
        with concurrency(LIMIT, occupy=1, lease_duration=LEASE_SECONDS, strict=True):
            yield


def make_limit(client: SyncPrefectClient) -> GlobalConcurrencyLimitResponse:
    """Return the limit as the server has it; create it if it is absent."""
    try:
        return client.read_global_concurrency_limit_by_name(LIMIT)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))
    return client.read_global_concurrency_limit_by_name(LIMIT)
