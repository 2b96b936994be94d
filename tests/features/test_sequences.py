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
    all_events = np.ones(len(events), bool)
    recency = DailyCounts.of(events, all_events).recency(statistics, outline.domains)
    return examples(events, statistics, all_events, recency, outline)


def replay(rows, row, corpus):
    """History and network events of a row's learner up to just before it, by serving's code."""
    events = rows.events
    start = events.offsets[rows.learner[row]]
    history, network_events = History.new(), []
    for at in range(start, rows.event[row]):
        topic, score = int(events.topic_ids[events.topic[at]]), float(events.score[at])
        item = events.item_ids[events.item[at]] if events.item[at] >= 0 else None
        kind, time = int(events.kind[at]), int(events.time[at])
        level = LEVELS[events.level[at]] if events.level[at] >= 0 else None
        if kind < LEARNING:
            network_events.append(corpus.event(history, kind, topic, score, time, item, level))
        event = KINDS[kind], topic, None if math.isnan(score) else score, None, time
        history.advance(event, level)
    return history, np.array(network_events).reshape(-1, 9)


@settings(deadline=None)
@given(LOGS, st.integers(0, 50), st.integers(0, 1_000_000))
def test_batch_inputs_equal_serving_inputs(make_frame, log_rows, counted, pick):
    rows = read(make_frame, log_rows, counted)
    if not len(rows):
        return
    sequences, all_rows = Sequences(rows), np.arange(len(rows))
    events, end_positions = sequences.events_before(all_rows)
    topics, (free, item) = sequences.topics(all_rows), sequences.attempted(all_rows)
    corpus = Corpus(rows.tables[0], rows.recency, rows.outline)
    row = pick % len(rows)
    state, network_events = replay(rows, row, corpus)
    learner, event_count = divmod(int(end_positions[row]), events.shape[1] + 1)
    assert event_count == len(network_events)
    np.testing.assert_allclose(events[learner, :event_count], network_events, rtol=1e-6, atol=1e-6)
    now, code = int(rows.start[row]), rows.events.item[rows.event[row]]
    item_id = None if code < 0 else rows.events.item_ids[code]
    np.testing.assert_allclose(topics[row], corpus.topics(state, now), atol=1e-6)
    practice = rows.events.kind[rows.event[row]] == PRACTICE
    expected = corpus.attempted(state, int(rows.topic_id[row]), now, item_id, practice)
    for actual, from_serving in zip((free[row], item[row]), expected, strict=True):
        np.testing.assert_allclose(actual, from_serving, atol=1e-6)
    assert corpus.slots[int(rows.topic_id[row])] == rows.target[row]


@settings(deadline=None)
@given(LOGS, st.integers(1, 400_001))
def test_prefix_of_the_log_has_the_prefix_of_the_sequences(make_frame, log_rows, until):
    """A later event, whoever's, changes nothing that an earlier row reads."""
    frame = make_frame(log_rows)
    in_prefix = (frame["timestamp"].astype("int64") < until * 1_000_000).to_numpy()
    if not in_prefix.any():
        return
    full_events, part_events = encode(frame), encode(frame[in_prefix])
    statistics = fit(part_events, np.ones(len(part_events), bool))
    inputs = []
    for events in (full_events, part_events):
        all_events = np.ones(len(events), bool)
        recency = DailyCounts.of(events, all_events).recency(statistics, OUTLINE.domains)
        rows = examples(events, statistics, all_events, recency, OUTLINE)
        rows = rows.take(rows.time < until * 1_000_000)
        all_rows = np.arange(len(rows))
        sequences = Sequences(rows)
        steps, end_positions = sequences.events_before(all_rows)
        width = steps.shape[1] + 1
        event_count = end_positions % width
        last = (
            steps[end_positions // width, np.maximum(event_count - 1, 0)]
            if width > 1
            else np.zeros((0, 9))
        )
        slots = slots_by_topic(statistics, recency)
        topics = sequences.topics(all_rows)[:, [slots[topic] - 1 for topic in sorted(KNOWN)]]
        inputs.append((topics, *sequences.attempted(all_rows), last))
    for full, prefix in zip(*inputs, strict=True):
        np.testing.assert_allclose(full, prefix, rtol=1e-6)


def test_recent_popularity_counts_earlier_days_only(make_frame):
    quiz = ("quiz_complete", 3, None, None)
    rows = [("ann", *quiz, 0, None, None), ("bob", *quiz, DAY // 1_000_000, None, None)]
    rows += [("ann", "quiz_complete", 4, None, None, DAY // 1_000_000 + 5, None, None)]
    examples_read = read(make_frame, rows, 3)
    recent = Sequences(examples_read).topics(np.arange(3))[:, :, RECENT][:, :, 0]
    learner = examples_read.learner
    assert (recent[learner == 0][0] == recent[0, 0]).all(), "nothing happened before the first day"
    assert recent[1, 0] > recent[1, 1] == recent[1, 2], "topic 4 was met on this very day only"


def test_newcomers_get_spare_slots_in_order_of_appearance(make_frame):
    quiz = ("quiz_complete", None, None, None)
    rows = [("ann", quiz[0], topic, None, None, at, None, None)
            for at, topic in enumerate([7, 7, 9, 2, 9])]  # fmt: skip
    encoded_rows = read(make_frame, rows, 2, CatalogueFeatures())
    assert encoded_rows.recency.newcomers.tolist() == [9, 2]
    assert encoded_rows.target.tolist() == [1, 1, 2, 3, 2]
    assert Corpus(encoded_rows.tables[0], encoded_rows.recency).topic_ids[:4] == [7, 9, 2, None]


def test_rows_joined_from_folds_use_the_statistics_of_their_fold(make_frame):
    rows = [(user_id, "quiz_complete", topic, 1.0, None, at, None, None)
            for user_id in ("ann", "bob") for at, topic in enumerate([1, 2, 1, 2])]  # fmt: skip
    events = encode(make_frame(rows))
    ann = np.arange(len(events)) < 4
    parts = [examples(events, fit(events, ~mask, (1, 2)), mask) for mask in (ann, ~ann)]
    first_part, joined_parts = Sequences(parts[0]), Sequences(joined(parts))
    np.testing.assert_array_equal(
        first_part.topics(np.arange(4)), joined_parts.topics(np.arange(4))
    )


def test_rows_of_a_learner_may_be_requested_in_chunks(make_frame):
    rows = [("ann", "quiz_complete", 1 + at % 3, 1.0, None, at, None, None) for at in range(9)]
    sequences = Sequences(read(make_frame, rows, 9))
    all_topics = sequences.topics(np.arange(9))
    np.testing.assert_array_equal(all_topics[6:], sequences.topics(np.arange(6, 9)))
    events, end_positions = sequences.events_before(np.arange(9))
    last_events, last_positions = sequences.events_before(np.arange(6, 9), reach=2)
    assert last_events.shape == (1, 4, 9)
    np.testing.assert_array_equal(last_events[0], events[0, 4:])
    assert (last_positions == [2, 3, 4]).all()
    assert (end_positions == np.arange(9)).all()


def test_distant_rows_of_a_learner_have_separate_event_windows(make_frame):
    rows = [("ann", "quiz_complete", 1 + at % 3, 1.0, None, at, None, None) for at in range(30)]
    sequences = Sequences(read(make_frame, rows, 30))
    all_events, _ = sequences.events_before(np.arange(30))
    distant_events, end_positions = sequences.events_before(np.array([5, 6, 28]), reach=2)
    assert distant_events.shape == (2, 3, 9), "not the events between them as well"
    np.testing.assert_array_equal(distant_events[0], all_events[0, 3:6])
    np.testing.assert_array_equal(distant_events[1, :2], all_events[0, 26:28])
    assert end_positions.tolist() == [2, 3, 4 + 2]
    all_topics = sequences.topics(np.arange(30))
    np.testing.assert_array_equal(sequences.topics(np.array([5, 6, 28])), all_topics[[5, 6, 28]])


def test_rows_without_earlier_events_have_an_empty_sequence(make_frame):
    rows = [(user_id, "quiz_complete", 1, 1.0, None, 0, None, None) for user_id in ("ann", "bob")]
    events, end_positions = Sequences(read(make_frame, rows, 2)).events_before(np.arange(2))
    assert events.shape == (2, 1, 9)
    assert not events.any()
    assert end_positions.tolist() == [0, 2]
