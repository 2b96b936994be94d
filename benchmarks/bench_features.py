"""Benchmark of the 20 + 4 inputs: compiled fold, vectorised pandas, pandas per learner.

    python benchmarks/bench_features.py [--large]

Each measurement runs in a separate process, forked after the log is in memory. CPU seconds and peak
memory are those of that process. The benchmark first checks that all three ways give the same
values. The compile time is shown separately.
"""

import argparse
import os
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pandas as pd

from features.batch import encode, examples
from features.corpus.statistics import Statistics, fit
from features.history import KIND_CODES
from features.learner_state import LEARNING
from sensei.contracts import DIFFICULTY_INPUTS, KINDS, LEVELS, RECOMMENDATION_INPUTS

EVENTS_PER_LEARNER, TOPICS, ITEMS = 200, 500, 20_000


def make_log(rows: int, seed: int = 0) -> pd.DataFrame:
    """Create a log in time order: learners stay on a topic for a while, then change it."""
    random = np.random.default_rng(seed)
    learners = max(2, rows // EVENTS_PER_LEARNER)
    learner = random.integers(0, learners, rows, dtype=np.int32)
    kind = random.choice(len(KINDS), rows, p=[0.2, 0.15, 0.3, 0.1, 0.2, 0.03, 0.02]).astype(np.int8)
    spell = np.arange(rows) // (learners * 5)
    topic = (learner * 7 + spell * 13 + random.integers(0, 2, rows) * 101) % TOPICS + 1
    score = np.where(kind < 2, random.integers(0, 21, rows) / 20, np.nan)
    score[random.random(rows) < 0.05] = np.nan
    item = np.where(kind < 2, random.integers(0, ITEMS, rows, dtype=np.int32), -1)
    seconds = np.sort(random.integers(0, 10_000_000_000_000, rows)) + 1_700_000_000_000_000
    return pd.DataFrame(
        {
            "event_id": pd.array(np.char.mod("%012d", np.arange(rows)), "string[pyarrow]"),
            "user_id": pd.Categorical.from_codes(
                learner, [f"learner-{number:07d}" for number in range(learners)]
            ),
            "interaction_type": pd.Categorical.from_codes(kind, KINDS),
            "topic_id": topic.astype(np.int64),
            "score": score,
            "duration_seconds": np.where(random.random(rows) < 0.7, 120.0, np.nan),
            "timestamp": pd.to_datetime(seconds, unit="us", utc=True).as_unit("us"),
            "item_id": pd.Categorical.from_codes(item, [f"item-{n:05d}" for n in range(ITEMS)]),
            "difficulty": pd.Categorical.from_codes(np.full(rows, -1, np.int8), LEVELS),
        }
    )


def by_fold(frame: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """Compute the inputs of every learning event with the compiled fold."""
    events = encode(frame)
    rows = examples(events, statistics, np.ones(len(events), bool))
    return rows.recommendation, rows.difficulty


def by_pandas(frame: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """Compute the same inputs in vectorised pandas: sorts, groups, cumulative sums, shifts."""
    frame = frame.drop(columns=["item_id", "difficulty"]).sort_values(
        ["user_id", "timestamp", "event_id"]
    )
    user = frame["user_id"].cat.codes
    kind = frame["interaction_type"].cat.codes
    accepted = (kind == KIND_CODES["recommendation_accepted"]).groupby(user).cumsum()
    keep = (kind < LEARNING).to_numpy()
    frame = frame[keep].assign(user=user[keep], kind=kind[keep], accepted=accepted[keep])
    frame = frame.reset_index(drop=True)
    user, topic = frame["user"], frame["topic_id"]
    slot = pd.Series(statistics.slots_of(topic.to_numpy()))
    seconds = frame["timestamp"].astype("int64") / 1e6
    now = seconds - frame["duration_seconds"].fillna(0)
    pair = frame.groupby(["user", "topic_id"], sort=False).ngroup()
    after = after_each_event(frame, pair, seconds)
    rate = pd.Series(rates(statistics)[slot])
    by_user, by_pair = after.groupby(user), after.groupby(pair)
    last, last_on_topic = by_user.shift(1), by_pair.shift(1)

    new_best = after["topic_events"] > after["topic_events"].groupby(user).cummax().groupby(
        user
    ).shift(1).fillna(0)
    best = slot.where(new_best).groupby(user).ffill().groupby(user).shift(1)
    previous = frame.groupby("user").cumcount()
    slots = [slot.groupby(user).shift(lag) for lag in range(1, 6)]
    recommendation = [
        *slots,
        best,
        frame["kind"].groupby(user).shift(1) + 1,
        np.log1p(previous),
        (last["score_sum"] / last["scores"]).fillna(0.5),
        last["score_last_5"].fillna(0.5),
        np.log1p(last["topic_events"]),
        last["topic_score_last_5"].fillna(0.5),
        last["topic_last_score"].fillna(0.5),
        np.log1p(last["streak"]),
        np.log1p(last["topics"]),
        np.log1p(previous / last["days"]),
        last["topic_share"],
        np.log1p((now - last["seconds"]).clip(lower=0)),
        np.log1p(last["topic_seconds"]),
        np.log1p(frame["accepted"]),
    ]
    scored = after["scored"]
    attempts = last["scores"].fillna(0)
    expected = (rate * scored).groupby(user).cumsum() - rate * scored
    prior = rate + (last["passes"].fillna(0) - expected) / (attempts + 4)
    prior = prior.clip(0.02, 0.98)
    topic_attempts = last_on_topic["topic_scores"].fillna(0)
    smoothed_passes = last_on_topic["topic_passes"].fillna(0) + 4 * prior
    trend = last_on_topic["topic_recent"] - last_on_topic["topic_score_sum"] / topic_attempts
    difficulty = [
        np.log(smoothed_passes / (topic_attempts + 4 - smoothed_passes)),
        np.log1p(topic_attempts),
        trend.where(topic_attempts > 1, 0),
        np.log1p((now - last_on_topic["topic_attempt_seconds"]).clip(lower=0)).where(
            topic_attempts > 0, -1
        ),
    ]
    return as_matrix(recommendation), as_matrix(difficulty)


def after_each_event(frame: pd.DataFrame, pair: pd.Series, seconds: pd.Series) -> pd.DataFrame:
    """Compute the state of the learner and of the event's topic just after each event."""
    user, topic = frame["user"], frame["topic_id"]
    after = pd.DataFrame({"topic_events": frame.groupby(pair).cumcount() + 1})
    after["seconds"] = seconds
    run = (pair != pair.shift(1)).cumsum()
    after["streak"] = topic.groupby(run).cumcount() + 1
    after["topics"] = (after["topic_events"] == 1).groupby(user).cumsum()
    day = frame["timestamp"].dt.floor("D")
    after["days"] = (day != day.groupby(user).shift(1)).groupby(user).cumsum()
    after["topic_seconds"] = frame["duration_seconds"].fillna(0).groupby(pair).cumsum()
    score = frame["score"].where(frame["kind"] < 2)
    after["scored"] = score.notna()
    after["scores"] = after["scored"].groupby(user).cumsum()
    after["score_sum"] = score.fillna(0).groupby(user).cumsum()
    after["passes"] = (score >= 0.6).groupby(user).cumsum()
    after["topic_scores"] = after["scored"].groupby(pair).cumsum()
    after["topic_score_sum"] = score.fillna(0).groupby(pair).cumsum()
    after["topic_passes"] = (score >= 0.6).groupby(pair).cumsum()
    scores = score.dropna()
    of_user, of_pair = user[scores.index], pair[scores.index]
    share = (scores >= 0.7).astype(float)
    at_scores = {
        "score_last_5": mean_of_last(scores, of_user, 5),
        "topic_score_last_5": mean_of_last(scores, of_pair, 5),
        "topic_share": mean_of_last(share, of_pair, 3),
        "topic_last_score": scores,
        "topic_recent": scores.groupby(of_pair)
        .ewm(alpha=0.3, adjust=False)
        .mean()
        .droplevel(0)
        .sort_index(),
        "topic_attempt_seconds": seconds[scores.index],
    }
    for name, values in at_scores.items():
        group = pair if name.startswith("topic") else user
        after[name] = values.reindex(frame.index).groupby(group).ffill()
    return after


def mean_of_last(values: pd.Series, group: pd.Series, count: int) -> pd.Series:
    total = values.groupby(group).cumsum()
    value_count = (values.groupby(group).cumcount() + 1).clip(upper=count)
    return (total - total.groupby(group).shift(count).fillna(0)) / value_count


def rates(statistics: Statistics) -> np.ndarray:
    """Compute the shrunk pass rate of each slot; for slot 0 the rate of all topics."""
    attempts, passes = statistics.topic_attempts, statistics.topic_passes
    overall = (passes.sum() + 1) / (attempts.sum() + 2)
    return (np.append(0, passes) + 4 * overall) / (np.append(0, attempts) + 4)


def as_matrix(columns: list[pd.Series]) -> np.ndarray:
    out = np.zeros((len(columns[0]), len(columns)), np.float32)
    for index, column in enumerate(columns):
        out[:, index] = column.fillna(0)
    return out


def by_learner(frame: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """Compute the same inputs learner by learner, with groupby and a function of a frame."""
    parts = [by_pandas(part, statistics) for _, part in frame.groupby("user_id", observed=True)]
    return tuple(np.concatenate([part[index] for part in parts]) for index in (0, 1))


def measure(
    way: Callable[[pd.DataFrame, Statistics], object], frame: pd.DataFrame, statistics: Statistics
) -> tuple[float, float]:
    """Measure CPU seconds, and peak memory in MB beyond the memory before the way starts."""
    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        before, start = resident_mb(), time.process_time()
        way(frame, statistics)
        sender.send((time.process_time() - start, before))
        os._exit(0)
    _, _, usage = os.wait4(child, 0)
    seconds, before = receiver.recv()
    return seconds, usage.ru_maxrss / 1024 - before


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def assert_equal(expected: tuple, actual: tuple) -> None:
    names = [[i.name for i in inputs] for inputs in (RECOMMENDATION_INPUTS, DIFFICULTY_INPUTS)]
    for expected_matrix, actual_matrix, columns in zip(expected, actual, names, strict=True):
        for index, name in enumerate(columns):
            np.testing.assert_allclose(
                expected_matrix[:, index],
                actual_matrix[:, index],
                rtol=1e-4,
                atol=1e-5,
                err_msg=name,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="10 M rows too")
    large = parser.parse_args().large
    start = time.process_time()
    small = make_log(4_000)
    statistics = fit(encode(small), np.ones(len(small), bool))
    fold_inputs = by_fold(small, statistics)
    print(f"first call, machine code compiled or read: {time.process_time() - start:.1f} s CPU")
    assert_equal(fold_inputs, by_pandas(small, statistics))
    assert_equal(fold_inputs, by_learner(small, statistics))
    print("values equal in all three")
    seconds, _ = measure(by_learner, small, statistics)
    print(f"{'rows':>10}  {'way':<18} {'CPU us/row':>10} {'extra MB':>9} {'B/row':>6}")
    print(f"{len(small):>10,}  {'pandas by learner':<18} {seconds / len(small) * 1e6:>10.2f}")
    for rows in (100_000, 1_000_000) + ((10_000_000,) if large else ()):
        frame = make_log(rows)
        statistics = fit(encode(frame), np.ones(rows, bool))
        figures = []
        for name, way in (("fold", by_fold), ("pandas vectorised", by_pandas)):
            seconds, memory = measure(way, frame, statistics)
            figures.append((seconds, memory))
            print(
                f"{rows:>10,}  {name:<18} {seconds / rows * 1e6:>10.2f} {memory:>9.0f} "
                f"{memory * 2**20 / rows:>6.0f}"
            )
        (cpu, memory), (pandas_cpu, pandas_memory) = figures
        print(
            f"{'':>12}pandas / fold: CPU {pandas_cpu / cpu:.1f}, "
            f"memory {pandas_memory / memory:.1f}"
        )


if __name__ == "__main__":
    main()
