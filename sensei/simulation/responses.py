"""How an attempt goes: item response theory with what was learnt and forgotten.

Sources: Rasch 1960; Birnbaum 1968 (slopes, guessing); Pavlik, Cen & Koedinger 2009 (PFA: practice
adds to the logit); Settles & Meeder 2016 and Lindsey et al. 2014 (forgetting adds to the logit).
"""

import numpy as np

from sensei.simulation.draws import Floats, sigmoid

QUESTIONS = 5
"""Questions of a quiz, and checkpoints of a practice task."""

PASSES = 3
"""Right answers that make a success: a score of 0.6 or more."""

GUESS = 0.2
"""Probability to guess a quiz question; a checkpoint cannot be guessed."""

_BASE, _LEARNT, _LACKING = -0.3, 2.8, 1.1


def proficiency(ability: Floats, strength: Floats, ready: Floats) -> Floats:
    """Logits: ability, plus what is remembered, minus what is missing beneath."""
    return _BASE + ability + _LEARNT * strength - _LACKING * (1 - ready)


def right(proficiency: Floats, difficulty: Floats, slope: Floats | float, guess: float) -> Floats:
    """Probability of a right answer to one question (three-parameter logistic model)."""
    return guess + (1 - guess) * sigmoid(slope * (proficiency - difficulty))


def passed(right: Floats) -> Floats:
    """Probability of at least three right answers in five."""
    wrong = 1 - right
    return 10 * right**3 * wrong**2 + 5 * right**4 * wrong + right**5


def quiz_success(proficiency: Floats, difficulty: Floats, slope: Floats) -> Floats:
    """Probability to score 0.6 or more on a quiz drawn from a bank, over the last axis."""
    each = passed(right(np.asarray(proficiency)[..., None], difficulty, slope, GUESS))
    return np.asarray(each.mean(axis=-1))
