import numpy as np
import pytest

from sensei.errors import InvalidInput
from sensei.metrics import log_loss, ndcg_at_k
from training.gate import PerLearner, decide

LEARNERS = np.repeat(np.arange(60), 12)
RNG = np.random.default_rng(0)
RANK = RNG.integers(1, 9, len(LEARNERS)).astype(float)
PASSED = (RNG.random(len(LEARNERS)) < 0.7).astype(int)
SKILL = np.where(PASSED, 0.75, 0.45)


def ndcg(rank):
    return PerLearner.of("NDCG@5 on NEW", True, ndcg_at_k(rank, 5), LEARNERS)


def loss(probability):
    return PerLearner.of("log loss", False, log_loss(PASSED, probability), LEARNERS)


def test_the_first_champion_needs_no_opponent():
    decision = decide(None, ndcg(RANK), 0.0, 0)
    assert decision.promote
    assert "no champion yet" in decision.reason


@pytest.mark.parametrize("scores", [ndcg(RANK), loss(SKILL)], ids=["ndcg", "log loss"])
def test_a_copy_of_the_champion_is_not_promoted(scores):
    decision = decide(scores, scores, 0.0, 0)
    assert not decision.promote
    assert decision.gain == decision.low == decision.high == 0


def test_a_clearly_better_ranking_is_promoted():
    decision = decide(ndcg(RANK), ndcg(np.maximum(RANK - 1, 1)), 0.01, 0)
    assert decision.promote
    assert 0.01 < decision.low < decision.gain < decision.high


def test_a_shuffled_ranking_is_not_promoted():
    better = np.maximum(RANK - 1, 1)
    assert not decide(ndcg(better), ndcg(RNG.permutation(better)), 0.0, 0).promote


def test_a_lower_log_loss_is_a_gain():
    coin = loss(np.full(len(PASSED), 0.7))
    decision = decide(coin, loss(SKILL), 0.0, 0)
    assert decision.promote
    assert decision.gain == pytest.approx(coin.mean - loss(SKILL).mean)
    assert not decide(loss(SKILL), coin, 0.0, 0).promote


def test_shuffled_probabilities_are_not_promoted():
    assert not decide(loss(SKILL), loss(RNG.permutation(SKILL)), 0.0, 0).promote


def test_a_gain_within_the_margin_is_not_promoted():
    champion, challenger = ndcg(RANK), ndcg(np.maximum(RANK - 1, 1))
    gain = decide(champion, challenger, 0.0, 0).gain
    assert not decide(champion, challenger, gain, 0).promote


def test_a_gain_that_one_learner_makes_alone_is_not_evidence():
    rank = np.where(LEARNERS == 0, 1, RANK)  # what resampling rows would take for evidence
    assert not decide(ndcg(RANK), ndcg(rank), 0.0, 0).promote


def test_the_same_seed_gives_the_same_decision():
    champion, challenger = ndcg(RANK), ndcg(np.maximum(RANK - 1, 1))
    assert decide(champion, challenger, 0.0, 3) == decide(champion, challenger, 0.0, 3)


def test_one_learner_is_too_few():
    one = PerLearner.of("log loss", False, np.zeros(5), np.zeros(5, int))
    none = PerLearner.of("log loss", False, np.zeros(0), np.zeros(0, int))
    for scores in (one, none):
        decision = decide(scores, scores, 0.0, 0)
        assert not decision.promote
        assert "too few" in decision.reason


def test_models_scored_on_other_targets_are_not_compared():
    fewer = PerLearner.of("NDCG@5 on NEW", True, ndcg_at_k(RANK[1:], 5), LEARNERS[1:])
    with pytest.raises(InvalidInput, match="same events"):
        decide(ndcg(RANK), fewer, 0.0, 0)
    with pytest.raises(InvalidInput, match="same events"):
        decide(ndcg(RANK), loss(SKILL), 0.0, 0)


def test_a_metric_that_is_no_number_is_refused():
    values = np.where(LEARNERS == 3, np.nan, 0.5)
    broken = PerLearner.of("NDCG@5 on NEW", True, values, LEARNERS)
    with pytest.raises(InvalidInput, match="finite"):
        decide(ndcg(RANK), broken, 0.0, 0)


def test_the_reason_names_figures_and_verdict():
    reason = decide(ndcg(RANK), ndcg(np.maximum(RANK - 1, 1)), 0.01, 0).reason
    for part in ("NDCG@5 on NEW", "720 later events of 60 learners", "exceeds the margin of 0.01"):
        assert part in reason
