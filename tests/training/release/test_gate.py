from dataclasses import replace

import numpy as np
import pytest

from sensei.errors import InvalidInput
from sensei.metrics import log_loss, ndcg_at_k
from training.release.gate import INFERIOR, PerLearner, decide, judge, not_inferior
from training.release.serving_checks import ServingCheck

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


def test_a_copy_that_rounds_otherwise_is_not_promoted():
    rounded = np.where(PASSED == 1, SKILL + 1e-6, SKILL - 1e-6)  # better for every learner
    assert not decide(loss(SKILL), loss(rounded), 0.0, 0).promote


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
    one_learner = PerLearner.of("log loss", False, np.zeros(5), np.zeros(5, int))
    none = PerLearner.of("log loss", False, np.zeros(0), np.zeros(0, int))
    for scores in (one_learner, none):
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


BETTER = (ndcg(RANK), ndcg(np.maximum(RANK - 1, 1)))
FINE = [ServingCheck(name, True, "all is well", 0.1) for name in ("schema", "parity", "latency")]


def test_a_gain_and_all_checks_passed_promote():
    decision = judge(decide(*BETTER, 0.01, 0), FINE)
    assert decision.promote
    assert decision.reason.startswith("The challenger is promoted: NDCG@5")
    assert decision.summary == "gain passed, schema passed, parity passed, latency passed"


@pytest.mark.parametrize("at", range(3))
def test_each_check_alone_keeps_the_challenger_back(at):
    checks = [replace(c, passed=i != at, said=f"fault {i}") for i, c in enumerate(FINE)]
    decision = judge(decide(*BETTER, 0.01, 0), checks)
    assert not decision.promote
    assert decision.gain > 0.01
    assert decision.reason.startswith(f"The champion stays: {FINE[at].name}: fault {at}; NDCG@5")


def test_the_first_champion_too_must_pass_the_checks():
    first = decide(None, ndcg(RANK), 0.0, 0)
    assert judge(first, FINE).promote
    decision = judge(first, [replace(FINE[0], passed=False, said="no such input")])
    assert not decision.promote
    assert decision.reason == "There is still no champion: schema: no such input."


def test_checks_do_not_make_up_for_a_gain_that_is_missing():
    assert not judge(decide(BETTER[0], BETTER[0], 0.0, 0), FINE).promote


def sliced(learners, shift, spread=0.0, higher=True):
    """Ten targets of each learner, the challenger ahead by `shift`, give or take `spread`."""
    learner = np.repeat(np.arange(learners), 10)
    shifts = shift + spread * np.random.default_rng(1).standard_normal(learners)[learner]
    champion = np.full(len(learner), 0.5)
    values = champion + shifts if higher else champion - shifts
    return [
        PerLearner.of("metric", higher, metric_values, learner)
        for metric_values in (champion, values)
    ]


@pytest.mark.parametrize("higher", [True, False], ids=["ndcg", "log loss"])
def test_a_slice_may_lose_less_than_the_margin_and_no_more(higher):
    for shift, passed in ((0.0, True), (-0.9 * INFERIOR, True), (-1.1 * INFERIOR, False)):
        check = not_inferior("new learners", *sliced(50, shift, higher=higher), seed=0)
        assert check.passed == passed
        assert check.value == pytest.approx(shift)
        assert check.name == "new learners"


def test_a_slice_that_may_have_lost_too_much_is_not_shown_to_be_no_worse():
    spread = INFERIOR * np.sqrt(400) / 5  # a standard error of a fifth of the margin
    check = not_inferior("new topics", *sliced(400, -0.8 * INFERIOR, spread), seed=0)
    assert not check.passed
    assert "a loss beyond chance and not above -0.02" in check.said


def test_a_slice_of_which_chance_moves_much_is_too_small_to_judge():
    check = not_inferior("new topics", *sliced(40, -0.01, 0.5), seed=0)
    assert (check.passed, check.judged, check.verdict) == (True, False, "not judged")
    assert check.said.endswith("too few to judge")
    assert "40 learners" in check.said


def test_a_small_slice_still_refuses_a_loss_beyond_chance():
    check = not_inferior("new topics", *sliced(40, -0.5, 0.5), seed=0)
    assert not check.passed
    assert "a loss beyond chance" in check.said


def test_a_slice_of_hardly_anybody_is_not_resampled():
    for learners in (0, 1, 19):
        check = not_inferior("new learners", *sliced(learners, -1.0), seed=0)
        assert check.verdict == "not judged"
        assert "too few to judge" in check.said
