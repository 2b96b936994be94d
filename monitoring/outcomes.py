"""Outcomes: each answer that was logged, joined with what the learner did after it.

An answer is judged by events later than it and within the horizon, and only when the whole
horizon is over: before that it is open, for those who act at once would be counted first.
Events count by their timestamp, which is their end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from monitoring.logged import count_topics, read_answers, read_events
from sensei.contracts import ATTEMPT_KINDS, DAY, KINDS, LEARNING_KINDS, LEVELS, PASS_SCORE

ATTEMPTS = [KINDS.index(kind) for kind in ATTEMPT_KINDS]
ACCEPTED = KINDS.index("recommendation_accepted")

MOST_ANSWERS = 200_000
"""Answers that are joined at a time, give or take those of one learner."""

SOURCE = ("prediction_id", "user_id", "kind", "model", "version", "bundle", "arm", "fallback")
"""Columns of an answer that its outcome keeps."""

TOLD_ARM = "outside"
"""Arm of answers whose acceptance was told when they were logged: they are never open."""

MEASURED = ("accepted", "hit", "told", "helpful", "rating", "probability", "passed")
"""Columns of what followed; NaN where nothing is known, and of open answers."""


def read_outcomes(
    engine: Engine, start_us: int, end_us: int, horizon_us: int, k: int = 3
) -> pd.DataFrame:
    """What became of the answers given in [start, end), as far as it is known at `end`.

    Args:
        engine: the log's database.
        start_us: microseconds since 1970.
        end_us: the same, not included; no event from then on is looked at.
        horizon_us: how long after an answer events count as following from it.
        k: first topics of an answer in which a hit is looked for.

    Returns:
        See `join`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    earlier = start_us - horizon_us  # what a first answer of the window may repeat
    answers = read_answers(engine, earlier, end_us)
    events = read_events(engine, answers["user_id"].cat.categories, earlier, end_us)
    parts = [join(*part, end_us, horizon_us, k) for part in _parts(answers, events)]
    found = pd.concat([part[part["time"] >= start_us] for part in parts])
    found["catalogue"] = count_topics(engine)
    return found.sort_values(["time", "prediction_id"], ignore_index=True)


def _parts(
    answers: pd.DataFrame, events: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Answers and events of some learners each: what is joined at a time fits into memory."""
    learner = answers["user_id"].cat.codes.to_numpy()
    part_of = np.cumsum(np.bincount(learner, minlength=1)) // MOST_ANSWERS
    for part in np.unique(part_of):
        yield answers[part_of[learner] == part], events[part_of[events["learner"]] == part]


def join(
    answers: pd.DataFrame, events: pd.DataFrame, end_us: int, horizon_us: int, k: int
) -> pd.DataFrame:
    """Join answers with what followed them.

    A recommendation is a repeat of an earlier one that showed the learner the same list, less
    than the horizon before, with no learning event in between; a difficulty, of an earlier
    one of the same topic with no scored attempt on it in between. Only first ones are kept.

    Args:
        answers: of `monitoring.logged.read_answers`.
        events: of `monitoring.logged.read_events`.
        end_us: no answer whose horizon reaches beyond is judged.
        horizon_us: of each answer.
        k: topics in which a hit is looked for.

    Returns:
        One row a counted answer: `SOURCE`; `day` (UTC, text); `time` (us); `shown` (topics);
        `open`, whether its horizon is not over; and `MEASURED`:
        `accepted`: 1 if a shown topic other than the last engaged one was engaged, else 0;
        `hit`: 1 if the first engaged topic other than the last one is among the first k shown,
        else 0; `told`: 1 if the platform said that it was accepted, else 0; `helpful`: share of
        feedback that says so; `rating`: mean, 1 to 5; `probability` said of success at the
        level of the next scored attempt on the topic, and `passed`: 1 or 0.
    """
    answers = answers.assign(
        learner=answers["user_id"].cat.codes.astype(np.int64), until=answers["time"] + horizon_us
    )
    parts = [
        _recommendations(answers[answers["kind"] == "recommendation"], events, horizon_us, k),
        _difficulties(answers[answers["kind"] == "difficulty"], events, horizon_us),
    ]
    found = pd.concat(parts, ignore_index=True)
    found["open"] = (found["until"] > end_us) & (found["arm"] != TOLD_ARM)
    found.loc[found["open"], list(MEASURED)] = np.nan
    found["day"] = pd.Categorical(
        pd.to_datetime(found["time"] // DAY, unit="D").dt.strftime("%Y-%m-%d")
    )
    columns = [*SOURCE, "day", "time", "shown", "open", *MEASURED]
    return found[columns].sort_values(["time", "prediction_id"], ignore_index=True)


def _recommendations(
    answers: pd.DataFrame, events: pd.DataFrame, horizon_us: int, k: int
) -> pd.DataFrame:
    answers = answers.reset_index(drop=True)
    learning = events[events["kind"] < len(LEARNING_KINDS)]
    before = _nearest(answers, learning, ["learner"], "backward")
    last = _of(learning, "topic", before)
    counted = _first(answers, ["learner", "answer"], before, horizon_us)
    answers["shown"] = shown = _parsed(answers["answer"])
    row, topic = _pairs(shown)
    pairs = answers.loc[row, ["learner", "time", "until"]].assign(topic=topic)
    on_it = _nearest(pairs, learning, ["learner", "topic"], "forward")
    taken = _in_time(pairs, learning, on_it) & (topic != last[row])
    turns = learning[learning["topic"] != learning.groupby("learner")["topic"].shift()]
    turn = _nearest(answers, turns, ["learner"], "forward")
    turned = _in_time(answers, turns, turn)
    following = _of(turns, "topic", turn)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    among = turned[row] & (place < k) & (topic == following[row])
    answers["accepted"] = _any(row[taken], len(answers))
    answers["hit"] = np.where(turned, _any(row[among], len(answers)), np.nan)
    answers.loc[shown.str.len() == 0, ["accepted", "hit"]] = np.nan
    answers = answers.join(_responses(answers, events, pairs.assign(row=row), counted))
    answers["told"] = answers["told"].fillna(0.0)
    answers["accepted"] = answers["accepted"].mask(answers["arm"] == TOLD_ARM, answers["told"])
    answers[["probability", "passed"]] = np.nan
    return _kept(answers, counted)


def _difficulties(answers: pd.DataFrame, events: pd.DataFrame, horizon_us: int) -> pd.DataFrame:
    answers = answers.reset_index(drop=True).rename(columns={"topic_id": "topic"})
    attempts = events[events["kind"].isin(ATTEMPTS) & events["score"].notna()]
    both = ["learner", "topic"]
    before = _nearest(answers, attempts, both, "backward")
    counted = _first(answers, both, before, horizon_us)
    tried = _nearest(answers, attempts, both, "forward")
    said = np.array([_levels(each) for each in _parsed(answers["answer"])], np.float64)
    said = said.reshape(-1, len(LEVELS) + 1)
    probability = said[np.arange(len(answers)), _of(attempts, "level", tried)]
    judged = _in_time(answers, attempts, tried) & ~np.isnan(probability)
    passed = _of(attempts, "score", tried) >= PASS_SCORE
    answers["probability"] = np.where(judged, probability, np.nan)
    answers["passed"] = np.where(judged, passed, np.nan)
    answers["shown"] = [()] * len(answers)
    answers[["accepted", "hit", "told", "helpful", "rating"]] = np.nan
    return _kept(answers, counted)


def _kept(answers: pd.DataFrame, counted: NDArray[np.int64]) -> pd.DataFrame:
    """The answers that repeat none."""
    kept: pd.DataFrame = answers[counted == np.arange(len(answers))]
    return kept


def _levels(said: Any) -> list[float]:
    """Success said of each level, then of an unknown one."""
    levels = said.get("levels") if isinstance(said, dict) else None
    return [*(levels or [np.nan] * len(LEVELS)), np.nan]


def _nearest(
    left: pd.DataFrame, right: pd.DataFrame, by: list[str], direction: Any
) -> NDArray[np.int64]:
    """(n,) place in `right` of the last row up to each of `left`, or of the next; -1 none."""
    found = pd.merge_asof(
        left[["time", *by]],
        right[["time", *by]].assign(place=np.arange(len(right))),
        on="time",
        by=by,
        direction=direction,
        allow_exact_matches=direction == "backward",
    )
    return found["place"].fillna(-1).to_numpy(np.int64)


def _of(frame: pd.DataFrame, name: str, place: NDArray[np.int64]) -> NDArray[Any]:
    """A column at these places; -1 where there is none."""
    return np.append(frame[name].to_numpy(), -1)[place]


def _in_time(
    answers: pd.DataFrame, events: pd.DataFrame, place: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether there is a next event, within the horizon."""
    within: NDArray[np.bool_] = _of(events, "time", place) < answers["until"].to_numpy()
    return (place >= 0) & within


def _first(
    answers: pd.DataFrame, same: list[str], since: NDArray[np.int64], horizon_us: int
) -> NDArray[np.int64]:
    """(n,) place of the answer that each one repeats; its own where it is counted itself."""
    keys = answers[same].assign(since=since)
    group = keys.groupby([*same, "since"], sort=False, observed=True).ngroup().to_numpy()
    time = answers["time"].to_numpy()
    order = np.lexsort((time, group))
    first = np.empty(len(answers), np.int64)
    of, start, place = -1, 0, 0
    rows = zip(order.tolist(), group[order].tolist(), time[order].tolist(), strict=True)
    for row, its_group, its_time in rows:
        if its_group != of or its_time - start >= horizon_us:
            of, start, place = its_group, its_time, row
        first[row] = place
    return first


def _responses(
    answers: pd.DataFrame, events: pd.DataFrame, pairs: pd.DataFrame, counted: NDArray[np.int64]
) -> pd.DataFrame:
    """What learners said of recommendations, by the place of the one that it is about.

    That is the one whose id stands in the response, else the learner's last one that shows
    the topic. What is said of a repeat counts for the first.
    """
    said = events[events["kind"] >= len(LEARNING_KINDS)]
    details = [orjson.loads(each) if each else {} for each in said["metadata"]]
    names = [each.get("prediction_id") for each in details]
    named = pd.Index(answers["prediction_id"]).get_indexer(pd.Index(names, dtype=object))
    shown = _of(pairs, "row", _nearest(said, pairs, ["learner", "topic"], "backward"))
    about = np.where([each is None for each in names], shown, named).astype(np.int64)
    about = np.append(counted, -1)[about]
    time = said["time"].to_numpy()
    mine = (about >= 0) & (_of(answers, "learner", about) == said["learner"])
    mine &= (_of(answers, "time", about) <= time) & (time < _of(answers, "until", about))
    found = pd.DataFrame(
        {
            "told": np.where(said["kind"] == ACCEPTED, 1.0, np.nan),
            "helpful": [_number(each.get("helpful")) for each in details],
            "rating": [_number(each.get("rating")) for each in details],
        }
    )
    means: pd.DataFrame = found[mine.to_numpy()].groupby(about[mine]).mean()
    return means


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _parsed(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """JSON of a categorical column; lists as tuples, each different text parsed once."""
    parsed = [orjson.loads(text) for text in texts.cat.categories]
    found = [tuple(each) if isinstance(each, list) else each for each in parsed]
    return pd.Series([found[code] for code in texts.cat.codes], texts.index, object)


def _pairs(shown: "pd.Series[Any]") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row and the topic of everything that was shown, in their order."""
    row = np.repeat(np.arange(len(shown)), [len(each) for each in shown])
    return row, np.array([topic for each in shown for topic in each], np.int64)


def _any(rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(count,) 1 for a row that is named at least once, else 0."""
    return (np.bincount(rows, minlength=count) > 0).astype(np.float64)
