"""Scores by row: all topics ranked, the last one masked, in chunks that change nothing."""

import numpy as np
import pytest

from features.batch import Examples, encode
from sensei.errors import NotEnoughData
from training import scores
from training.candidates import Candidates, Prepared, prepare
from training.scores import (
    RecommendationScores,
    recommendation_predictor,
    score_recommendation,
    score_success,
)
from training.splits import split_by_learner


def test_first_event_counts_in_both_modes(prepared: Prepared) -> None:
    flat = score_recommendation(
        lambda rows: np.zeros((len(rows), prepared.topics)), prepared.test, prepared.topics
    )
    assert flat.is_new[prepared.test.previous == 0].all()
    assert flat.table("all")["n"] == len(prepared.test)


def test_constant_scores_rank_last_and_one_better_without_the_last_topic(
    prepared: Prepared,
) -> None:
    topics = prepared.topics
    flat = score_recommendation(lambda rows: np.zeros((len(rows), topics)), prepared.test, topics)
    later = prepared.test.previous > 0
    assert (flat.rank == topics).all()
    assert (flat.new_rank[later] == topics - 1).all()


def test_repeats_do_not_count_as_new(frame_of) -> None:
    events = encode(frame_of([[1, 1, 2, 2, 3]] * 10))
    made = prepare(events, split_by_learner(events))
    flat = score_recommendation(lambda rows: np.zeros((len(rows), 3)), made.test, 3)
    assert flat.table("new")["n"] == 2 * 3
    assert flat.table("all")["n"] == 2 * 5


def test_unseen_topics_stay_in_the_denominator(frame_of) -> None:
    events = encode(frame_of([[1, 2, 1, 2, 90 + i] for i in range(10)]))
    made = prepare(events, split_by_learner(events))
    perfect = score_recommendation(
        lambda rows: np.eye(made.topics)[np.maximum(rows.target - 1, 0)], made.test, made.topics
    )
    assert (made.test.target == 0).sum() == 2
    assert perfect.table("all")["hr_at_5"] == pytest.approx(8 / 10)


def test_chunks_change_no_score(
    prepared: Prepared, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = recommendation_predictor(candidates.recommendation["markov_2"].model)
    whole = score_recommendation(predict, prepared.test, prepared.topics)
    sizes: list[int] = []

    def counted(rows: Examples) -> np.ndarray:
        sizes.append(len(rows))
        return predict(rows)

    monkeypatch.setattr(scores, "CHUNK_CELLS", 7 * prepared.topics)
    chunked = score_recommendation(counted, prepared.test, prepared.topics)
    assert max(sizes) == 7
    assert chunked.rank == pytest.approx(whole.rank)
    assert chunked.new_rank == pytest.approx(whole.new_rank)


def test_table_by_hand() -> None:
    given = RecommendationScores(
        rank=np.array([1.0, 2.0, np.inf]),
        new_rank=np.array([1.0, 1.0, np.inf]),
        is_new=np.array([False, True, True]),
        learner=np.array([0, 0, 1], np.int32),
    )
    assert given.table("all")["hr_at_1"] == pytest.approx(1 / 3)
    assert given.table("all")["mrr"] == pytest.approx(0.5)
    assert given.table("new") == {
        "hr_at_1": 0.5,
        "hr_at_3": 0.5,
        "hr_at_5": 0.5,
        "ndcg_at_5": 0.5,
        "mrr": 0.5,
        "n": 2,
    }
    assert given.table("new", np.array([True, True, False]))["n"] == 1


def test_success_is_read_at_the_level_taken(prepared: Prepared) -> None:
    by_level = np.array([0.2, 0.5, 0.8])
    got = score_success(lambda rows: np.tile(by_level, (len(rows), 1)), prepared.test)
    assert got.probability == pytest.approx(by_level[scores.level_taken(prepared.test)])
    assert got.table()["n"] == len(prepared.test)


def test_rows_without_scored_attempts_are_refused(prepared: Prepared) -> None:
    none = prepared.test.take(np.zeros(len(prepared.test), bool))
    with pytest.raises(NotEnoughData, match="score: expected"):
        score_success(lambda rows: np.zeros((len(rows), 3)), none)
