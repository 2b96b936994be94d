"""Network inputs from events, histories and the corpus: the same in batch and in serving."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batch import encode, examples, joined
from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.context import Corpus
from features.corpus.daily_counts import DailyCounts
from features.corpus.popularity import slots_by_topic
from features.corpus.statistics import fit
from features.history import History
from features.input_indices import RECENT
from features.learner_state import LEARNING, PRACTICE
from features.sequences import Sequences
from sensei.contracts import DAY, KINDS, LEVELS

ROW = st.tuples(
    st.sampled_from(["ann", "bob", "émile"]),
    st.sampled_from(KINDS),
    st.sampled_from([-7, 0, 3, 4, 5, 2**52]),
    st.sampled_from([None, 0.0, 0.3, 0.6, 1.0]),
    st.sampled_from([None, 2.5]),
    st.integers(0, 400_000),
    st.sampled_from([None, "item 1", "item 2"]),
    st.sampled_from([None, *LEVELS]),
)
OUTLINE = CatalogueFeatures(
    {0: "web", 3: "web", 4: "net", 5: "net", 77: "net"}, {4: (3, 0), 5: (4,), 77: (5, 99), 99: (3,)}
)
KNOWN = {*OUTLINE.domains}
LOGS = st.lists(ROW, min_size=1, max_size=50)


def read(make_frame, rows, counted, outline=OUTLINE):
    """Examples of all events: statistics of the first `counted` ones, recent popularity of all."""
    events = encode(make_frame(rows))
    statistics = fit(events, np.arange(len(events)) < counted)
    everything = np.ones(len(events), bool)
    recency = DailyCounts.of(events, everything).recency(statistics, outline.domains)
    return examples(events, statistics, everything, recency, outline)


def replay(rows, chosen, corpus):
    """History and network events of a row's learner up to just before it, by serving's code."""
    events = rows.events
    start = events.offsets[rows.learner[chosen]]
    history, seen = History.new(), []
    for at in range(start, rows.event[chosen]):
        topic, score = int(events.topic_ids[events.topic[at]]), float(events.score[at])
        item = events.item_ids[events.item[at]] if events.item[at] >= 0 else None
        kind, time = int(events.kind[at]), int(events.time[at])
        level = LEVELS[events.level[at]] if events.level[at] >= 0 else None
        if kind < LEARNING:
            seen.append(corpus.event(history, kind, topic, score, time, item, level))
        event = KINDS[kind], topic, None if math.isnan(score) else score, None, time
        history.advance(event, level)
    return history, np.array(seen).reshape(-1, 9)


@settings(deadline=None)
@given(LOGS, st.integers(0, 50), st.integers(0, 1_000_000))
def test_batch_reads_what_serving_reads(make_frame, logged, counted, pick):
    rows = read(make_frame, logged, counted)
    if not len(rows):
        return
    sequences, every = Sequences(rows), np.arange(len(rows))
    events, place = sequences.events_before(every)
    topics, (free, item) = sequences.topics(every), sequences.attempted(every)
    corpus = Corpus(rows.tables[0], rows.recency, rows.outline)
    chosen = pick % len(rows)
    state, seen = replay(rows, chosen, corpus)
    learner, done = divmod(int(place[chosen]), events.shape[1] + 1)
    assert done == len(seen)
    np.testing.assert_allclose(events[learner, :done], seen, rtol=1e-6, atol=1e-6)
    now, code = int(rows.start[chosen]), rows.events.item[rows.event[chosen]]
    asked = None if code < 0 else rows.events.item_ids[code]
    np.testing.assert_allclose(topics[chosen], corpus.topics(state, now), atol=1e-6)
    practice = rows.events.kind[rows.event[chosen]] == PRACTICE
    ours = corpus.attempted(state, int(rows.topic_id[chosen]), now, asked, practice)
    for mine, replayed in zip((free[chosen], item[chosen]), ours, strict=True):
        np.testing.assert_allclose(mine, replayed, atol=1e-6)
    assert corpus.slots[int(rows.topic_id[chosen])] == rows.target[chosen]


@settings(deadline=None)
@given(LOGS, st.integers(1, 400_001))
def test_prefix_of_the_log_has_the_prefix_of_the_sequences(make_frame, logged, until):
    """A later event, whoever's, changes nothing that an earlier row reads."""
    frame = make_frame(logged)
    early = (frame["timestamp"].astype("int64") < until * 1_000_000).to_numpy()
    if not early.any():
        return
    full_events, part_events = encode(frame), encode(frame[early])
    statistics = fit(part_events, np.ones(len(part_events), bool))
    found = []
    for events in (full_events, part_events):
        everything = np.ones(len(events), bool)
        recency = DailyCounts.of(events, everything).recency(statistics, OUTLINE.domains)
        rows = examples(events, statistics, everything, recency, OUTLINE)
        rows = rows.take(rows.time < until * 1_000_000)
        every = np.arange(len(rows))
        seq = Sequences(rows)
        steps, place = seq.events_before(every)
        width = steps.shape[1] + 1
        done = place % width
        last = steps[place // width, np.maximum(done - 1, 0)] if width > 1 else np.zeros((0, 9))
        slots = slots_by_topic(statistics, recency)
        topics = seq.topics(every)[:, [slots[topic] - 1 for topic in sorted(KNOWN)]]
        found.append((topics, *seq.attempted(every), last))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_recent_popularity_knows_days_before_and_never_the_same_day(make_frame):
    quiz = ("quiz_complete", 3, None, None)
    rows = [("ann", *quiz, 0, None, None), ("bob", *quiz, DAY // 1_000_000, None, None)]
    rows += [("ann", "quiz_complete", 4, None, None, DAY // 1_000_000 + 5, None, None)]
    examples_read = read(make_frame, rows, 3)
    recent = Sequences(examples_read).topics(np.arange(3))[:, :, RECENT][:, :, 0]
    learner = examples_read.learner
    assert (recent[learner == 0][0] == recent[0, 0]).all(), "nothing happened before the first day"
    assert recent[1, 0] > recent[1, 1] == recent[1, 2], "topic 4 was met on this very day only"


def test_newcomers_get_spare_slots_in_the_order_in_which_they_appear(make_frame):
    quiz = ("quiz_complete", None, None, None)
    rows = [("ann", quiz[0], topic, None, None, at, None, None)
            for at, topic in enumerate([7, 7, 9, 2, 9])]  # fmt: skip
    found = read(make_frame, rows, 2, CatalogueFeatures())
    assert found.recency.newcomers.tolist() == [9, 2]
    assert found.target.tolist() == [1, 1, 2, 3, 2]
    assert Corpus(found.tables[0], found.recency).topic_ids[:4] == [7, 9, 2, None]


def test_rows_joined_from_folds_read_the_statistics_of_their_fold(make_frame):
    rows = [(who, "quiz_complete", topic, 1.0, None, at, None, None)
            for who in ("ann", "bob") for at, topic in enumerate([1, 2, 1, 2])]  # fmt: skip
    events = encode(make_frame(rows))
    ann = np.arange(len(events)) < 4
    parts = [examples(events, fit(events, ~mine, (1, 2)), mine) for mine in (ann, ~ann)]
    one, two = Sequences(parts[0]), Sequences(joined(parts))
    np.testing.assert_array_equal(one.topics(np.arange(4)), two.topics(np.arange(4)))


def test_rows_of_a_learner_may_be_asked_for_in_pieces(make_frame):
    rows = [("ann", "quiz_complete", 1 + at % 3, 1.0, None, at, None, None) for at in range(9)]
    sequences = Sequences(read(make_frame, rows, 9))
    whole = sequences.topics(np.arange(9))
    np.testing.assert_array_equal(whole[6:], sequences.topics(np.arange(6, 9)))
    events, place = sequences.events_before(np.arange(9))
    late, after = sequences.events_before(np.arange(6, 9), reach=2)
    assert late.shape == (1, 4, 9)
    np.testing.assert_array_equal(late[0], events[0, 4:])
    assert (after == [2, 3, 4]).all()
    assert (place == np.arange(9)).all()


def test_rows_of_a_learner_that_lie_apart_reach_back_each_on_its_own(make_frame):
    rows = [("ann", "quiz_complete", 1 + at % 3, 1.0, None, at, None, None) for at in range(30)]
    sequences = Sequences(read(make_frame, rows, 30))
    whole, _ = sequences.events_before(np.arange(30))
    apart, place = sequences.events_before(np.array([5, 6, 28]), reach=2)
    assert apart.shape == (2, 3, 9), "not the events between them as well"
    np.testing.assert_array_equal(apart[0], whole[0, 3:6])
    np.testing.assert_array_equal(apart[1, :2], whole[0, 26:28])
    assert place.tolist() == [2, 3, 4 + 2]
    every = sequences.topics(np.arange(30))
    np.testing.assert_array_equal(sequences.topics(np.array([5, 6, 28])), every[[5, 6, 28]])


def test_rows_without_a_past_still_have_a_place_in_it(make_frame):
    rows = [(who, "quiz_complete", 1, 1.0, None, 0, None, None) for who in ("ann", "bob")]
    events, place = Sequences(read(make_frame, rows, 2)).events_before(np.arange(2))
    assert events.shape == (2, 1, 9)
    assert not events.any()
    assert place.tolist() == [0, 2]
