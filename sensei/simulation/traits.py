"""What is fixed from the start: how topics are, and how learners are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensei.simulation.draws import Bools, Draws, Floats, Ints

LEVELS = ("easy", "medium", "hard")
LEVEL_DIFFICULTY = np.array([-1.1, 0.0, 1.1])
"""Logits by which a level shifts an item's difficulty."""

ITEMS = 4
"""Items of a topic in each quiz level, and as many practice tasks."""


@dataclass(frozen=True)
class Topics:
    """The simulated subject matter; T topics in curriculum order."""

    ids: Ints  # (T,)
    domain: Ints  # (T,) code
    difficulty: Floats  # (T,) logits
    minutes: Floats  # (T,)
    requires: Bools  # (T, T) row builds on column
    share: Floats  # (T, T) `requires` with rows that sum to one, or to zero
    appeal: Floats  # (T,) logits
    quiz_difficulty: Floats  # (T, 3, ITEMS) logits, level and topic included
    quiz_slope: Floats  # (T, 3, ITEMS)
    task_difficulty: Floats  # (T, ITEMS) logits, topic included


@dataclass(frozen=True)
class Learners:
    """Latent traits of L learners; nothing of this is in the log."""

    ability: Floats  # (L, T) logits, equal within a domain
    rate: Floats  # (L,) factor of what an activity teaches
    interest: Floats  # (L, T) logits, equal within a domain
    formats: Floats  # (L, 5) logits by kind of activity
    adherence: Floats  # (L,) factor of the pull of the curriculum's order
    thoroughness: Floats  # (L,) factor of the pull of fading topics
    persistence: Floats  # (L,) logits of staying on a topic
    confidence: Floats  # (L,) logits of error in judging oneself
    attention: Floats  # (L,) probability to look at an offer
    trust: Floats  # (L,) logits that an offer adds
    stamina: Floats  # (L,) logits of going on with a session
    pace: Floats  # (L,) days, scale of the gap between sessions
    hour: Floats  # (L,) hour of the day around which sessions start
    weekday: Floats  # (L,) probability to move a weekend session to Monday
    hazard: Floats  # (L,) logits of leaving after a session
    joined: Floats  # (L,) seconds from the start


def draw_topics(topics: Sequence[Mapping[str, Any]], draws: Draws) -> Topics:
    """The subject matter of a world: the curriculum, and what it does not tell."""
    number = len(topics)
    who = np.arange(number)
    position = {topic["topic_id"]: at for at, topic in enumerate(topics)}
    codes = {name: at for at, name in enumerate(dict.fromkeys(t["domain"] for t in topics))}
    requires = np.zeros((number, number), dtype=np.bool_)
    for at, topic in enumerate(topics):
        requires[at, [position[before] for before in topic["prerequisites"]]] = True
    stated = np.array([topic.get("difficulty") or 3 for topic in topics], dtype=np.float64)
    difficulty = 0.4 * (stated - 2.5) + 0.3 * draws.normal("topic difficulty", who)
    spread = 0.45 * draws.normal("quiz item", who, 0, 3 * ITEMS).reshape(number, 3, ITEMS)
    slopes = draws.normal("quiz slope", who, 0, 3 * ITEMS).reshape(number, 3, ITEMS)
    return Topics(
        ids=np.array([topic["topic_id"] for topic in topics], dtype=np.int64),
        domain=np.array([codes[topic["domain"]] for topic in topics], dtype=np.int64),
        difficulty=difficulty,
        minutes=np.array([topic.get("minutes") or 60 for topic in topics], dtype=np.float64),
        requires=requires,
        share=requires / np.maximum(requires.sum(axis=1, keepdims=True), 1),
        appeal=0.4 * draws.normal("appeal", who),
        quiz_difficulty=difficulty[:, None, None] + LEVEL_DIFFICULTY[None, :, None] + spread,
        quiz_slope=np.exp(0.2 * slopes),
        task_difficulty=difficulty[:, None] + 0.45 * draws.normal("task", who, 0, ITEMS),
    )


def draw_learners(number: int, topics: Topics, days: int, draws: Draws) -> Learners:
    """The cohort: traits are independent of each other but for ability and interest."""
    who = np.arange(number)
    domains = int(topics.domain.max()) + 1
    general = draws.normal("general ability", who)[:, None]
    ability = 0.75 * general + 0.65 * draws.normal("domain ability", who, 0, domains + 1)[:, 1:]
    # Few common directions of taste, so that learners resemble one another (Koren et al. 2009).
    directions = draws.normal("direction", np.arange(domains), 0, 3)
    leaning = draws.normal("leaning", who, 0, 3) @ directions.T / np.sqrt(3)
    taste = 0.85 * leaning + 0.5 * draws.normal("taste", who, 0, domains + 1)[:, 1:]
    evening = draws.uniform("chronotype", who) < 0.7
    spread = draws.normal("hour", who)
    early = draws.uniform("early", who) < 0.5
    return Learners(
        ability=ability[:, topics.domain],
        rate=np.exp(0.3 * draws.normal("rate", who)),
        interest=taste[:, topics.domain],
        formats=np.array([0.0, 0.0, 0.0, 0.1, 0.0]) + 0.8 * draws.normal("formats", who, 0, 5),
        adherence=np.exp(0.5 * draws.normal("adherence", who)),
        thoroughness=np.exp(0.5 * draws.normal("thoroughness", who)),
        persistence=0.5 * draws.normal("persistence", who),
        confidence=0.6 * draws.normal("confidence", who),
        attention=0.1 + 0.6 * draws.uniform("attention", who),
        trust=0.8 + 0.5 * draws.normal("trust", who),
        stamina=0.5 * draws.normal("stamina", who),
        pace=np.clip(0.95 * np.exp(0.35 * draws.normal("pace", who)), 0.5, 3.0),
        hour=np.where(evening, 19.3 + 1.2 * spread, 9.8 + 1.0 * spread),
        weekday=0.7 * draws.uniform("weekday", who),
        hazard=-4.4 + 0.6 * draws.normal("hazard", who),
        joined=86400.0 * days * draws.uniform("joined", who) * np.where(early, 0.1, 0.8),
    )
