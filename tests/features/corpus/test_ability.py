"""Ability is found where it was planted, whatever levels were chosen."""

import math

import numpy as np
import pytest

from features.corpus.ability import LEVEL_LOGIT, add_up, general_ability, read_ability
from features.history import History
from sensei.contracts import LEVELS, SUCCESS_INPUTS, place

USUAL = {1: 0.0, 2: -1.0, 3: 0.5}
DOMAINS = {1: 1, 2: 1, 3: 2}


def expected(ability, topic, level):
    return 1 / (1 + math.exp(-(USUAL[topic] + ability - LEVEL_LOGIT * (level - 1))))


def learner(score, attempts=40, levels=(0, 1, 2), topics=(1, 2, 3)):
    """A learner who scores what `score(topic, level)` says, at each level in turn."""
    history = History.new()
    for at in range(attempts):
        topic, level = topics[at % len(topics)], levels[at // len(topics) % len(levels)]
        event = "quiz_complete", topic, score(topic, level), None, at
        history.advance(event, None if level == 1 else LEVELS[level])
    return history


def read(history, topic):
    met = history.topics, list(history.topics), len(history.topics), USUAL
    ability = general_ability(*met)
    sums = [[0.0] * 3 for _ in range(3)]
    add_up(sums, *met, DOMAINS, ability)
    out = [0.0] * len(SUCCESS_INPUTS)
    row = history.topics.get(topic) or [0.0] * len(next(iter(history.topics.values())))
    read_ability(out, row, USUAL[topic], ability, DOMAINS[topic], sums)
    names = ("ability", "domain_ability", "log_domain_attempts", "topic_ability")
    return {name: out[place(SUCCESS_INPUTS, name)] for name in names}


@pytest.mark.parametrize("ability", [-1.5, 0.0, 0.8, 1.5])
@pytest.mark.parametrize("levels", [(0,), (1,), (2,), (0, 1, 2)])
def test_who_scores_as_an_ability_lets_expect_is_given_it(ability, levels):
    history = learner(lambda topic, level: expected(ability, topic, level), 400, levels)
    found = read(history, 1)
    assert found["ability"] == pytest.approx(ability, abs=0.15)
    assert found["topic_ability"] == pytest.approx(0, abs=0.1)


def test_half_right_at_hard_is_abler_than_all_right_at_easy():
    hard = learner(lambda topic, level: 0.6, 30, (2,))
    easy = learner(lambda topic, level: 0.7, 30, (0,))
    assert read(hard, 1)["ability"] > read(easy, 1)["ability"]


def test_a_strong_domain_shows_beside_the_general_ability():
    history = learner(lambda topic, level: 0.9 if topic == 3 else 0.4, 60)
    found = {topic: read(history, topic) for topic in (1, 3)}
    assert found[3]["domain_ability"] > 0.5 > 0 > found[1]["domain_ability"]
    assert found[1]["log_domain_attempts"] == pytest.approx(math.log1p(40))


def test_one_lucky_attempt_moves_little():
    assert 0 < read(learner(lambda *_: 1.0, 1, topics=(1,)), 1)["ability"] < 1


def test_any_scores_give_finite_abilities():
    rng = np.random.default_rng(0)
    for _ in range(50):
        extreme = float(rng.integers(0, 2))
        history = learner(lambda *_, s=extreme: s, int(rng.integers(1, 2000)))
        assert all(math.isfinite(each) and abs(each) <= 8 for each in read(history, 2).values())
