"""What a learner does next: stay or move on, to which topic, how, and at which level.

Choices are multinomial logits over utilities (McFadden 1974). The best model of next topics is
therefore better than counting, and never certain.
"""

from dataclasses import dataclass, fields

import numpy as np

from sensei.simulation.draws import Bools, Floats, Ints, sigmoid
from sensei.simulation.traits import LEVEL_DIFFICULTY, Learners, Topics

KINDS = (
    "quiz_complete",
    "practice_attempt",
    "resource_view",
    "video_view",
    "text_read",
    "recommendation_accepted",
    "feedback_recommendation",
)
QUIZ, PRACTICE, ACCEPTED, FEEDBACK = 0, 1, 5, 6
FIRST_RESPONSE = 5


@dataclass(frozen=True)
class Mind:
    """What n learners who are about to act know and remember of T topics."""

    who: Ints  # (n,)
    current: Ints  # (n,) topic of the last event, -1 at first
    streak: Ints  # (n,) events in a row on it
    kind: Ints  # (n,) kind of the last event, -1 at first
    score: Floats  # (n,) score of the last event, NaN without one
    fresh: Bools  # (n,) a session begins
    strength: Floats  # (n, T)
    ready: Floats  # (n, T)
    proficiency: Floats  # (n, T)
    touched: Bools  # (n, T)
    best: Floats  # (n, T) last score on the topic, NaN without one

    def take(self, rows: Ints) -> "Mind":
        """The learners of the given rows."""
        return Mind(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def staying(mind: Mind, learners: Learners) -> Floats:
    """Probability (n,) to go on with the current topic; 0 at first.

    Failing calls for another try and seeing calls for doing; passing well and a long streak do
    not (Beck & Gong 2013 on persistence without progress: trying does not go on for ever).
    """
    viewed = mind.kind > PRACTICE
    failed = mind.score < 0.6
    done = mind.score >= 0.8
    logit = 0.9 + learners.persistence[mind.who] - 0.22 * mind.streak
    logit = logit + 0.9 * viewed + 1.0 * failed - 1.5 * done - 0.9 * mind.fresh
    return np.asarray(np.where(mind.current < 0, 0.0, sigmoid(logit)))


def topic_utility(mind: Mind, learners: Learners, topics: Topics) -> Floats:
    """Utility (n, T) of each topic when moving on; the current one is out.

    Order and successors of the curriculum, taste, prerequisites (Doignon & Falmagne 1985: the
    outer fringe), fit of difficulty (Vygotsky 1978), unfinished and fading topics (revisits).
    """
    place = np.arange(len(topics.ids))
    frontier = mind.touched.argmin(axis=1)[:, None]
    after = place - mind.current[:, None]
    order = 1.7 * np.exp(-np.abs(place - frontier) / 1.5)
    order = order + 1.5 * np.where(after > 0, np.exp(-(after - 1.0) / 2.5), 0.0)
    started = mind.current >= 0
    successor = np.where(started[:, None], topics.requires[:, mind.current].T, False)
    same = np.where(started[:, None], topics.domain == topics.domain[mind.current][:, None], False)
    off_level = np.clip(np.abs(mind.proficiency - topics.difficulty - 0.4), 0, 3)
    fading = mind.touched & (mind.strength < 0.3) & (mind.best >= 0.6)
    failed = mind.touched & (mind.best < 0.6)
    utility: Floats = learners.adherence[mind.who][:, None] * order
    utility += 1.9 * learners.interest[mind.who] + topics.appeal
    utility += 1.4 * successor + 0.8 * same + 3.0 * (mind.ready - 1) - 0.5 * off_level
    utility += 1.4 * learners.thoroughness[mind.who][:, None] * fading + 2.4 * failed
    utility -= 2.0 * mind.touched + 3.0 * np.clip((mind.strength - 0.4) / 0.2, 0, 1)
    utility[np.flatnonzero(started), mind.current[started]] = -np.inf
    return utility


def offered_bonus(utility: Floats, offered: Ints, looks: Bools, trust: Floats) -> Floats:
    """Utilities with what an offer adds: less by position (Craswell et al. 2008), if looked at.

    Args:
        utility: (n, T).
        offered: (n, k) topics, best first; -1 where nothing.
        looks: (n,) whether the learner looks.
        trust: (n,) logits at the first position.
    """
    raised = utility.copy()
    for position in range(offered.shape[1]):
        rows = np.flatnonzero(looks & (offered[:, position] >= 0))
        raised[rows, offered[rows, position]] += trust[rows] / np.log2(position + 2)
    return raised


def kind_utility(mind: Mind, learners: Learners, topic: Ints) -> Floats:
    """Utility (n, 5) of quiz, practice, resource, video, text on the chosen topic.

    The preferred format is chosen more often and teaches no better (Pashler et al. 2008).
    """
    known = mind.strength[np.arange(len(topic)), topic]
    again = (mind.current == topic) & (mind.kind > PRACTICE)
    base = np.stack(
        [
            -0.5 + 1.8 * known + 0.6 * again,
            -0.4 + 1.0 * known + 0.4 * again,
            -0.9 - 0.5 * known,
            0.5 - 1.6 * known - 0.4 * again,
            0.5 - 1.6 * known - 0.4 * again,
        ],
        axis=1,
    )
    return base + learners.formats[mind.who]


def level_utility(judged: Floats) -> Floats:
    """Utility (n, 3) of easy, medium, hard: nearest to knowing three of five answers.

    Args:
        judged: (n,) proficiency minus the topic's difficulty, as the learner judges it
            (Kruger & Dunning 1999: with error).
    """
    expected = sigmoid(judged[:, None] - LEVEL_DIFFICULTY)
    return np.asarray(-12.0 * (expected - 0.6) ** 2)
