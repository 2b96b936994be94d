"""Ability is found where it was planted, whatever levels were chosen."""

import math

import numpy as np
import pytest

from features.corpus.ability import LEVEL_LOGIT, add_up, general_ability, read_ability
from features.history import History
from sensei.contracts import LEVELS, SUCCESS_INPUTS, place

TOPIC_LOGITS = {1: 0.0, 2: -1.0, 3: 0.5}
DOMAINS = {1: 1, 2: 1, 3: 2}


def expected(ability, topic, level):
    return 1 / (1 + math.exp(-(TOPIC_LOGITS[topic] + ability - LEVEL_LOGIT * (level - 1))))


def learner(score, attempts=40, levels=(0, 1, 2), topics=(1, 2, 3)):
    """A learner who scores what `score(topic, level)` says, at each level in turn."""
    history = History.new()
    for at in range(attempts):
        topic, level = topics[at % len(topics)], levels[at // len(topics) % len(levels)]
        event = "quiz_complete", topic, score(topic, level), None, at
        history.advance(event, None if level == 1 else LEVELS[level])
    return history


def read(history, topic):
    arguments = history.topics, list(history.topics), len(history.topics), TOPIC_LOGITS
    ability = general_ability(*arguments)
    sums = [[0.0] * 3 for _ in range(3)]
    add_up(sums, *arguments, DOMAINS, ability)
    out = [0.0] * len(SUCCESS_INPUTS)
    row = history.topics.get(topic) or [0.0] * len(next(iter(history.topics.values())))
    read_ability(out, row, TOPIC_LOGITS[topic], ability, DOMAINS[topic], sums)
    names = ("ability", "domain_ability", "log_domain_attempts", "topic_ability")
    return {name: out[place(SUCCESS_INPUTS, name)] for name in names}


@pytest.mark.parametrize("ability", [-1.5, 0.0, 0.8, 1.5])
@pytest.mark.parametrize("levels", [(0,), (1,), (2,), (0, 1, 2)])
def test_scores_at_their_expected_value_recover_the_planted_ability(ability, levels):
    history = learner(lambda topic, level: expected(ability, topic, level), 400, levels)
    inputs = read(history, 1)
    assert inputs["ability"] == pytest.approx(ability, abs=0.15)
    assert inputs["topic_ability"] == pytest.approx(0, abs=0.1)


def test_half_right_at_hard_is_abler_than_all_right_at_easy():
    hard = learner(lambda topic, level: 0.6, 30, (2,))
    easy = learner(lambda topic, level: 0.7, 30, (0,))
    assert read(hard, 1)["ability"] > read(easy, 1)["ability"]


def test_a_strong_domain_has_a_higher_domain_ability():
    history = learner(lambda topic, level: 0.9 if topic == 3 else 0.4, 60)
    inputs = {topic: read(history, topic) for topic in (1, 3)}
    assert inputs[3]["domain_ability"] > 0.5 > 0 > inputs[1]["domain_ability"]
    assert inputs[1]["log_domain_attempts"] == pytest.approx(math.log1p(40))


def test_one_lucky_attempt_moves_little():
    assert 0 < read(learner(lambda *_: 1.0, 1, topics=(1,)), 1)["ability"] < 1


def test_any_scores_give_finite_abilities():
    rng = np.random.default_rng(0)
    for _ in range(50):
        extreme = float(rng.integers(0, 2))
        history = learner(lambda *_, s=extreme: s, int(rng.integers(1, 2000)))
        assert all(
            math.isfinite(ability) and abs(ability) <= 8 for ability in read(history, 2).values()
        )
