"""A window as drift sees it: one row a learner, what a model read of him, answered, and got.

Columns are those whose distribution stays while nothing changes: never an id of a learner or a
row, never a total that only grows.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.batch import Examples
from features.events import Events
from features.recency import slots_by_topic
from features.steps import LEARNING, PRACTICE, QUIZ
from sensei.contracts import DIFFICULTY_INPUTS, KINDS, LEVELS, RECOMMENDATION_INPUTS, Input

Answers = Iterable[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]]
"""Rows, and what a model says of them by name; every row once."""

GROWING = (
    "log_events",
    "log_topics",
    "log_topic_events",
    "log_topic_seconds",
    "log_accepted",
    "log_attempts",
)
"""Inputs that are totals: they grow with every week, whatever happens."""

MEDIUM = LEVELS.index("medium")


def window_end(now: datetime, last_event: datetime | None, days: int) -> datetime:
    """Where the newest window ends: now, or after the last event of a log that ended before it.

    A live log is read up to now, also where nobody came for some days. Of a log that was imported
    or simulated and ended longer ago than a window, nothing would be left.

    Args:
        now: UTC.
        last_event: of the log; None of an empty one.
        days: length of a window.
    """
    if last_event is None or last_event >= now - timedelta(days=days):
        return now
    return last_event + timedelta(microseconds=1)


def steady(inputs: Iterable[Input]) -> list[str]:
    """Names of the inputs whose distribution stays put while nothing changes."""
    return [each.name for each in inputs if not each.is_id and each.name not in GROWING]


def last_of_each(
    events: Events, start_us: int, end_us: int, scored: bool = False
) -> NDArray[np.bool_]:
    """(n,) mask of each learner's last learning event of a window.

    Args:
        events: the encoded log.
        start_us: start of the window, included, microseconds since 1970.
        end_us: its end, not included.
        scored: only attempts with a score count.
    """
    inside = (events.time >= start_us) & (events.time < end_us) & (events.kind < LEARNING)
    if scored:
        inside &= ((events.kind == QUIZ) | (events.kind == PRACTICE)) & ~np.isnan(events.score)
    place = np.flatnonzero(inside)
    learner = np.searchsorted(events.offsets, place, side="right")
    mask = np.zeros(len(events), bool)
    mask[place[np.append(learner[1:] != learner[:-1], True)[: len(place)]]] = True
    return mask


def next_topic_window(rows: Examples, answers: Answers | None) -> pd.DataFrame:
    """What the recommendation model read, which topic it put first, and what came.

    Args:
        rows: one example of each learner; of topics in a catalogue, the domain is a column.
        answers: `probability` of each topic; None without a model.
    """
    frame = _inputs(rows.recommendation, RECOMMENDATION_INPUTS)
    frame["interaction_type"] = [KINDS[kind] for kind in rows.events.kind[rows.event]]
    frame["score"] = rows.score.astype(float)
    if rows.outline.domains:
        frame["domain"] = [rows.outline.domains.get(each) for each in rows.topic_id.tolist()]
    if answers is not None:
        topic, probability = _first(rows, answers)
        frame["recommended_topic"], frame["recommended_probability"] = topic, probability
    return frame


def success_window(rows: Examples, answers: Answers) -> pd.DataFrame:
    """What the difficulty model read of scored attempts, and the success that it expected.

    Args:
        rows: one example of each learner.
        answers: `success` (n, 3) at each level.
    """
    frame = _inputs(rows.difficulty, DIFFICULTY_INPUTS)
    expected = np.full(len(rows), np.nan)
    level = np.where(rows.level < 0, MEDIUM, rows.level)
    for chosen, answer in answers:
        success = answer.get("levels", answer["success"])
        expected[chosen] = success[np.arange(len(chosen)), level[chosen]]
    frame["expected_success"] = expected
    return frame


def _inputs(vector: NDArray[np.float32], inputs: tuple[Input, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(vector, columns=[each.name for each in inputs], dtype=float)
    return frame[steady(inputs)].copy()


def _first(rows: Examples, answers: Answers) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """The likeliest topic other than the last, and its probability; None without a topic."""
    ids = np.full(rows.tables[0].width + 1, None, object)
    for each, slot in slots_by_topic(rows.tables[0], rows.recency).items():
        ids[slot] = str(each)
    topic: NDArray[np.object_] = np.full(len(rows), None, object)
    probability = np.full(len(rows), np.nan)
    free = np.array([each is None for each in ids[1:]])
    for chosen, answer in answers:
        score = np.array(answer["probability"], float)
        score[:, free[: score.shape[1]]] = -1.0
        last = rows.last_topic[chosen]
        met = np.flatnonzero((last > 0) & (last <= score.shape[1]))
        score[met, last[met] - 1] = -1.0
        best = score.argmax(axis=1)
        topic[chosen] = ids[best + 1]
        probability[chosen] = score[np.arange(len(chosen)), best]
    return topic, probability
