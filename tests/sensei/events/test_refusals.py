"""Refused rows of all doors are counted together, without those repaired since."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sensei.events import quarantine
from sensei.events.importer import import_files
from sensei.events.log import Log
from sensei.events.refusals import ARRIVALS, HTTP, Refusals, recent_refusals
from sensei.events.rules_arrow import BadRow
from sensei.storage import database

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HEADER = "user_id,interaction_type,topic_id,score,timestamp\n"


def event(learner: str, minute: int, **other: Any) -> dict[str, Any]:
    return {
        "user_id": learner,
        "interaction_type": "quiz_complete",
        "topic_id": 3,
        "score": 0.5,
        "timestamp": NOW - timedelta(minutes=minute),
    } | other


def refuse(log: Log, rows: list[dict[str, Any]], source: str, now: datetime) -> None:
    bad = [BadRow(row, "score: expected a fraction in [0, 1], got 85; send 0.85") for row in rows]
    with database.write_transaction(log.engine) as connection:
        quarantine.store(connection, bad, source, now)


def test_an_empty_log_refused_nothing(log: Log) -> None:
    assert recent_refusals(log.engine) == Refusals()


def test_rows_refused_over_http_at_import_and_by_validation_count_together(log: Log) -> None:
    log.append([event("ann", minute) for minute in range(10)], now=NOW)
    refuse(log, [{"user_id": "bob", "minute": n} for n in range(3)], HTTP, NOW)
    refuse(log, [{"user_id": "cid", "minute": n} for n in range(2)], "events.csv", NOW)
    log.quarantine_interactions({1: "score: no"}, "score")
    found = recent_refusals(log.engine)
    assert found == Refusals(stored=10, http=3, imported=2, excluded=1)
    assert found.share == pytest.approx(6 / 15)
    assert "3 over HTTP, 2 at import, 1 by validation" in found.sentence()


def test_what_arrived_earlier_than_a_week_before_the_last_arrival_is_forgotten(log: Log) -> None:
    long_ago = NOW - ARRIVALS - timedelta(minutes=1)
    week = ARRIVALS // timedelta(minutes=1)
    log.append([event("ann", week + 5)], now=long_ago)
    refuse(log, [{"user_id": "bob", "minute": n} for n in range(3)], "events.csv", long_ago)
    assert recent_refusals(log.engine).imported == 3, "nothing arrived since"
    log.append([event("ann", 1)], now=NOW)
    assert recent_refusals(log.engine) == Refusals(stored=1)


def test_ninety_percent_refused_at_import_exceed_and_the_repaired_file_settles_them(
    log: Log, tmp_path: Path
) -> None:
    def lines(score: str) -> str:
        return "".join(
            f"learner {n},quiz_complete,{n % 7},{score if n % 10 else 0.5},"
            f"2026-03-01T10:{n:02}:00Z\n"
            for n in range(50)
        )

    broken, repaired = tmp_path / "broken.csv", tmp_path / "repaired.csv"
    broken.write_text(HEADER + lines("nonsense"))
    repaired.write_text(HEADER + lines("0.85"))
    import_files(log, [broken], {})
    refused = recent_refusals(log.engine)
    assert (refused.stored, refused.imported) == (5, 45)
    assert refused.exceed(0.05)
    import_files(log, [repaired], {})
    assert recent_refusals(log.engine) == Refusals(stored=50)


def test_a_repaired_event_is_recognised_by_its_id_too(log: Log) -> None:
    sent = {"user_id": "ann", "event_id": "7", "timestamp": "no time"}
    refuse(log, [sent, sent | {"user_id": "bob"}], HTTP, NOW)
    log.append([event("ann", 0, event_id="7")], now=NOW + timedelta(minutes=1))
    assert recent_refusals(log.engine) == Refusals(stored=1, http=1), "bob's is another event"
