"""Counting models on histories whose right answer is known by hand."""

import numpy as np
import pandas as pd
import pytest

from features.batch import Examples, encode, examples
from features.corpus.statistics import Statistics, fit
from sensei.contracts import DAY, RECOMMENDATION_INPUTS
from training import baselines
from training.architectures import Model, Network
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, prepare
from training.data.splits import TEST, TRAIN, VALIDATE, SplitLabels, split_by_learner
from training.fitting.train_loop import predict

NAMES = [definition.name for definition in RECOMMENDATION_INPUTS]

CONTINUED = [[1, 4], [2, 1, 4], [2, 1, 4], [3, 1, 5], [3, 1, 5], [3, 1, 5], [2, 3]]
"""Topic 4 follows 1 for those who came from 2, topic 5 for those from 3."""


def inputs_after(*pairs: tuple[int, int]) -> np.ndarray:
    """Inputs of learners by (last topic, the one before); no event so far where the last is -1."""
    inputs = np.zeros((len(pairs), len(NAMES)), np.float32)
    for row, (last, before) in zip(inputs, pairs, strict=True):
        row[NAMES.index("last_topic_1")] = max(last, 0)
        row[NAMES.index("last_topic_2")] = before
    return inputs


def answer(model, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(model({"inputs": inputs})["probability"])


def scores_of(model: Model, part: Examples) -> np.ndarray:
    """Answers to a model that reads topics, (n, width)."""
    probabilities = np.zeros((len(part), part.tables[0].width))
    for chosen, output in predict(Network(model), BatchFeed(part, "recommendation")):
        probabilities[chosen] = output["probability"]
    return probabilities


@pytest.fixture
def counted(frame_of) -> Statistics:
    events = encode(frame_of(CONTINUED))
    return fit(events, np.ones(len(events), bool))


def test_most_popular_is_the_same_for_everybody(counted: Statistics) -> None:
    actual = answer(baselines.most_popular(counted), inputs_after((1, 2), (4, 4)))
    assert actual[0].tolist() == actual[1].tolist()
    assert actual[0] * 24 == pytest.approx([7, 4, 5, 4, 4])  # one count added to each


def test_repeat_last_puts_the_last_topic_first_then_the_popular(counted: Statistics) -> None:
    actual = answer(baselines.repeat_last(counted), inputs_after((2, 1), (-1, 0)))
    assert np.argsort(-actual[0])[:2].tolist() == [1, 0]
    assert np.argmax(actual[1]) == 0


def after(frame_of, counted: Statistics, *walks: list[int]) -> Examples:
    """Examples of the next event after each walk; topic 1 stands for the next topic."""
    events = encode(frame_of([[*walk, 1] for walk in walks]))
    last = np.zeros(len(events), bool)
    last[events.offsets[1:] - 1] = True
    return examples(events, counted, last)


def test_markov_1_by_hand(frame_of, counted: Statistics) -> None:
    actual = scores_of(baselines.markov_1(counted.width), after(frame_of, counted, [2, 1]))
    popular = np.array([7, 4, 5, 4, 4]) / (19 + counted.width)
    expected = (np.array([0, 0, 0, 3, 3]) + 2 * popular) / (6 + 2)
    assert actual[0, :5] == pytest.approx(expected / expected.sum(), rel=1e-5)
    assert actual[0, 5:].max() < 1e-6, "nothing was counted of newcomers"


def test_markov_2_distinguishes_pairs(frame_of, counted: Statistics) -> None:
    rows = after(frame_of, counted, [2, 1], [3, 1])
    actual = scores_of(baselines.markov_2(counted.width), rows)
    assert np.argmax(actual, axis=1).tolist() == [3, 4]


def test_first_event_has_a_context_of_its_own(frame_of, counted: Statistics) -> None:
    actual = scores_of(baselines.markov_1(counted.width), after(frame_of, counted, []))
    assert np.argsort(-actual[0])[:2].tolist() in ([1, 2], [2, 1])


def test_an_unknown_topic_falls_back_to_popularity(frame_of, counted: Statistics) -> None:
    rows = after(frame_of, counted, [77], [5, 5])
    for model in (baselines.markov_1(counted.width), baselines.markov_2(counted.width)):
        actual = scores_of(model, rows)[:, :5]
        assert actual == pytest.approx(np.tile(np.array([7, 4, 5, 4, 4]) / 24, (2, 1)), rel=1e-5)


def test_all_probabilities_sum_to_one(prepared: Dataset) -> None:
    for model in (
        baselines.most_popular(prepared.statistics),
        baselines.repeat_last(prepared.statistics),
    ):
        assert answer(model, prepared.test.recommendation).sum(axis=1) == pytest.approx(1.0)
    width = prepared.statistics.width
    for model in (baselines.markov_1(width), baselines.markov_2(width)):
        assert scores_of(model, prepared.test).sum(axis=1) == pytest.approx(1.0)
    for model in (baselines.recently_popular(width), baselines.most_frequent(width)):
        actual = scores_of(model, prepared.test)
        assert actual.shape == (len(prepared.test), width)
        assert (actual[:, : prepared.topics] > 0).all()
        assert (actual[:, prepared.topics :] == 0).all(), "slots that no topic has yet"
        assert actual.sum(axis=1) == pytest.approx(1.0)


def test_most_frequent_counts_the_whole_history(frame_of) -> None:
    walks = [[1, 2, 2, 3, 1, 1], [3, 3, 3, 1, 2, 1]] + [[1, 2, 3] * 10] * 4
    events = encode(frame_of(walks))
    dataset = prepare(events, split_by_learner(events))
    train_events = dataset.train.events
    rows_of_first = np.flatnonzero(train_events.offsets[1] > dataset.train.event)
    assert train_events is events
    width = dataset.statistics.width
    for part in (dataset.train, dataset.validate, dataset.test):
        actual = scores_of(baselines.most_frequent(width), part)
        for score, event, learner in zip(actual, part.event, part.learner, strict=True):
            before = events.topic[events.offsets[learner] : event]
            counts = np.bincount(before, minlength=width)
            # all events are of one day, so nothing was popular before: spread half a count evenly
            weight = (counts + 0.5 / width) * (np.arange(width) < dataset.topics)
            assert score == pytest.approx(weight / weight.sum(), abs=1e-6)
    assert len(rows_of_first) in (0, 6)


def later_days(frame_of, last_day: int) -> Dataset:
    """Ten learners on topics 1 and 2 on day 0, one of them on 7 from day 1 on, all on the last."""
    days = [[0, 0, 1], *[[0, 0]] * 8, [0, 0], *[[last_day]] * 10]
    walks = [[1, 1, 7], *[[1, 1]] * 8, [1, 2], *[[2]] * 10]
    frame = frame_of(walks)
    day = np.array([day_of_event for walk in days for day_of_event in walk])
    events = encode(frame.assign(timestamp=frame["timestamp"] + pd.to_timedelta(day, unit="D")))
    start = events.time // DAY
    part = np.where(start == 0, TRAIN, np.where(start == 1, VALIDATE, TEST)).astype(np.int8)
    return prepare(events, SplitLabels(part, start == 0, "time"))


def test_recently_popular_weighs_recent_days_and_knows_newcomers(frame_of) -> None:
    dataset = later_days(frame_of, 8)
    actual = scores_of(baselines.recently_popular(dataset.statistics.width), dataset.test)
    assert dataset.statistics.topic_ids.tolist() == [1, 2]
    weight = np.ones(dataset.statistics.width)  # one event added to each
    weight[:2] += np.array([19, 1]) * 0.5 ** (7 / 7)  # seven days before the last one asked of
    weight[2] += 0.5 ** (6 / 7)  # topic 7 came after training: the first spare slot
    weight[3:] = 0.0  # no topic has these yet
    assert actual[0] == pytest.approx(weight / weight.sum(), rel=1e-5)
    assert (actual == actual[0]).all()


def test_most_frequent_breaks_ties_by_recent_popularity(frame_of) -> None:
    dataset = later_days(frame_of, 2)
    actual = scores_of(baselines.most_frequent(dataset.statistics.width), dataset.test)
    assert (np.argsort(-actual[0])[:1] == 0).all()  # nobody's history: what all studied
    assert actual[0, 0] > actual[0, 2] > actual[0, 3]


def tried(frame_of) -> Statistics:
    """Topic 1 passed three times, topic 2 failed once."""
    events = encode(frame_of([[1, 1], [1, 2]], [[1.0, 1.0], [1.0, 0.0]]))
    return fit(events, np.ones(len(events), bool))


def test_topic_mean_is_shrunk_and_known_for_an_unknown_topic(frame_of) -> None:
    model = baselines.topic_mean(tried(frame_of))
    inputs = {
        "inputs": np.zeros((3, 4), np.float32),
        "topic": np.array([[1], [2], [9]], np.float32),
    }
    actual = np.asarray(model(inputs)["success"])
    assert actual[:, 0] == pytest.approx([(3 + 3) / 7, 3 / 5, 0.75])
    assert (actual[:, :1] == actual).all()


def test_global_mean_and_proficiency_by_hand(frame_of) -> None:
    inputs = np.array([[0.0, 0, 0, -1], [2.0, 0, 0, -1]], np.float32)
    mean = baselines.global_mean(tried(frame_of))
    assert np.asarray(mean({"inputs": inputs})["success"]) == pytest.approx(0.75)
    actual = np.asarray(baselines.proficiency()({"inputs": inputs})["success"])
    assert actual[:, 2] == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
