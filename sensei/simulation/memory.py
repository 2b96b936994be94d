"""What a learner knows of a topic: it grows by practice, and fades.

A topic's memory is four traces that fade at four speeds; their mean is the strength. A sum of
exponentials with scales spread evenly in log time falls like a power of time.

Sources: Ebbinghaus 1885 (forgetting); Wixted & Ebbesen 1991 (its power form); Anderson & Tweney
1997 (powers from mixed exponentials); Mozer et al. 2009 (multiscale traces, spacing: what is still
remembered leaves less to learn); Roediger & Karpicke 2006 (being tested teaches more than reading).
"""

import numpy as np

from sensei.simulation.draws import Bools, Floats, sigmoid

FADING = np.array([3600.0, 86400.0, 7 * 86400.0, 60 * 86400.0])
"""Seconds in which each trace falls to 1/e."""

TEACHES = np.array([0.55, 0.60, 0.25, 0.35, 0.35])
"""What a quiz, a practice, a resource, a video, a text teaches a prepared learner of rate 1."""

ENOUGH = 0.4
"""Strength of a prerequisite at which more of it helps no further."""


def fade(traces: Floats, seconds: Floats) -> Floats:
    """Traces (..., 4) after so many seconds, shaped to broadcast against them."""
    left: Floats = traces * np.exp(-seconds / FADING)
    return left


def strength(traces: Floats) -> Floats:
    """Strength in [0, 1] of traces (..., 4)."""
    mean: Floats = traces.mean(axis=-1)
    return mean


def learn(traces: Floats, gain: Floats) -> Floats:
    """Traces (n, 4) after an activity of gain (n,) in [0, 1]."""
    room = (gain * (1 - strength(traces)))[..., None]
    return traces + room * (1 - traces)


def brought(ability: Floats, difficulty: Floats) -> Floats:
    """How far a learner is ready for what builds on a topic never studied here, in [0, 0.5]."""
    return 0.5 * sigmoid(2 * (ability - difficulty) - 1)


def readiness(known: Floats, prior: Floats, share: Floats, requires: Bools) -> Floats:
    """Share of a topic's prerequisites that the learner has, in [0, 1]; 1 where there are none.

    Args:
        known: (n, T) strengths.
        prior: (n, T) what was brought along.
        share: (T, T) or (m, T) rows of wanted topics, weights of their prerequisites.
        requires: Same shape, whether a topic is a prerequisite.
    """
    have = np.minimum(1.0, known / ENOUGH + prior)
    return np.asarray(have @ share.T + ~requires.any(axis=1))


def gain(kind: Floats, rate: Floats, ready: Floats) -> Floats:
    """What an activity adds, in [0, 0.9]: missing prerequisites hinder learning.

    Args:
        kind: (n,) `TEACHES` of the activity.
        rate: (n,) the learner's rate.
        ready: (n,) readiness for the topic.
    """
    return np.minimum(0.9, kind * rate * (0.3 + 0.7 * ready))
