"""Scores by row: all topics ranked, the last one masked, in chunks that change nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from features.batch import Examples, encode
from sensei.errors import NotEnoughData
from training.candidates import Candidates
from training.data.dataset import Dataset, prepare
from training.data.splits import split_by_learner
from training.scores import (
    Answers,
    Predict,
    RecommendationScores,
    level_taken,
    score_difficulty,
    score_recommendation,
)


def saying(answer: Callable[[Examples], np.ndarray], name: str = "probability") -> Predict:
    """Answers all rows at once."""
    return lambda rows: iter([(np.arange(len(rows)), {name: answer(rows)})])


def success(answer: Callable[[Examples], np.ndarray]) -> Predict:
    return saying(answer, "success")


def zeros(width: int) -> Predict:
    return saying(lambda rows: np.zeros((len(rows), width)))


def test_first_event_counts_in_both_modes(prepared: Dataset) -> None:
    flat = score_recommendation(zeros(prepared.topics), prepared.test)
    assert flat.is_new[prepared.test.previous == 0].all()
    assert flat.table("all")["n"] == len(prepared.test)


def test_constant_scores_rank_last_and_one_better_without_the_last_topic(
    prepared: Dataset,
) -> None:
    topics = prepared.topics
    flat = score_recommendation(zeros(topics), prepared.test)
    later = prepared.test.previous > 0
    assert (flat.rank == topics).all()
    assert (flat.new_rank[later] == topics - 1).all()


def test_repeats_do_not_count_as_new(frame_of) -> None:
    events = encode(frame_of([[1, 1, 2, 2, 3]] * 10))
    dataset = prepare(events, split_by_learner(events))
    flat = score_recommendation(zeros(3), dataset.test)
    assert flat.table("new")["n"] == 2 * 3
    assert flat.table("all")["n"] == 2 * 5


def test_unseen_topics_stay_in_the_denominator(frame_of) -> None:
    events = encode(frame_of([[1, 2, 1, 2, 90 + i] for i in range(10)]))
    dataset = prepare(events, split_by_learner(events))
    perfect = score_recommendation(
        saying(lambda rows: np.eye(dataset.topics)[np.maximum(rows.target - 1, 0)]), dataset.test
    )
    assert (dataset.test.target == 0).sum() == 2
    assert perfect.table("all")["hr_at_5"] == pytest.approx(8 / 10)


def test_chunks_in_any_order_change_no_score(prepared: Dataset, candidates: Candidates) -> None:
    chosen, answer = zip(
        *candidates["recommendation"]["markov_2"].predict(prepared.test), strict=True
    )
    probability = np.zeros((len(prepared.test), prepared.statistics.width))
    probability[np.concatenate(chosen)] = np.concatenate(
        [output["probability"] for output in answer]
    )
    mixed = np.random.default_rng(0).permutation(len(prepared.test))

    def in_chunks(rows: Examples) -> Answers:
        for start in range(0, len(rows), 7):
            chunk = mixed[start : start + 7]
            yield chunk, {"probability": probability[chunk]}

    whole = score_recommendation(saying(lambda rows: probability), prepared.test)
    chunked = score_recommendation(in_chunks, prepared.test)
    assert (chunked.rank == whole.rank).all()
    assert (chunked.new_rank == whole.new_rank).all()
    assert whole.table("new")["hr_at_1"] > 0.9  # the answers are those of the rows


def test_newcomer_is_ranked_by_a_model_that_has_a_slot_for_it_and_missed_by_others(
    prepared: Dataset,
) -> None:
    topics = prepared.topics
    rows = replace(prepared.test, topic_slots=np.append(topics + 1, np.arange(2, topics + 2)))
    new = prepared.test.topic_id == 10
    assert (rows.target[new] == topics + 1).all()
    narrow = score_recommendation(zeros(topics), rows)
    wide = score_recommendation(zeros(topics + 4), rows)
    assert np.isinf(narrow.rank[new]).all()
    assert np.isinf(narrow.new_rank[new]).all()
    assert (wide.rank == topics + 4).all()
    assert np.isfinite(narrow.rank[~new]).all()


def test_table_by_hand() -> None:
    scores = RecommendationScores(
        rank=np.array([1.0, 2.0, np.inf]),
        new_rank=np.array([1.0, 1.0, np.inf]),
        is_new=np.array([False, True, True]),
        learner=np.array([0, 0, 1], np.int32),
    )
    assert scores.table("all")["hr_at_1"] == pytest.approx(1 / 3)
    assert scores.table("all")["mrr"] == pytest.approx(0.5)
    assert scores.table("new") == {
        "hr_at_1": 0.5,
        "hr_at_3": 0.5,
        "hr_at_5": 0.5,
        "ndcg_at_5": 0.5,
        "mrr": 0.5,
        "n": 2,
    }
    assert scores.table("new", np.array([True, True, False]))["n"] == 1


def test_success_is_read_at_the_level_taken(prepared: Dataset) -> None:
    by_level = np.array([0.2, 0.5, 0.8])
    actual = score_difficulty(
        success(lambda rows: np.tile(by_level, (len(rows), 1))), prepared.test
    )
    assert actual.probability == pytest.approx(by_level[level_taken(prepared.test)])
    assert actual.table()["n"] == len(prepared.test)
    assert actual.topic_only is None


def test_the_answer_without_item_and_level_is_scored_too(prepared: Dataset) -> None:
    def predict(rows: Examples) -> Answers:
        answer = {"success": np.full((len(rows), 3), 0.9), "overall": np.full((len(rows), 1), 0.4)}
        yield np.arange(len(rows)), answer

    actual = score_difficulty(predict, prepared.test)
    assert actual.topic_only is not None
    assert actual.probability == pytest.approx(0.9)
    assert actual.topic_only.probability == pytest.approx(0.4)
    assert (actual.topic_only.passed == actual.passed).all()


def test_rows_without_scored_attempts_are_refused(prepared: Dataset) -> None:
    none = prepared.test.take(np.zeros(len(prepared.test), bool))
    with pytest.raises(NotEnoughData, match="score: expected"):
        score_difficulty(success(lambda rows: np.zeros((len(rows), 3))), none)
