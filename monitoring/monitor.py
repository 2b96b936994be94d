"""The monitor: what became of the answers of the last days, and how far learners changed."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert, null

from features.batch import encode, examples
from features.corpus import statistics
from monitoring.drift.drift_score import Drift, measure_drift
from monitoring.drift.windows import last_of_each, next_topic_window
from monitoring.measures import by_day, lift, summarise
from monitoring.outcomes import TOLD_ARM, read_outcomes
from monitoring.skew import Tables, compare
from sensei.contracts import DAY
from sensei.events import rules
from sensei.events.log import Log
from sensei.privacy import tombstones
from sensei.storage import database
from sensei.storage.tables import Prediction, to_datetime

SHOWN = (
    "accuracy",
    "recommendation_acceptance",
    "user_satisfaction",
    "hit_rate_at_k",
    "log_loss",
    "calibration_error",
    "catalogue_coverage",
    "fallback_share",
)
"""Figures that stand for themselves in what is stored; all stand under `figures`."""


def figures(outcomes: pd.DataFrame, start_us: int, end_us: int, seed: int) -> dict[str, Any]:
    """What the outcomes of a window say, fit for JSON; drift, skew and alarms are not of it.

    Args:
        outcomes: of `monitoring.outcomes.read_outcomes` for the window.
        start_us: microseconds since 1970.
        end_us: the same, not included.
        seed: seed of the resampling.

    Returns:
        `window`; each of `SHOWN` as a number or None; `open`, the answers whose horizon is not
        over, of which only `fallback_share` and `catalogue_coverage` count; `figures` with counts
        and intervals, see `monitoring.measures.summarise`; `lift` over the control arm or None;
        `measures`, a row for each version, arm and day.
    """
    found = summarise(outcomes, seed)
    gained = lift(outcomes, seed)
    return {
        "window": {"start": _iso(start_us), "end": _iso(end_us)},
        **{name: found[name]["value"] for name in SHOWN},
        "open": int(outcomes["open"].sum()),
        "figures": found,
        "lift": gained and asdict(gained),
        "measures": by_day(outcomes, seed),
    }


class ModelMonitor:
    """Answers, outcomes and drift by the names of the guide; the flow does the same every hour.

    Args:
        log: the log of interactions and answers.
        clock: now, in microseconds since 1970 UTC.
        days: length of the window.
        horizon_us: how long after an answer what a learner does counts as its outcome.
        served: digest of every bundle that served -> model -> its statistics; without them there
            is nothing to compare with what serving read.
        seed: seed of the resampling.
    """

    def __init__(
        self,
        log: Log,
        clock: Callable[[], int],
        days: int = 7,
        horizon_us: int = DAY,
        served: Tables | None = None,
        seed: int = 0,
    ) -> None:
        self._log = log
        self._clock = clock
        self._days = days
        self._horizon = horizon_us
        self._served: Tables = served or {}
        self._seed = seed

    def log_prediction(self, user_id: str, recommendation: int, accepted: bool) -> str:
        """Log a recommendation that was made outside of the service, and whether it was accepted.

        The service logs its own answers. This one counts at once, by what is told of it, in an
        arm of its own.

        Args:
            user_id: the learner.
            recommendation: the topic.
            accepted: whether the learner turned to it.

        Returns:
            The id of the prediction.

        Raises:
            InvalidInput: there can be no such learner or topic.
            LearnerErased: the learner was erased.
            StorageUnavailable: the prediction, or that it was accepted, is not logged.
        """
        user_id = rules.check_id("user_id", user_id)
        topic, now = rules.check_topic(recommendation), to_datetime(self._clock())
        prediction_id = str(uuid.uuid4())
        row = {
            "prediction_id": prediction_id,
            "user_id": user_id,
            "kind": "recommendation",
            "model": "outside",
            "arm": TOLD_ARM,
            "propensity": 1.0,
            "answer": [topic],
            "candidates": null(),
            "inputs": null(),
            "created_at": now,
        }
        with database.write_transaction(self._log.engine) as connection:
            tombstones.refuse_erased(connection, {user_id})
            connection.execute(insert(Prediction), row)
        if accepted:
            event = {
                "user_id": user_id,
                "interaction_type": "recommendation_accepted",
                "topic_id": topic,
                "timestamp": now,
                "metadata": {"prediction_id": prediction_id},
            }
            self._log.append([event], now=now)
        return prediction_id

    def calculate_drift(self) -> Drift:
        """How far what learners do moved from the days before: `score` in [0, 1].

        The flow compares with what the champion was trained on, and writes a report.

        Raises:
            StorageUnavailable: the log does not answer.
        """
        end, span = self._clock() + 1, self._days * DAY
        events = encode(self._log.read(until=to_datetime(end)))
        nothing = statistics.fit(events, np.zeros(len(events), bool))
        current, before = (
            next_topic_window(
                examples(events, nothing, last_of_each(events, start, start + span)), None
            )
            for start in (end - span, end - 2 * span)
        )
        return measure_drift(current, before)

    def get_metrics(self) -> Mapping[str, Any]:
        """What is known of the last days, fit for JSON.

        Returns:
            `accuracy`, `recommendation_acceptance`, `user_satisfaction` (1 to 5) and
            `data_drift_score` in [0, 1], None where nothing was counted; and the rest of what
            `figures` says, `drift` and `skew`.

        Raises:
            StorageUnavailable: the log does not answer.
        """
        end = self._clock() + 1
        start = end - self._days * DAY
        outcomes = read_outcomes(self._log.engine, start, end, self._horizon)
        drift = self.calculate_drift()
        return figures(outcomes, start, end, self._seed) | {
            "data_drift_score": drift.score,
            "drift": {"score": drift.score, "small": drift.small, "drifted": drift.drifted},
            "skew": asdict(compare(self._log.engine, self._served, start, end)),
        }


def _iso(moment_us: int) -> str:
    return to_datetime(moment_us).isoformat()
