"""Slices by history and by popularity hold every target once, by hand."""

import numpy as np

from features.batch import encode
from features.corpus.catalogue_features import CatalogueFeatures
from training.data.dataset import Dataset, prepare
from training.data.splits import split_by_learner
from training.evaluation.slices import FEW, LENGTHS, QUARTERS, newcomers, slices_of


def test_history_and_popularity_part_the_targets(prepared: Dataset) -> None:
    slices = slices_of(prepared.test, prepared)
    for group in ("history_length", "topic_popularity"):
        assert np.sum(list(slices[group].values()), axis=0).tolist() == [1] * len(prepared.test)
    assert list(slices["history_length"]) == list(LENGTHS)
    assert list(slices["topic_popularity"]) == list(QUARTERS)


def test_history_is_counted_in_earlier_learning_events(prepared: Dataset) -> None:
    slices = slices_of(prepared.test, prepared)
    learners = len(np.unique(prepared.test.learner))
    sizes = {name: int(mask.sum()) // learners for name, mask in slices["history_length"].items()}
    assert sizes == {"0": 1, "1-4": 4, "5-19": 15, "20-99": 4, "100+": 0}
    assert (slices["cold"]["no_history"] == slices["history_length"]["0"]).all()


def test_rare_topics_are_in_the_rarest_quarter_and_unseen_ones_in_none(frame_of) -> None:
    walks = [[1] * 8 + [2] * 4 + [3] * 2 + [4] for _ in range(30)]
    events = encode(frame_of(walks))
    split = split_by_learner(events)
    catalogue = CatalogueFeatures(dict.fromkeys([1, 2, 3, 4, 9], "web"))
    dataset = prepare(events, split, catalogue)
    quarters = slices_of(dataset.test, dataset)["topic_popularity"]
    topics = {name: set(dataset.test.topic_id[mask].tolist()) for name, mask in quarters.items()}
    assert topics == {"rarest": {4}, "rarer": {3}, "commoner": {2}, "commonest": {1}}


def test_a_topic_without_training_events_is_unseen(frame_of) -> None:
    walks = [[1, 2, 1, 2]] * 30
    events = encode(frame_of(walks))
    part_of_test = split_by_learner(events).part == 2
    test_learners = sorted({int(p) // 4 for p in np.flatnonzero(part_of_test)})
    for learner in test_learners:
        walks[learner] = [1, 2, 1, 77]
    events = encode(frame_of(walks))
    dataset = prepare(events, split_by_learner(events))
    unseen = slices_of(dataset.test, dataset)["cold"]["unseen_topic"]
    assert set(dataset.test.topic_id[unseen].tolist()) == {77}
    assert not any(
        m[unseen].any() for m in slices_of(dataset.test, dataset)["topic_popularity"].values()
    )


def test_newcomers_are_learners_and_topics_of_few_events(prepared: Dataset) -> None:
    masks, rows = newcomers(prepared.test, prepared), prepared.test
    assert (masks["new learners"] == (rows.previous < FEW)).all()
    assert 0 < masks["new learners"].sum() < len(rows)
    assert not masks["new topics"].any()


def test_a_topic_of_a_handful_of_events_is_new(frame_of) -> None:
    walks = [[1, 2] * 4 for _ in range(40)]
    walks[1][-1] = 3  # a learner of the training part
    events = encode(frame_of(walks))
    part = split_by_learner(events).part
    tested = sorted({int(p) // 8 for p in np.flatnonzero(part == 2)})
    for learner in tested:
        walks[learner][-1] = 3
    events = encode(frame_of(walks))
    dataset = prepare(events, split_by_learner(events))
    new = newcomers(dataset.test, dataset)["new topics"]
    assert set(dataset.test.topic_id[new].tolist()) == {3}
