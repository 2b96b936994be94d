"""Skew: whether serving read of a learner what training reads for the same moment.

The inputs that an answer was made from were logged with it. Here they are made once more, by
training's own compiled fold, from the events that the log held at that moment: received by
then, and not yet taken out. Compared are the 20 inputs of recommendations and the 4 of
difficulties, which is what serving logs; hidden states and inputs by topic are not logged.

A topic that came after training has a slot that depends on what the worker had counted by then,
which nobody logged: there, any slot beyond the vocabulary is right, and none is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine, String, bindparam, text

from features.batch import encode, examples
from features.corpus.statistics import Statistics
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    LOG_UNREACHABLE,
    RECOMMENDATION_INPUTS,
    STALE_LEARNER,
    Input,
)
from sensei.storage import database

INPUTS: Mapping[str, tuple[Input, ...]] = {
    "recommendation": RECOMMENDATION_INPUTS,
    "difficulty": DIFFICULTY_INPUTS,
}

MOST = 1_000
"""Answers compared at most, the newest ones."""

UNSETTLED_US = 5_000_000
"""An event received so shortly before an answer may have been committed after the answer was made:
either is right. Who imports rows that take longer to commit, while learners are served, may see a
false alarm."""

ROUNDING = 1e-6
"""Relative and absolute difference that float32 explains."""

MOST_ROWS = 200_000
"""Events that are folded at a time."""

NEVER = 2**63 - 1
"""When events are taken out that are not."""

Tables = Mapping[str, Mapping[str, Statistics]]
"""Digest of a bundle -> name of a model -> the statistics it is served with."""


@dataclass(frozen=True)
class Skew:
    """How many answers were made from other inputs than training reads.

    Attributes:
        compared: answers whose inputs were made once more.
        different: of them, those with an input that is another one.
        inputs: name of an input, as `model.input` -> answers in which it is another one.
        left_out: answers with inputs that were not compared: of bundles whose statistics were not
            given, or of a learner with an event from the future, of which training knows nothing.
    """

    compared: int
    different: int
    inputs: dict[str, int] = field(default_factory=dict)
    left_out: int = 0


class _Logged(NamedTuple):
    user_id: str
    kind: str
    topic: int
    bundle: str
    read: NDArray[np.float32]
    time: int


class _View(NamedTuple):
    """One answer, and the rows of its learner's events as of a moment."""

    answer: _Logged
    place: int
    rows: NDArray[np.int64]


def compare(engine: Engine, served: Tables, start_us: int, end_us: int, most: int = MOST) -> Skew:
    """Compare the inputs of the newest answers in [start, end).

    Args:
        engine: the log's database.
        served: see `tables`; of the bundles that served then.
        start_us: microseconds since 1970.
        end_us: the same, not included.
        most: answers compared at most.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    logged = _answers(engine, start_us, end_us, most)
    known = [each for each in logged if each.kind in served.get(each.bundle, {})]
    events = _events(engine, sorted({each.user_id for each in known}))
    others = _others(list(_views(known, events)), events, served)
    counts = Counter(
        f"{known[place].kind}.{INPUTS[known[place].kind][at].name}"
        for place, each in others.items()
        for at in np.flatnonzero(each)
    )
    different = sum(bool(each.any()) for each in others.values())
    return Skew(len(others), different, dict(counts), len(logged) - len(others))


def _others(
    views: Sequence[_View], events: pd.DataFrame, served: Tables
) -> dict[int, NDArray[np.bool_]]:
    """Place of an answer -> which of its inputs are others, in the view that fits it best."""
    found: dict[int, NDArray[np.bool_]] = {}
    for group in _groups(views):
        statistics = served[group[0].answer.bundle][group[0].answer.kind]
        for view, each in zip(group, _different(group, events, statistics), strict=True):
            best = found.get(view.place, each)
            found[view.place] = each if each.sum() < best.sum() else best
    return found


def _answers(engine: Engine, start_us: int, end_us: int, most: int) -> list[_Logged]:
    query = text(
        "SELECT user_id, kind, topic_id, bundle, CAST(inputs AS TEXT), created_at FROM predictions "
        "WHERE created_at >= :start AND created_at < :end AND inputs IS NOT NULL "
        "AND kind IN ('recommendation', 'difficulty') AND bundle IS NOT NULL "
        "AND (fallback IS NULL OR fallback NOT IN (:unreachable, :stale)) "
        "ORDER BY created_at DESC LIMIT :most"
    )
    given = {
        "start": start_us,
        "end": end_us,
        "unreachable": LOG_UNREACHABLE,
        "stale": STALE_LEARNER,
        "most": most,
    }
    with database.read_connection(engine) as connection:
        rows = connection.execute(query, given).all()
    found = []
    for user_id, kind, topic, bundle, inputs, time in rows:
        read = orjson.loads(inputs)
        if read and "inputs" in read:
            numbers = np.array(read["inputs"], np.float32)
            found.append(_Logged(user_id, kind, topic or 0, bundle, numbers, time))
    return found


def _events(engine: Engine, users: Sequence[str]) -> pd.DataFrame:
    """All events of these learners, those in quarantine too, with the moments of both."""
    query = text(
        "SELECT event_id, user_id, interaction_type, topic_id, score, duration_seconds, timestamp, "
        "difficulty, received_at AS received, COALESCE((SELECT MIN(created_at) FROM quarantine "
        "WHERE interaction_id = user_interactions.id), :never) AS taken_out "
        "FROM user_interactions WHERE user_id IN :users"
    ).bindparams(bindparam("users", type_=String, expanding=True))
    with database.read_connection(engine) as connection:
        found = connection.execute(query, {"users": users, "never": NEVER})
        frame = pd.DataFrame(found.all(), columns=list(found.keys()))
    frame["score"] = frame["score"].astype(np.float64)
    frame["duration_seconds"] = frame["duration_seconds"].astype(np.float64)
    return frame


def _views(answers: Sequence[_Logged], events: pd.DataFrame) -> Iterator[_View]:
    """What each answer may have been made from: usually one view, more where a write was young."""
    rows_of = events.groupby("user_id", sort=False).indices
    time, received, taken_out = (
        events[name].to_numpy() for name in ("timestamp", "received", "taken_out")
    )
    for place, answer in enumerate(answers):
        rows = rows_of.get(answer.user_id, np.empty(0, np.int64))
        moments = np.unique(np.concatenate([received[rows], taken_out[rows]]))
        young = moments[(moments > answer.time - UNSETTLED_US) & (moments <= answer.time)]
        views = []
        for moment in (answer.time, *(young - 1)):
            there = rows[(received[rows] <= moment) & (taken_out[rows] > moment)]
            views.append(_View(answer, place, there))
        if not any((time[view.rows] > answer.time).any() for view in views):
            yield from views


def _groups(views: Sequence[_View]) -> Iterator[list[_View]]:
    """Views of one bundle and model, no more than can be folded at once."""
    group: list[_View] = []
    rows = 0
    for view in sorted(views, key=lambda view: (view.answer.bundle, view.answer.kind)):
        same = group and group[0].answer[1:4:2] == view.answer[1:4:2]
        if group and (not same or rows + len(view.rows) > MOST_ROWS):
            yield group
            group, rows = [], 0
        group.append(view)
        rows += len(view.rows)
    if group:
        yield group


def _different(
    views: Sequence[_View], events: pd.DataFrame, statistics: Statistics
) -> NDArray[np.bool_]:
    """(n, width) inputs that are others than training reads."""
    kind = views[0].answer.kind
    expected = _rebuilt(views, events, statistics, kind)
    read = np.stack([view.answer.read for view in views])
    same = np.isclose(read, expected, rtol=ROUNDING, atol=ROUNDING)
    slots = [each.unit == "topic slot" for each in INPUTS[kind]]
    newcomer = (expected == 0) & (read > len(statistics.topic_ids)) & np.array(slots)
    different: NDArray[np.bool_] = ~(same | newcomer)
    return different


def _rebuilt(
    views: Sequence[_View], events: pd.DataFrame, statistics: Statistics, kind: str
) -> NDArray[np.float32]:
    """(n, width) inputs by training's fold: each view a learner, with a target at its end."""
    rows = np.concatenate([view.rows for view in views])
    answers = [view.answer for view in views]
    asked: dict[str, list[Any]] = {
        "event_id": ["\U0010ffff"] * len(views),  # after what else happened in that microsecond
        "interaction_type": ["text_read"] * len(views),
        "topic_id": [each.topic for each in answers],
        "score": [np.nan] * len(views),
        "duration_seconds": [np.nan] * len(views),
        "timestamp": [each.time for each in answers],
        "difficulty": [None] * len(views),
    }
    frame = pd.DataFrame(
        {name: np.append(events[name].to_numpy()[rows], last) for name, last in asked.items()}
    )
    order = np.arange(len(views))
    codes = np.append(np.repeat(order, [len(view.rows) for view in views]), order)
    names = pd.Index([f"{number:09d}" for number in order])
    frame["user_id"] = pd.Categorical.from_codes(codes.astype(np.int64), names)
    frame["topic_id"] = frame["topic_id"].astype(np.int64)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"].astype(np.int64), unit="us", utc=True)
    encoded = encode(frame)
    found = examples(encoded, statistics, encoded.row >= len(rows))
    inputs: NDArray[np.float32] = getattr(found, kind)
    return inputs
