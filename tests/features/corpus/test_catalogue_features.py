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


def topics_after(make_frame, met):
    """(width, 16) what is known of each topic after a learner met some, and the slot of each."""
    quiz = ("quiz_complete",)
    rows = [("ann", *quiz, topic, None, None, at, None, None) for at, topic in enumerate(met)]
    rows += [("ann", *quiz, 1, None, None, len(met), None, None)]
    rows += [("bob", *quiz, topic, None, None, 0, None, None) for topic in (1, 2, 3)]
    events = encode(make_frame(rows))
    whole = np.ones(len(events), bool)
    statistics = merged([fit(events, whole)], offered=OUTLINE.domains)
    recency = DailyCounts.of(events, whole).recency(statistics, OUTLINE.domains)
    found = Sequences(examples(events, statistics, whole, recency, OUTLINE))
    read = found.topics(np.array([len(met)]))[0]
    return {topic: read[slot - 1] for topic, slot in slots_by_topic(statistics, recency).items()}


def test_topics_of_the_catalogue_have_a_slot_and_are_new(make_frame):
    read = topics_after(make_frame, [])
    assert set(read) == {1, 2, 3, 8, 9}
    assert [read[topic][NEW] for topic in (1, 8, 9)] == [0.0, 1.0, 1.0]


def test_a_topic_nobody_met_has_the_weight_of_its_domain(make_frame):
    read = topics_after(make_frame, [1, 2])
    together = np.log1p(np.expm1(read[1][WEIGHT]) + np.expm1(read[2][WEIGHT]))
    np.testing.assert_allclose(read[8][DOMAIN_WEIGHT], together, rtol=1e-6)
    assert read[8][DOMAIN_FAST] > 0
    assert read[9][DOMAIN_WEIGHT] == 0


def test_prerequisites_met_are_told_from_those_missing_and_from_none(make_frame):
    read = topics_after(make_frame, [1])
    assert read[8][PREREQUISITES] == 0.0, "one of two"
    assert read[9][PREREQUISITES] == -1.0
    assert read[3][PREREQUISITES] == 1.0
    assert read[1][PREREQUISITES] == 0.0, "names none"
    assert read[2][PREREQUISITES] == 0.0, "names one that is not offered"


def test_catalogue_gives_as_many_spare_slots_more(make_frame):
    events = encode(make_frame([("ann", "quiz_complete", 1, None, None, 0, None, None)]))
    statistics = fit(events, np.ones(1, bool))
    many = CatalogueFeatures(dict.fromkeys(range(100), "web"))
    assert merged([statistics], offered=many.domains).width == statistics.width + 99
