"""Training-serving skew: inputs of logged answers, compared with training's for the same moment.

Serving logs the inputs of each answer. This module computes them again with training's compiled
fold, from the events that the log held at that moment: already received and not yet quarantined.
It compares the 20 inputs of recommendations and the 4 of difficulties, because serving logs only
these; hidden states and inputs per topic are not logged.

The slot of a topic that came after training depends on the worker's counts at that moment, which
are not logged. For such a topic every slot beyond the vocabulary is accepted, and so is slot 0.
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
from sensei.events.aggregates import TOPIC
from sensei.storage import database

INPUTS: Mapping[str, tuple[Input, ...]] = {
    "recommendation": RECOMMENDATION_INPUTS,
    "difficulty": DIFFICULTY_INPUTS,
}

MOST = 1_000
"""Maximum number of answers compared; the newest ones are used."""

UNSETTLED_US = 5_000_000
"""Microseconds in which a write to the log may still be uncommitted.

If an event was received or quarantined within this time before an answer, the answer may have been
made before or after that write; both are accepted. An import that takes longer to commit while
learners are served may cause a false alarm.
"""

ROUNDING = 1e-6
"""Relative and absolute tolerance for differences, because inputs are float32."""

MOST_ROWS = 200_000
"""Maximum number of events folded at a time; a single answer may have more."""

NEVER = 2**63 - 1
"""Sentinel for the quarantine time of events that are not in quarantine."""

Tables = Mapping[str, Mapping[str, Statistics]]
"""Digest of a bundle -> name of a model -> statistics with which it is served."""


@dataclass(frozen=True)
class Skew:
    """Counts of answers whose logged inputs differ from those that training reads.

    Attributes:
        compared: number of answers whose inputs were computed again.
        different: number of these answers with at least one different input.
        inputs: name of an input, as `model.input` -> number of answers in which it differs.
        left_out: number of answers with inputs that were not compared, because the bundle's
            statistics were not given or the learner has an event later than the answer.
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
    inputs: NDArray[np.float32]
    time: int


class _View(NamedTuple):
    """View of an answer: the rows of its learner's events as of one moment."""

    answer: _Logged
    answer_index: int
    rows: NDArray[np.int64]


def compare(engine: Engine, served: Tables, start_us: int, end_us: int, most: int = MOST) -> Skew:
    """Compare the inputs of the newest answers in [start, end).

    Args:
        engine: the log's database.
        served: statistics of the bundles that served in this period; see `Tables`.
        start_us: start, included; microseconds since 1970.
        end_us: end, excluded.
        most: maximum number of answers compared.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    logged = _answers(engine, start_us, end_us, most)
    comparable = [answer for answer in logged if answer.kind in served.get(answer.bundle, {})]
    events = _events(engine, sorted({answer.user_id for answer in comparable}))
    differences = _differences(list(_views(comparable, events)), events, served)
    counts = Counter(
        f"{comparable[index].kind}.{INPUTS[comparable[index].kind][at].name}"
        for index, mask in differences.items()
        for at in np.flatnonzero(mask)
    )
    different = sum(bool(mask.any()) for mask in differences.values())
    return Skew(len(differences), different, dict(counts), len(logged) - len(differences))


def _differences(
    views: Sequence[_View], events: pd.DataFrame, served: Tables
) -> dict[int, NDArray[np.bool_]]:
    """Map the index of each answer to the mask of its different inputs, in its best view."""
    differences: dict[int, NDArray[np.bool_]] = {}
    for group in _groups(views):
        statistics = served[group[0].answer.bundle][group[0].answer.kind]
        for view, mask in zip(group, _different(group, events, statistics), strict=True):
            best = differences.get(view.answer_index, mask)
            differences[view.answer_index] = mask if mask.sum() < best.sum() else best
    return differences


def _answers(engine: Engine, start_us: int, end_us: int, most: int) -> list[_Logged]:
    """Read logged answers; one after a merge is about the present id, which has the events."""
    query = text(
        "SELECT COALESCE((SELECT into_user_id FROM merged_learners AS merged WHERE "
        "merged.user_id = predictions.user_id AND merged.created_at <= predictions.created_at), "
        "user_id), kind, topic_id, bundle, CAST(inputs AS TEXT), created_at FROM predictions "
        "WHERE created_at >= :start AND created_at < :end AND inputs IS NOT NULL "
        "AND kind IN ('recommendation', 'difficulty') AND bundle IS NOT NULL "
        "AND (fallback IS NULL OR fallback NOT IN (:unreachable, :stale)) "
        "ORDER BY created_at DESC LIMIT :most"
    )
    parameters = {
        "start": start_us,
        "end": end_us,
        "unreachable": LOG_UNREACHABLE,
        "stale": STALE_LEARNER,
        "most": most,
    }
    with database.read_connection(engine) as connection:
        rows = connection.execute(query, parameters).all()
    answers = []
    for user_id, kind, topic, bundle, inputs, time in rows:
        logged_inputs = orjson.loads(inputs)
        if logged_inputs and "inputs" in logged_inputs:
            numbers = np.array(logged_inputs["inputs"], np.float32)
            answers.append(_Logged(user_id, kind, topic or 0, bundle, numbers, time))
    return answers


def _events(engine: Engine, users: Sequence[str]) -> pd.DataFrame:
    """Read all events of these learners on topics that count, removed ones too, with both times."""
    query = text(
        f"SELECT user_id, interaction_type, {TOPIC}, score, duration_seconds, timestamp, "  # noqa: S608
        "difficulty, received_at AS received, COALESCE((SELECT MIN(created_at) FROM "
        "(SELECT interaction_id, created_at FROM quarantine "
        "UNION ALL SELECT interaction_id, created_at FROM corrections) AS removed "
        "WHERE interaction_id = user_interactions.id), :never) AS taken_out "
        "FROM user_interactions WHERE user_id IN :users AND (topic_id IN (SELECT topics.topic_id "
        "FROM topics) OR NOT EXISTS (SELECT 1 FROM topics)) ORDER BY COALESCE(arrival, id)"
    ).bindparams(bindparam("users", type_=String, expanding=True))
    with database.read_connection(engine) as connection:
        result = connection.execute(query, {"users": users, "never": NEVER})
        frame = pd.DataFrame(result.all(), columns=list(result.keys()))
    frame["score"] = frame["score"].astype(np.float64)
    frame["duration_seconds"] = frame["duration_seconds"].astype(np.float64)
    return frame


def _views(answers: Sequence[_Logged], events: pd.DataFrame) -> Iterator[_View]:
    """Yield the possible views of each answer: more than one after a recent write.

    Answers of learners with an event later than the answer have no view.
    """
    rows_of = events.groupby("user_id", sort=False).indices
    time, received, taken_out = (
        events[name].to_numpy() for name in ("timestamp", "received", "taken_out")
    )
    for index, answer in enumerate(answers):
        rows = rows_of.get(answer.user_id, np.empty(0, np.int64))
        moments = np.unique(np.concatenate([received[rows], taken_out[rows]]))
        young = moments[(moments > answer.time - UNSETTLED_US) & (moments <= answer.time)]
        views = []
        for moment in (answer.time, *(young - 1)):
            visible_rows = rows[(received[rows] <= moment) & (taken_out[rows] > moment)]
            views.append(_View(answer, index, visible_rows))
        if not any((time[view.rows] > answer.time).any() for view in views):
            yield from views


def _groups(views: Sequence[_View]) -> Iterator[list[_View]]:
    """Group views by bundle and model, each group small enough for one fold."""
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
    """Return the (n, width) mask of inputs that differ from those that training reads."""
    kind = views[0].answer.kind
    expected = _rebuilt(views, events, statistics, kind)
    served_inputs = np.stack([view.answer.inputs for view in views])
    close = np.isclose(served_inputs, expected, rtol=ROUNDING, atol=ROUNDING)
    slots = [input_spec.unit == "topic slot" for input_spec in INPUTS[kind]]
    newcomer = (expected == 0) & (served_inputs > len(statistics.topic_ids)) & np.array(slots)
    different: NDArray[np.bool_] = ~(close | newcomer)
    return different


def _rebuilt(
    views: Sequence[_View], events: pd.DataFrame, statistics: Statistics, kind: str
) -> NDArray[np.float32]:
    """Compute the (n, width) inputs with training's fold.

    Each view becomes a learner whose last row, and therefore last event, is the target.
    """
    rows = np.concatenate([view.rows for view in views])
    answers = [view.answer for view in views]
    target_columns: dict[str, list[Any]] = {
        "interaction_type": ["text_read"] * len(views),
        "topic_id": [answer.topic for answer in answers],
        "score": [np.nan] * len(views),
        "duration_seconds": [np.nan] * len(views),
        "timestamp": [answer.time for answer in answers],
        "difficulty": [None] * len(views),
    }
    frame = pd.DataFrame(
        {
            name: np.append(events[name].to_numpy()[rows], last)
            for name, last in target_columns.items()
        }
    )
    order = np.arange(len(views))
    codes = np.append(np.repeat(order, [len(view.rows) for view in views]), order)
    names = pd.Index([f"{number:09d}" for number in order])
    frame["user_id"] = pd.Categorical.from_codes(codes.astype(np.int64), names)
    frame["topic_id"] = frame["topic_id"].astype(np.int64)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"].astype(np.int64), unit="us", utc=True)
    encoded = encode(frame)
    targets = examples(encoded, statistics, encoded.row >= len(rows))
    inputs: NDArray[np.float32] = getattr(targets, kind)
    return inputs
