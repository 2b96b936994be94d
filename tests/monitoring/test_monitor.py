import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from monitoring.monitor import SHOWN, ModelMonitor, figures
from sensei.contracts import DAY
from sensei.errors import InvalidInput, LearnerErased
from sensei.events.log import Log
from sensei.privacy import erasure
from sensei.storage.tables import to_datetime

Given = Callable[..., None]
Rows = Callable[[str], list[Any]]
HOUR = 3_600_000_000
NOW = 1_767_600_000_000_000


def test_figures_of_a_window_are_valid_json_of_known_values(
    answered: Given, did: Given, outcomes: Callable[..., pd.DataFrame]
) -> None:
    for learner in ("ann", "bob"):
        answered(learner, 0, [12, 13])
        answered(f"{learner} of control", 0, [13], arm="control", version=None)
    did("ann", 5, 12)
    content = figures(outcomes().reset_index(), 0, HOUR, seed=0)
    content = json.loads(json.dumps(content, allow_nan=False))
    assert content["window"] == {
        "start": "1970-01-01T00:00:00+00:00",
        "end": "1970-01-01T01:00:00+00:00",
    }
    assert content["recommendation_acceptance"] == 1 / 4
    assert content["lift"]["value"] == 1 / 2
    assert content["lift"]["n"] == 4
    assert content["open"] == 0
    assert content["accuracy"] is None
    assert {row["arm"] for row in content["measures"]} == {"champion", "control"}


def test_without_an_answer_every_figure_is_null(outcomes: Callable[..., pd.DataFrame]) -> None:
    content = figures(outcomes().reset_index(), 0, HOUR, seed=0)
    assert all(content[name] is None for name in SHOWN)
    assert (content["lift"], content["measures"], content["open"]) == (None, [], 0)


def test_an_external_prediction_counts_at_once_by_its_reported_acceptance(log: Log) -> None:
    monitor = ModelMonitor(log, lambda: NOW)
    for learner, accepted in (("ann", True), ("bob", True), ("eve", False)):
        monitor.log_prediction(learner, 12, accepted)
    metrics = monitor.get_metrics()
    json.dumps(metrics, allow_nan=False)
    assert metrics["recommendation_acceptance"] == pytest.approx(2 / 3)
    assert metrics["figures"]["recommendation_acceptance"]["learners"] == 3
    assert {"accuracy", "user_satisfaction", "data_drift_score"} <= metrics.keys()
    assert metrics["skew"] == {"compared": 0, "different": 0, "inputs": {}, "left_out": 0}


def test_no_prediction_is_logged_for_an_erased_learner(log: Log, rows: Rows) -> None:
    erasure.erase(log.engine, "ann", ())
    with pytest.raises(LearnerErased):
        ModelMonitor(log, lambda: NOW).log_prediction("ann", 12, accepted=False)
    with pytest.raises(InvalidInput, match="topic_id: expected a whole number"):
        ModelMonitor(log, lambda: NOW).log_prediction("bob", -1, accepted=False)
    assert rows("SELECT * FROM predictions") == []


def test_drift_compares_the_last_days_with_the_days_before(log: Log) -> None:
    def week(days_ago: int, score: float) -> list[dict[str, object]]:
        return [
            {
                "user_id": f"learner {learner}",
                "event_id": f"{days_ago} {at}",
                "interaction_type": "quiz_complete",
                "topic_id": 11 + at,
                "score": min(max(score + (learner % 10 - 5) / 50, 0.0), 1.0),
                "timestamp": to_datetime(NOW - days_ago * DAY + (learner * 7 + at) * 1_000_000),
            }
            for learner in range(150)
            for at in range(3)
        ]

    log.append([*week(10, 0.8), *week(3, 0.8)])
    monitor = ModelMonitor(log, lambda: NOW)
    calm = monitor.calculate_drift()
    assert calm.columns["score"].drifted is False
    log.append([{**event, "event_id": f"worse {event['event_id']}"} for event in week(2, 0.3)])
    assert monitor.calculate_drift().columns["score"].drifted
