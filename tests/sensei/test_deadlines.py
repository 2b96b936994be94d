"""Deadlines of the database: no statement waits for ever, whoever is to blame."""

import time
from contextlib import suppress

import psutil
import pytest
from sqlalchemy import text

from sensei.errors import StorageUnavailable
from sensei.storage import database
from sensei.storage.database import NETWORK, Deadlines, connect

SHORT = Deadlines(lock=0.3, statement=1)


def refused(url: str, statement: str) -> float:
    """Seconds until a statement is refused."""
    engine = connect(url, SHORT)
    with engine.connect() as warm:
        warm.execute(text("SELECT 1"))
    started = time.monotonic()
    with pytest.raises(StorageUnavailable), database.read_connection(engine) as connection:
        connection.execute(text(statement))
    took = time.monotonic() - started
    engine.dispose()
    return took


def test_a_lock_that_another_holds_is_waited_for_shortly(empty_postgres_url: str) -> None:
    other = connect(empty_postgres_url)
    with other.begin() as holder:
        holder.execute(text("LOCK TABLE learners IN ACCESS EXCLUSIVE MODE"))
        assert refused(empty_postgres_url, "SELECT COUNT(*) FROM learners") < 10
    other.dispose()


def test_a_long_statement_is_ended_by_the_server(empty_postgres_url: str) -> None:
    assert refused(empty_postgres_url, "SELECT pg_sleep(60)") < 20


def test_a_stopped_server_is_given_up_and_used_again_when_it_goes_on(
    empty_postgres_url: str,
) -> None:
    engine = connect(empty_postgres_url, SHORT)
    with engine.connect() as held, suppress(Exception):
        server = psutil.Process(held.execute(text("SELECT pg_backend_pid()")).scalar_one())
        server.suspend()
        started = time.monotonic()
        try:
            with pytest.raises(StorageUnavailable), database.storage_errors(engine):
                held.execute(text("SELECT 1"))
        finally:
            server.resume()
        assert time.monotonic() - started < 20
    with database.read_connection(engine) as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_what_the_address_says_of_the_network_is_kept() -> None:
    url = "postgresql://a@b/c?keepalives_idle=60"
    engine = connect(url)
    assert engine.url.query == NETWORK | {"keepalives_idle": "60"}
