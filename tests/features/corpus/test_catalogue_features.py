"""Features from the catalogue, of topics that nobody has met."""

import numpy as np

from features.batch import encode, examples
from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.daily_counts import DailyCounts
from features.corpus.popularity import slots_by_topic
from features.corpus.statistics import fit, merged
from features.input_indices import DOMAIN_FAST, DOMAIN_WEIGHT, NEW, PREREQUISITES, WEIGHT
from features.sequences import Sequences

OUTLINE = CatalogueFeatures(
    {1: "web", 2: "web", 3: "net", 8: "web", 9: "net"}, {8: (1, 2), 9: (3,), 3: (1,), 2: (99,)}
)


def topics_after(make_frame, studied):
    """(width, 16) what is known of each topic after a learner met some, and the slot of each."""
    quiz = ("quiz_complete",)
    rows = [("ann", *quiz, topic, None, None, at, None, None) for at, topic in enumerate(studied)]
    rows += [("ann", *quiz, 1, None, None, len(studied), None, None)]
    rows += [("bob", *quiz, topic, None, None, 0, None, None) for topic in (1, 2, 3)]
    events = encode(make_frame(rows))
    all_events = np.ones(len(events), bool)
    statistics = merged([fit(events, all_events)], offered=OUTLINE.domains)
    recency = DailyCounts.of(events, all_events).recency(statistics, OUTLINE.domains)
    sequences = Sequences(examples(events, statistics, all_events, recency, OUTLINE))
    inputs = sequences.topics(np.array([len(studied)]))[0]
    return {topic: inputs[slot - 1] for topic, slot in slots_by_topic(statistics, recency).items()}


def test_topics_of_the_catalogue_have_a_slot_and_are_new(make_frame):
    inputs = topics_after(make_frame, [])
    assert set(inputs) == {1, 2, 3, 8, 9}
    assert [inputs[topic][NEW] for topic in (1, 8, 9)] == [0.0, 1.0, 1.0]


def test_a_topic_nobody_met_has_the_weight_of_its_domain(make_frame):
    inputs = topics_after(make_frame, [1, 2])
    domain_weight = np.log1p(np.expm1(inputs[1][WEIGHT]) + np.expm1(inputs[2][WEIGHT]))
    np.testing.assert_allclose(inputs[8][DOMAIN_WEIGHT], domain_weight, rtol=1e-6)
    assert inputs[8][DOMAIN_FAST] > 0
    assert inputs[9][DOMAIN_WEIGHT] == 0


def test_prerequisite_input_separates_met_missing_and_none(make_frame):
    inputs = topics_after(make_frame, [1])
    assert inputs[8][PREREQUISITES] == 0.0, "one of two"
    assert inputs[9][PREREQUISITES] == -1.0
    assert inputs[3][PREREQUISITES] == 1.0
    assert inputs[1][PREREQUISITES] == 0.0, "names none"
    assert inputs[2][PREREQUISITES] == 0.0, "names one that is not offered"


def test_catalogue_adds_a_spare_slot_per_new_topic(make_frame):
    events = encode(make_frame([("ann", "quiz_complete", 1, None, None, 0, None, None)]))
    statistics = fit(events, np.ones(1, bool))
    catalogue = CatalogueFeatures(dict.fromkeys(range(100), "web"))
    assert merged([statistics], offered=catalogue.domains).width == statistics.width + 99
