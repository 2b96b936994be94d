"""The latent truth, for judging: what no log tells."""

from datetime import datetime

import numpy as np

from sensei.simulation import memory, responses
from sensei.simulation.cohort import Cohort
from sensei.simulation.draws import Floats
from sensei.simulation.traits import LEVELS


def success_probability(world: Cohort, learner: str, topic: int, level: str, at: datetime) -> float:
    """Probability that a learner would score 0.6 or more on a quiz begun at a moment.

    Args:
        world: The cohort, after it acted.
        learner: `user_id` of one of its learners.
        topic: `topic_id` of the curriculum.
        level: easy, medium or hard.
        at: Aware moment; counted is what was finished by then.

    Returns:
        A probability in (0, 1): the mean over the quizzes of this topic and level.

    Raises:
        ValueError: Learner, topic or level are none of this world's.
    """
    who = world.user_ids.index(learner)
    place = world.topics.ids.tolist().index(topic)
    before = np.flatnonzero(world.topics.requires[place])
    moment = at.timestamp()
    known = np.zeros(len(world.topics.ids))
    for each in (place, *before.tolist()):
        known[each] = memory.strength(_traces(world, who, each, moment))
    ability = world.learners.ability[who]
    ready = memory.readiness(
        known[None],
        memory.brought(ability, world.topics.difficulty)[None],
        world.topics.share[place][None],
        world.topics.requires[place][None],
    )[0]
    proficiency = responses.proficiency(ability[place : place + 1], known[place], ready)
    bank = place, LEVELS.index(level)
    chance = responses.quiz_success(
        proficiency - world.change.hardened(np.array([moment])),
        world.topics.quiz_difficulty[bank],
        world.topics.quiz_slope[bank],
    )
    return float(chance[0])


def _traces(world: Cohort, who: int, topic: int, moment: float) -> Floats:
    """Memory (4,) of a topic at a moment, from the activities finished by then."""
    traces, seen = np.zeros(len(memory.FADING)), moment
    for begin, end, gain in world.taught.get((who, topic), ()):
        if end > moment:
            break
        traces = memory.fade(traces, np.array([begin - seen])) if traces.any() else traces
        traces, seen = memory.learn(traces, np.array(gain)), begin
    return memory.fade(traces, np.array([moment - seen]))
