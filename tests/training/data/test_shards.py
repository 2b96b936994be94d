"""A log in shards is the log: every row once, the same counts and inputs; networks learn."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.batch import PER_ROW, Examples
from features.corpus.catalogue_features import CatalogueFeatures
from features.events import PER_EVENT, Events, encode, together
from training.candidates import train_candidates
from training.data import log_statistics, time_split
from training.data.dataset import Dataset, Splits, prepare_log
from training.data.shards import Log, Shards, hashes, read_log
from training.data.splits import TEST, Rule, by_learner
from training.data.time_split import by_time
from training.evaluation.protocol import measure
from training.recipes import QUICK

RULES = {"time": by_time, "learner": by_learner}
PARTS = ("validate", "test")


@pytest.fixture(scope="module")
def walks(frame_of) -> pd.DataFrame:
    """90 learners in a circle of six topics; rows in no order, items on some attempts."""
    rng = np.random.default_rng(1)
    topic_walks = [[int(10 + (s + j) % 6) for j in range(rng.integers(8, 40))] for s in range(90)]
    scores = [[float(rng.random() < 0.1 + 0.16 * (t - 10)) for t in walk] for walk in topic_walks]
    frame = frame_of(topic_walks, scores)
    items = pd.Categorical(rng.choice(["a", "b", None], len(frame)), categories=["b", "a", "c"])
    return frame.assign(item_id=items).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture(scope="module")
def shards(walks: pd.DataFrame, tmp_path_factory) -> Shards:
    folder = tmp_path_factory.mktemp("log")
    walks.to_parquet(folder / "valid.parquet", index=False, row_group_size=50)
    log = read_log(folder / "valid.parquet", folder / "shards", 100, shard_rows=300)
    assert isinstance(log, Shards)
    assert len(log) > 3
    return log


@pytest.fixture(scope="module", params=RULES)
def both(request, walks: pd.DataFrame, shards: Shards) -> tuple[Dataset, Dataset]:
    """The same log prepared in memory and in shards."""
    logs: list[Log] = [(encode(walks),), shards]
    return tuple(
        prepare_log(
            log,
            RULES[request.param](log),
            CatalogueFeatures(dict.fromkeys([*range(10, 16), 99], "web")),
        )
        for log in logs
    )


def by_user(rows: Examples) -> dict[str, np.ndarray]:
    """The arrays of examples, learners in the order of their ids."""
    user = rows.events.user_ids[rows.learner]
    order = np.argsort(user.astype(str), kind="stable")
    arrays = {name: getattr(rows, name)[order] for name in PER_ROW if name != "event"}
    return arrays | {"user": user[order], "time": rows.time[order], "topic": rows.topic_id[order]}


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], name)


def pairs_of(both: tuple[Dataset, Dataset]) -> list[tuple[Splits, Splits]]:
    whole, sharded = both
    assert whole.attempts
    assert sharded.attempts
    return [(whole, sharded), (whole.attempts, sharded.attempts)]


def test_shards_hold_whole_learners_and_every_row_once(walks, shards: Shards) -> None:
    whole, again = encode(walks), together(list(shards))
    assert len(again.user_ids) == sum(len(shard.user_ids) for shard in shards)
    for name in ("user_ids", "offsets", "topic_ids", "item_ids", *PER_EVENT):
        if name != "row":
            np.testing.assert_array_equal(getattr(whole, name), getattr(again, name), name)


def test_a_shard_is_read_from_disk_each_time(shards: Shards) -> None:
    first, second = shards[0], shards[0]
    assert first is not second
    for field in dataclasses.fields(Events):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    assert len(shards[1:3]) == 2


def test_only_encoded_shards_remain_and_replace_those_of_before(walks, tmp_path: Path) -> None:
    walks.to_parquet(tmp_path / "valid.parquet", index=False)
    for rows in (200, 900):
        log = read_log(tmp_path / "valid.parquet", tmp_path / "shards", 100, shard_rows=rows)
        assert isinstance(log, Shards)
        assert sorted((tmp_path / "shards").iterdir()) == sorted(log.paths)


def test_a_short_log_is_one_piece_in_memory(walks, tmp_path: Path) -> None:
    walks.to_parquet(tmp_path / "valid.parquet", index=False)
    log = read_log(tmp_path / "valid.parquet", tmp_path / "shards", len(walks))
    (events,) = log
    assert events is log[0]
    assert not (tmp_path / "shards").exists()
    for field in dataclasses.fields(Events):
        np.testing.assert_array_equal(
            getattr(events, field.name), getattr(encode(walks), field.name), field.name
        )


def test_hashes_are_the_same_everywhere() -> None:
    digest = hashlib.blake2b(b"test:ann", digest_size=8).hexdigest()
    assert hashes(["ann", "bob"], "test").tolist()[0] == int(digest, 16)


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_parts_do_not_depend_on_shards(walks, shards: Shards, make: Callable[..., Rule]) -> None:
    whole = encode(walks)
    split, rule = make((whole,))(whole), make(shards)
    again = rule(together(list(shards)))
    assert (again.part == split.part).all()
    assert (again.known == split.known).all()


def test_of_a_long_log_the_cuts_are_nearly_in_place(walks, shards, monkeypatch) -> None:
    monkeypatch.setattr(time_split, "SAMPLED_MOMENTS", 300)
    part = by_time(shards)(together(list(shards))).part
    assert np.mean(part == TEST) == pytest.approx(0.2, abs=len(shards) / 300)


def test_statistics_of_shards_are_those_of_the_log(both) -> None:
    for whole, sharded in pairs_of(both):
        same(whole.statistics.to_arrays(), sharded.statistics.to_arrays())
        for table, sharded_table in zip(whole.train.tables, sharded.train.tables, strict=True):
            same(table.to_arrays(), sharded_table.to_arrays())
        assert (whole.learned == sharded.learned).all()
        assert whole.counts == sharded.counts


def test_recency_of_shards_is_that_of_the_log(both) -> None:
    for whole, sharded in pairs_of(both):
        recency, sharded_recency = whole.test.recency, sharded.test.recency
        same(vars(recency) | {"first_day": recency.first_day}, vars(sharded_recency))


def test_examples_of_shards_are_those_of_the_log(both) -> None:
    for whole, sharded in pairs_of(both):
        pieces = [by_user(rows) for rows in sharded.training]
        sharded_rows = {
            name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]
        }
        order = np.argsort(sharded_rows["user"].astype(str), kind="stable")
        same(by_user(whole.train), {name: values[order] for name, values in sharded_rows.items()})
        for part in PARTS:
            same(by_user(getattr(whole, part)), by_user(getattr(sharded, part)))


def test_extremes_of_shards_are_those_of_the_log(both) -> None:
    whole, sharded = (dataset.extremes() for dataset in both)
    for name, inputs in whole.items():
        assert (inputs.min(axis=0) == sharded[name].min(axis=0)).all()
        assert (inputs.max(axis=0) == sharded[name].max(axis=0)).all()


def test_held_out_parts_of_a_long_log_are_bounded_to_whole_learners(shards, monkeypatch) -> None:
    unbounded = prepare_log(shards, by_learner(shards))
    assert unbounded.scored_share == 1.0
    monkeypatch.setattr(log_statistics, "HELD_OUT", 250)
    bounded = prepare_log(shards, by_learner(shards))
    assert 0 < bounded.scored_share < 1
    assert bounded.attempts
    for part in PARTS:
        all_of, bounded_rows = (by_user(getattr(dataset, part)) for dataset in (unbounded, bounded))
        assert 0 < len(bounded_rows["user"]) <= 250
        chosen = np.isin(all_of["user"], bounded_rows["user"])
        same({name: values[chosen] for name, values in all_of.items()}, bounded_rows)
        assert set(by_user(getattr(bounded.attempts, part))["user"]) <= set(bounded_rows["user"])
    assert len(bounded.training) == len(unbounded.training)


def test_both_held_out_parts_keep_a_learner_however_low_the_bound(shards, monkeypatch) -> None:
    monkeypatch.setattr(log_statistics, "HELD_OUT", 1)
    bounded = prepare_log(shards, by_learner(shards))
    assert bounded.counts["validate"]
    assert bounded.counts["test"]


def test_counting_models_of_shards_are_those_of_the_log(both) -> None:
    names = ["most_popular", "repeat_last", "markov_1", "markov_2", "global_mean", "topic_mean"]
    measured = [
        measure(train_candidates(dataset, 0, models=names), dataset, "test") for dataset in both
    ]
    whole, sharded = measured
    for name, scores in whole.recommendation.items():
        again = sharded.recommendation[name].table("all")
        assert scores.table("all") == pytest.approx(again, nan_ok=True), name
    for name, success in whole.difficulty.items():
        assert success.table() == pytest.approx(sharded.difficulty[name].table(), nan_ok=True), name


@pytest.mark.slow
def test_networks_learn_from_shards(shards: Shards) -> None:
    budget = dataclasses.replace(QUICK, epochs=6)
    prepared = prepare_log(shards, by_learner(shards))
    trained = train_candidates(prepared, 0, budget, ["reference", "history"])
    measured = measure(trained, prepared, "test")
    for name, scores in measured.recommendation.items():
        assert scores.table("all")["hr_at_1"] > 0.8, name
    for name, success in measured.difficulty.items():
        assert success.table()["auc"] > 0.7, name
