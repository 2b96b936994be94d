"""Drift windows: one row per learner with model inputs, answers and outcomes.

A window has only columns whose distribution is stable while nothing changes: no ids of learners
or rows, no totals that only grow.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.batch import Examples
from features.corpus.popularity import slots_by_topic
from features.events import Events
from features.learner_state import LEARNING, PRACTICE, QUIZ
from sensei.contracts import DIFFICULTY_INPUTS, KINDS, LEVELS, RECOMMENDATION_INPUTS, Input

Answers = Iterable[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]]
"""Row numbers and the model's outputs for them, by name; every row once."""

GROWING = (
    "log_events",
    "log_topics",
    "log_topic_events",
    "log_topic_seconds",
    "log_accepted",
    "log_attempts",
)
"""Inputs that are totals and grow every week."""

MEDIUM = LEVELS.index("medium")
"""Code of the medium level."""


def window_end(now: datetime, last_event: datetime | None, days: int) -> datetime:
    """Compute the end of the newest window.

    A live log is read up to now, even if it has no events for some days. An imported or simulated
    log that ended more than one window ago is read up to its last event.

    Args:
        now: current time, UTC.
        last_event: time of the log's last event; None if the log is empty.
        days: length of a window.
    """
    if last_event is None or last_event >= now - timedelta(days=days):
        return now
    return last_event + timedelta(microseconds=1)


def steady(inputs: Iterable[Input]) -> list[str]:
    """List the names of the inputs whose distribution is stable while nothing changes."""
    return [spec.name for spec in inputs if not spec.is_id and spec.name not in GROWING]


def last_of_each(
    events: Events, start_us: int, end_us: int, scored: bool = False
) -> NDArray[np.bool_]:
    """Return the (n,) mask of each learner's last learning event in a window.

    Args:
        events: the encoded log.
        start_us: start of the window, included; microseconds since 1970.
        end_us: end of the window, excluded.
        scored: count only attempts with a score.
    """
    inside = (events.time >= start_us) & (events.time < end_us) & (events.kind < LEARNING)
    if scored:
        inside &= ((events.kind == QUIZ) | (events.kind == PRACTICE)) & ~np.isnan(events.score)
    rows = np.flatnonzero(inside)
    learner = np.searchsorted(events.offsets, rows, side="right")
    mask = np.zeros(len(events), bool)
    mask[rows[np.append(learner[1:] != learner[:-1], True)[: len(rows)]]] = True
    return mask


def next_topic_window(rows: Examples, answers: Answers | None) -> pd.DataFrame:
    """Build the window of the recommendation model: inputs, first topic, actual event.

    Args:
        rows: one example per learner; with a catalogue, the topic's domain is a column too.
        answers: `probability` of each topic; None without a model.
    """
    frame = _inputs(rows.recommendation, RECOMMENDATION_INPUTS)
    frame["interaction_type"] = [KINDS[kind] for kind in rows.events.kind[rows.event]]
    frame["score"] = rows.score.astype(float)
    if rows.outline.domains:
        frame["domain"] = [rows.outline.domains.get(topic) for topic in rows.topic_id.tolist()]
    if answers is not None:
        topic, probability = _first(rows, answers)
        frame["recommended_topic"], frame["recommended_probability"] = topic, probability
    return frame


def success_window(rows: Examples, answers: Answers) -> pd.DataFrame:
    """Build the window of the difficulty model: inputs of scored attempts, expected success.

    Args:
        rows: one example per learner.
        answers: `success` (n, 3) at each level.
    """
    frame = _inputs(rows.difficulty, DIFFICULTY_INPUTS)
    expected = np.full(len(rows), np.nan)
    level = np.where(rows.level < 0, MEDIUM, rows.level)
    for indices, answer in answers:
        success = answer.get("levels", answer["success"])
        expected[indices] = success[np.arange(len(indices)), level[indices]]
    frame["expected_success"] = expected
    return frame


def _inputs(vector: NDArray[np.float32], inputs: tuple[Input, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(vector, columns=[spec.name for spec in inputs], dtype=float)
    return frame[steady(inputs)].copy()


def _first(rows: Examples, answers: Answers) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return the most probable topic except the last one, and its probability.

    The arrays are (n,): topic ids as text, None without a topic; probabilities, NaN without an
    answer.
    """
    ids = np.full(rows.tables[0].width + 1, None, object)
    for topic_id, slot in slots_by_topic(rows.tables[0], rows.recency).items():
        ids[slot] = str(topic_id)
    topic: NDArray[np.object_] = np.full(len(rows), None, object)
    probability = np.full(len(rows), np.nan)
    unused = np.array([topic_id is None for topic_id in ids[1:]])
    for indices, answer in answers:
        score = np.array(answer["probability"], float)
        score[:, unused[: score.shape[1]]] = -1.0
        last = rows.last_topic[indices]
        has_last = np.flatnonzero((last > 0) & (last <= score.shape[1]))
        score[has_last, last[has_last] - 1] = -1.0
        best = score.argmax(axis=1)
        topic[indices] = ids[best + 1]
        probability[indices] = score[np.arange(len(indices)), best]
    return topic, probability
