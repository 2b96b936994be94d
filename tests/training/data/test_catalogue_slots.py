"""With a catalogue, training gives slots to offered topics only, and has no other targets."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from features.batch import Events, encode
from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.statistics import Statistics, fit, merged
from features.corpus.transitions import Transitions
from training.data.dataset import Dataset, prepare_log
from training.data.splits import Rule, by_learner
from training.data.time_split import by_time

Walks = Callable[[list[list[int]]], pd.DataFrame]
RULES: dict[str, Callable[[Sequence[Events]], Rule]] = {"time": by_time, "learner": by_learner}
OFFERED = CatalogueFeatures(dict.fromkeys([1, 2, 4, 9], "web"))


@pytest.fixture(params=RULES)
def prepared(request: pytest.FixtureRequest, frame_of: Walks) -> Dataset:
    """40 learners in a circle of four topics; 3 is retired, and nobody has met 9."""
    events = encode(frame_of([[1, 2, 3, 4] * 3 for _ in range(40)]))
    return prepare_log((events,), RULES[request.param]((events,)), OFFERED)


def test_a_topic_that_is_not_offered_gets_no_slot_and_is_no_target(prepared: Dataset) -> None:
    assert prepared.statistics.topic_ids.tolist() == [1, 2, 4]
    assert prepared.validate.recency.newcomers.tolist() == [9]
    for rows in (prepared.train, prepared.validate, prepared.test):
        assert len(rows)
        assert set(rows.topic_id.tolist()) <= {1, 2, 4}
    assert len(prepared.learned) == 3
    assert prepared.learned.sum() == len(prepared.training)


def test_events_on_a_retired_topic_stay_history(prepared: Dataset) -> None:
    after_retired = prepared.test.last_topic_id == 3
    assert after_retired.any()
    assert (prepared.test.last_topic[after_retired] == 0).all(), "it has no slot"


def test_transitions_over_a_topic_without_a_slot_are_left_out(frame_of: Walks) -> None:
    events = encode(frame_of([[1, 3, 2, 1, 2]] * 3))
    every = np.ones(len(events), bool)
    statistics = merged([fit(events, every)], offered=[1, 2])
    counted: Transitions = statistics.continuations
    pairs = zip(counted.context, counted.slot, counted.count, strict=True)
    assert list(pairs) == [(0, 1, 3), (1, 2, 3), (2, 1, 3)]


def test_a_replacement_has_the_slot_of_the_topic_with_the_most_events(frame_of: Walks) -> None:
    events = encode(frame_of([[1, 2, 2, 3], [1, 3, 3, 3]]))
    statistics = fit(events, np.ones(len(events), bool))
    renamed = statistics.renamed({2: 20, 3: 20, 1: 3})
    assert renamed.topic_ids.tolist() == [1, 2, 20], "3 has a slot of its own until it is renamed"
    assert renamed.slots_of(np.array([20, 3, 2, 1, 7])).tolist() == [3, 0, 2, 1, 0]
    assert renamed.pass_rate(20) == statistics.pass_rate(3)
    assert statistics.renamed({7: 8}) is statistics
    assert isinstance(renamed, Statistics)
