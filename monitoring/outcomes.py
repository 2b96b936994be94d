"""Outcomes: each logged answer, joined with the learner's later events.

An answer is judged by events after it and within the horizon, and only when the whole horizon is
over. Before that it is open: judging earlier would count fast learners first. Events count by
their timestamp, which is their end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from monitoring.answer_frames import TOLD_ARM, count_topics, read_answers, read_events
from sensei.contracts import ATTEMPT_KINDS, DAY, KINDS, LEARNING_KINDS, LEVELS, PASS_SCORE

ATTEMPTS = [KINDS.index(kind) for kind in ATTEMPT_KINDS]
ACCEPTED = KINDS.index("recommendation_accepted")

MOST_ANSWERS = 200_000
"""Approximate number of answers joined at a time; one learner's answers are never split."""

SOURCE = ("prediction_id", "user_id", "kind", "model", "version", "bundle", "arm", "fallback")
"""Columns that an outcome takes over from its answer."""

MEASURED = ("accepted", "hit", "told", "helpful", "rating", "probability", "passed")
"""Outcome columns; NaN if nothing is known and for open answers."""


def read_outcomes(
    engine: Engine, start_us: int, end_us: int, horizon_us: int, k: int = 3
) -> pd.DataFrame:
    """Read the outcomes of the answers given in [start, end), as known at `end`.

    Args:
        engine: the log's database.
        start_us: start of the window, included; microseconds since 1970.
        end_us: end of the window, excluded; later events are ignored.
        horizon_us: length of the horizon after an answer, in microseconds.
        k: number of leading topics in which a hit is looked for.

    Returns:
        See `join`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    earlier = start_us - horizon_us  # the window's first answers may repeat these
    answers = read_answers(engine, earlier, end_us)
    events = read_events(engine, answers["user_id"].cat.categories, earlier, end_us)
    parts = [join(*part, end_us, horizon_us, k) for part in _parts(answers, events)]
    outcomes = pd.concat([part[part["time"] >= start_us] for part in parts])
    outcomes["catalogue"] = count_topics(engine)
    return outcomes.sort_values(["time", "prediction_id"], ignore_index=True)


def _parts(
    answers: pd.DataFrame, events: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Split answers and events by learner, so that each join fits into memory."""
    learner = answers["user_id"].cat.codes.to_numpy()
    part_of = np.cumsum(np.bincount(learner, minlength=1)) // MOST_ANSWERS
    for part in np.unique(part_of):
        yield answers[part_of[learner] == part], events[part_of[events["learner"]] == part]


def join(
    answers: pd.DataFrame, events: pd.DataFrame, end_us: int, horizon_us: int, k: int
) -> pd.DataFrame:
    """Join answers with the events that followed them.

    A recommendation is a repeat if the learner saw the same list less than the horizon before,
    with no learning event in between. A difficulty is a repeat if the same topic was asked about
    with no scored attempt on it in between. Only the first of repeated answers is kept.

    Args:
        answers: frame of `monitoring.answer_frames.read_answers`.
        events: frame of `monitoring.answer_frames.read_events`.
        end_us: answers whose horizon ends later are not judged; microseconds since 1970.
        horizon_us: length of the horizon, in microseconds.
        k: number of leading topics in which a hit is looked for.

    Returns:
        One row per counted answer: `SOURCE`; `day` (UTC, text); `time` (us); `shown` (topics);
        `open` (the horizon is not over); and `MEASURED`:
        `accepted`: 1 if a shown topic other than the last engaged one was engaged, else 0;
        `hit`: 1 if the first engaged topic other than the last one is among the first k shown,
        else 0; `told`: 1 if the platform reported an acceptance, else 0; `helpful`: share of
        feedback that calls it helpful; `rating`: mean, 1 to 5; `probability`: predicted success
        at the level of the next scored attempt on the topic; `passed`: 1 or 0.
    """
    answers = answers.assign(
        learner=answers["user_id"].cat.codes.astype(np.int64), until=answers["time"] + horizon_us
    )
    parts = [
        _recommendations(answers[answers["kind"] == "recommendation"], events, horizon_us, k),
        _difficulties(answers[answers["kind"] == "difficulty"], events, horizon_us),
    ]
    outcomes = pd.concat(parts, ignore_index=True)
    outcomes["open"] = (outcomes["until"] > end_us) & (outcomes["arm"] != TOLD_ARM)
    outcomes.loc[outcomes["open"], list(MEASURED)] = np.nan
    outcomes["day"] = pd.Categorical(
        pd.to_datetime(outcomes["time"] // DAY, unit="D").dt.strftime("%Y-%m-%d")
    )
    columns = [*SOURCE, "day", "time", "shown", "open", *MEASURED]
    return outcomes[columns].sort_values(["time", "prediction_id"], ignore_index=True)


def _recommendations(
    answers: pd.DataFrame, events: pd.DataFrame, horizon_us: int, k: int
) -> pd.DataFrame:
    answers = answers.reset_index(drop=True)
    learning = events[events["kind"] < len(LEARNING_KINDS)]
    before = _nearest(answers, learning, ["learner"], "backward")
    last = _of(learning, "topic", before)
    counted = _first(answers, ["learner", "answer"], before, horizon_us)
    answers["shown"] = shown_topics = _parsed(answers["answer"])
    row, topic = _pairs(shown_topics)
    pairs = answers.loc[row, ["learner", "time", "until"]].assign(topic=topic)
    on_it = _nearest(pairs, learning, ["learner", "topic"], "forward")
    accepted_pairs = _in_time(pairs, learning, on_it) & (topic != last[row])
    turns = learning[learning["topic"] != learning.groupby("learner")["topic"].shift()]
    turn = _nearest(answers, turns, ["learner"], "forward")
    turned = _in_time(answers, turns, turn)
    following = _of(turns, "topic", turn)
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    hits = turned[row] & (rank < k) & (topic == following[row])
    answers["accepted"] = _any(row[accepted_pairs], len(answers))
    answers["hit"] = np.where(turned, _any(row[hits], len(answers)), np.nan)
    answers.loc[shown_topics.str.len() == 0, ["accepted", "hit"]] = np.nan
    answers = answers.join(_responses(answers, events, pairs.assign(row=row), counted))
    answers["told"] = answers["told"].fillna(0.0)
    answers["accepted"] = answers["accepted"].mask(answers["arm"] == TOLD_ARM, answers["told"])
    answers[["probability", "passed"]] = np.nan
    return _first_only(answers, counted)


def _difficulties(answers: pd.DataFrame, events: pd.DataFrame, horizon_us: int) -> pd.DataFrame:
    answers = answers.reset_index(drop=True).rename(columns={"topic_id": "topic"})
    attempts = events[events["kind"].isin(ATTEMPTS) & events["score"].notna()]
    both = ["learner", "topic"]
    before = _nearest(answers, attempts, both, "backward")
    counted = _first(answers, both, before, horizon_us)
    attempt = _nearest(answers, attempts, both, "forward")
    by_level = np.array([_levels(answer) for answer in _parsed(answers["answer"])], np.float64)
    by_level = by_level.reshape(-1, len(LEVELS) + 1)
    probability = by_level[np.arange(len(answers)), _of(attempts, "level", attempt)]
    has_outcome = _in_time(answers, attempts, attempt) & ~np.isnan(probability)
    passed = _of(attempts, "score", attempt) >= PASS_SCORE
    answers["probability"] = np.where(has_outcome, probability, np.nan)
    answers["passed"] = np.where(has_outcome, passed, np.nan)
    answers["shown"] = [()] * len(answers)
    answers[["accepted", "hit", "told", "helpful", "rating"]] = np.nan
    return _first_only(answers, counted)


def _first_only(answers: pd.DataFrame, counted: NDArray[np.int64]) -> pd.DataFrame:
    """Drop the answers that repeat an earlier one."""
    first: pd.DataFrame = answers[counted == np.arange(len(answers))]
    return first


def _levels(answer: Any) -> list[float]:
    """Return the predicted success at each level, then NaN for an unknown level."""
    levels = answer.get("levels") if isinstance(answer, dict) else None
    return [*(levels or [np.nan] * len(LEVELS)), np.nan]


def _nearest(
    left: pd.DataFrame, right: pd.DataFrame, keys: list[str], direction: Any
) -> NDArray[np.int64]:
    """Return (n,) rows of `right`: at or before each row of `left`, or next after it; -1 if none.

    `direction` is `backward` or `forward`.
    """
    merged = pd.merge_asof(
        left[["time", *keys]],
        right[["time", *keys]].assign(row=np.arange(len(right))),
        on="time",
        by=keys,
        direction=direction,
        allow_exact_matches=direction == "backward",
    )
    return merged["row"].fillna(-1).to_numpy(np.int64)


def _of(frame: pd.DataFrame, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values of a column at `rows`; -1 for row -1."""
    return np.append(frame[name].to_numpy(), -1)[rows]


def _in_time(
    answers: pd.DataFrame, events: pd.DataFrame, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the answers whose next event, given by its row, lies within the horizon."""
    within: NDArray[np.bool_] = _of(events, "time", rows) < answers["until"].to_numpy()
    return (rows >= 0) & within


def _first(
    answers: pd.DataFrame, same: list[str], since: NDArray[np.int64], horizon_us: int
) -> NDArray[np.int64]:
    """Return the (n,) row of the answer that each answer repeats; its own row if none."""
    keys = answers[same].assign(since=since)
    group = keys.groupby([*same, "since"], sort=False, observed=True).ngroup().to_numpy()
    time = answers["time"].to_numpy()
    order = np.lexsort((time, group))
    first = np.empty(len(answers), np.int64)
    current_group, start, first_row = -1, 0, 0
    rows = zip(order.tolist(), group[order].tolist(), time[order].tolist(), strict=True)
    for row, its_group, its_time in rows:
        if its_group != current_group or its_time - start >= horizon_us:
            current_group, start, first_row = its_group, its_time, row
        first[row] = first_row
    return first


def _responses(
    answers: pd.DataFrame, events: pd.DataFrame, pairs: pd.DataFrame, counted: NDArray[np.int64]
) -> pd.DataFrame:
    """Compute the mean responses to recommendations, indexed by the recommendation's row.

    A response belongs to the recommendation whose id it names, else to the learner's last one
    that shows the topic. A response to a repeat counts for the first.
    """
    responses = events[events["kind"] >= len(LEARNING_KINDS)]
    metadata = [orjson.loads(text) if text else {} for text in responses["metadata"]]
    ids = [values.get("prediction_id") for values in metadata]
    named_rows = pd.Index(answers["prediction_id"]).get_indexer(pd.Index(ids, dtype=object))
    nearest_rows = _of(pairs, "row", _nearest(responses, pairs, ["learner", "topic"], "backward"))
    answer_rows = np.where(
        [prediction_id is None for prediction_id in ids], nearest_rows, named_rows
    )
    answer_rows = np.append(counted, -1)[answer_rows.astype(np.int64)]
    time = responses["time"].to_numpy()
    valid = (answer_rows >= 0) & (_of(answers, "learner", answer_rows) == responses["learner"])
    valid &= (_of(answers, "time", answer_rows) <= time) & (
        time < _of(answers, "until", answer_rows)
    )
    values_of = pd.DataFrame(
        {
            "told": np.where(responses["kind"] == ACCEPTED, 1.0, np.nan),
            "helpful": [_number(values.get("helpful")) for values in metadata],
            "rating": [_number(values.get("rating")) for values in metadata],
        }
    )
    means: pd.DataFrame = values_of[valid.to_numpy()].groupby(answer_rows[valid]).mean()
    return means


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _parsed(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Parse the JSON of a categorical column, each category once; lists become tuples."""
    parsed = [orjson.loads(text) for text in texts.cat.categories]
    values = [tuple(value) if isinstance(value, list) else value for value in parsed]
    return pd.Series([values[code] for code in texts.cat.codes], texts.index, object)


def _pairs(shown_topics: "pd.Series[Any]") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the topic of each shown topic, in order."""
    row = np.repeat(np.arange(len(shown_topics)), [len(topics) for topics in shown_topics])
    return row, np.array([topic for topics in shown_topics for topic in topics], np.int64)


def _any(rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return (count,) values: 1 for a row that occurs at least once in `rows`, else 0."""
    return (np.bincount(rows, minlength=count) > 0).astype(np.float64)
