"""Monitor: figures of recent answers, drift of learners' behaviour, and skew."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert, null

from features.batch import encode, examples
from features.corpus import statistics
from monitoring.answer_frames import TOLD_ARM
from monitoring.drift.drift_score import Drift, measure_drift
from monitoring.drift.windows import last_of_each, next_topic_window
from monitoring.measures import by_day, lift, summarise
from monitoring.outcomes import read_outcomes
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
"""Names of the figures stored as plain top-level values; `figures` holds all with intervals."""


def figures(outcomes: pd.DataFrame, start_us: int, end_us: int, seed: int) -> dict[str, Any]:
    """Compute the figures of a window's outcomes, fit for JSON, without drift, skew and alarms.

    Args:
        outcomes: frame of `monitoring.outcomes.read_outcomes` for the window.
        start_us: start of the window, included; microseconds since 1970.
        end_us: end of the window, excluded.
        seed: seed of the bootstrap.

    Returns:
        `window`; each of `SHOWN` as a number or None; `open`, the number of answers whose horizon
        is not over, which count only for `fallback_share` and `catalogue_coverage`; `figures` with
        counts and intervals, see `monitoring.measures.summarise`; `lift` over the control arm or
        None; `measures`, the rows of `monitoring.measures.by_day`.
    """
    estimates = summarise(outcomes, seed)
    gained = lift(outcomes, seed)
    return {
        "window": {"start": _iso(start_us), "end": _iso(end_us)},
        **{name: estimates[name]["value"] for name in SHOWN},
        "open": int(outcomes["open"].sum()),
        "figures": estimates,
        "lift": gained and asdict(gained),
        "measures": by_day(outcomes, seed),
    }


class ModelMonitor:
    """Monitor of answers, outcomes and drift, with the method names of the guide.

    The monitoring flow computes the same figures every hour.

    Args:
        log: the log of interactions and answers.
        clock: function that returns the current time, microseconds since 1970 UTC.
        days: length of the window in days.
        horizon_us: length of the horizon after an answer, in microseconds.
        served: digest of each bundle that served -> model -> its statistics; without them skew
            is not compared.
        seed: seed of the bootstrap.
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
        """Log a recommendation made outside the service, with its acceptance.

        The service logs its own answers. A recommendation logged here is never open and has the
        arm `TOLD_ARM`; only the given acceptance counts.

        Args:
            user_id: id of the learner.
            recommendation: id of the recommended topic.
            accepted: True if the learner accepted the recommendation.

        Returns:
            The id of the prediction.

        Raises:
            InvalidInput: the learner's id or the topic's id is invalid.
            LearnerErased: the learner was erased.
            StorageUnavailable: the prediction or its acceptance is not logged.
        """
        user_id = rules.check_user_id("user_id", user_id)
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
        """Measure the drift of the last window from the window before it; `score` in [0, 1].

        The monitoring flow instead compares with the champion's training window and writes a
        report.

        Raises:
            StorageUnavailable: the log cannot be read.
        """
        end, span = self._clock() + 1, self._days * DAY
        events = encode(self._log.read(until=to_datetime(end)))
        no_statistics = statistics.fit(events, np.zeros(len(events), bool))
        current, before = (
            next_topic_window(
                examples(events, no_statistics, last_of_each(events, start, start + span)), None
            )
            for start in (end - span, end - 2 * span)
        )
        return measure_drift(current, before)

    def get_metrics(self) -> Mapping[str, Any]:
        """Compute the metrics of the last window, fit for JSON.

        Returns:
            `accuracy`, `recommendation_acceptance`, `user_satisfaction` (1 to 5), each None if
            nothing was counted; `data_drift_score` in [0, 1]; the other entries of `figures`;
            `drift` and `skew`.

        Raises:
            StorageUnavailable: the log cannot be read.
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
