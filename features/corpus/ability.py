"""Ability of a learner: scores per level, compared with the usual score of the topic.

log odds of a score = usual log odds of the topic + ability - level, with `LEVEL_LOGIT` between
two levels. A learner who fails half of the hard quizzes is abler than one who passes easy
quizzes; a pass rate says the opposite. The functions are plain Python on indexable numbers, like
those of `features.learner_state`.

Source: Rasch 1960 for the model. The estimate takes two Newton steps from 0 towards the most
likely ability under a normal prior.
"""

import math
from typing import Any

from features.learner_state import (
    T_ATTEMPTS,
    T_EASY,
    T_EASY_SCORES,
    T_HARD,
    T_HARD_SCORES,
    T_SCORE_SUM,
    Numbers,
)

LEVEL_LOGIT = 1.0
"""Log odds between two neighbouring levels; an attempt without a level counts as medium."""

PRIOR_INFORMATION = 0.5
"""Information of the prior, which has mean ability 0; an attempt at even odds has 1/4."""

DOMAIN_ABILITY, DOMAIN_ATTEMPTS, TOPIC_ABILITY = range(14, 17)  # indices in `SUCCESS_INPUTS`
ABILITY = DOMAIN_ABILITY - 1


def residual(row: Numbers, topic_logit: float, ability: float) -> tuple[float, float]:
    """Compute a learner's scores above expectation on one topic.

    Args:
        row: The topic's numbers; see `features.learner_state`.
        topic_logit: Log odds of the topic's pass rate.
        ability: The learner's ability, in log odds.

    Returns:
        Sum of the scores minus the expected sum, and the Fisher information of these attempts.
    """
    surplus = information = 0.0
    easy, hard = row[T_EASY], row[T_HARD]
    medium = row[T_ATTEMPTS] - easy - hard
    if medium > 0:
        expected = 1.0 / (1.0 + math.exp(-topic_logit - ability))
        surplus += row[T_SCORE_SUM] - row[T_EASY_SCORES] - row[T_HARD_SCORES] - medium * expected
        information += medium * expected * (1.0 - expected)
    if easy > 0:
        expected = 1.0 / (1.0 + math.exp(-topic_logit - ability - LEVEL_LOGIT))
        surplus += row[T_EASY_SCORES] - easy * expected
        information += easy * expected * (1.0 - expected)
    if hard > 0:
        expected = 1.0 / (1.0 + math.exp(-topic_logit - ability + LEVEL_LOGIT))
        surplus += row[T_HARD_SCORES] - hard * expected
        information += hard * expected * (1.0 - expected)
    return surplus, information


def general_ability(table: Any, touched: Any, count: int, topic_logits: Any) -> float:
    """Estimate the learner's ability over all topics, in log odds, within [-8, 8].

    Args:
        table: Numbers of each topic, by topic key.
        touched: Keys of the topics that the learner has met.
        count: Number of these keys.
        topic_logits: Log odds of each topic's pass rate, by topic key.
    """
    ability = 0.0
    for _ in range(2):
        surplus = information = 0.0
        for index in range(count):
            topic = int(touched[index])
            topic_surplus, topic_information = residual(table[topic], topic_logits[topic], ability)
            surplus += topic_surplus
            information += topic_information
        ability += (surplus - PRIOR_INFORMATION * ability) / (information + PRIOR_INFORMATION)
        ability = min(8.0, max(-8.0, ability))
    return ability


def add_up(
    sums: Any,
    table: Any,
    touched: Any,
    count: int,
    topic_logits: Any,
    domains: Any,
    ability: float,
) -> None:
    """Add up the residuals of each domain.

    Args:
        sums: 3 numbers per domain, zeros on entry, changed in place: sum of scores above
            expectation, information, attempts.
        table: See `general_ability`.
        touched: See `general_ability`.
        count: See `general_ability`.
        topic_logits: See `general_ability`.
        domains: Domain of each topic, by topic key; 0 for none.
        ability: The learner's general ability.
    """
    for index in range(count):
        topic = int(touched[index])
        row = table[topic]
        if row[T_ATTEMPTS] > 0:
            surplus, information = residual(row, topic_logits[topic], ability)
            of_domain = sums[domains[topic]]
            of_domain[0] += surplus
            of_domain[1] += information
            of_domain[2] += row[T_ATTEMPTS]


def read_ability(
    out: Numbers, row: Numbers, topic_logit: float, ability: float, domain: int, sums: Any
) -> None:
    """Write the learner's ability: in general, in the topic's domain, and on the topic.

    Args:
        out: Numbers of which at most four are written, those of the domain only if there is one;
            see `contracts.SUCCESS_INPUTS`.
        row: The topic's numbers; zeros for a topic never touched.
        topic_logit: Log odds of the topic's pass rate.
        ability: The learner's general ability.
        domain: Domain of the topic; 0 for none.
        sums: Sums per domain from `add_up`.
    """
    out[ABILITY] = ability
    if domain > 0:
        of_domain = sums[domain]
        out[DOMAIN_ABILITY] = of_domain[0] / (of_domain[1] + PRIOR_INFORMATION)
        out[DOMAIN_ATTEMPTS] = math.log(1.0 + of_domain[2])
    surplus, information = residual(row, topic_logit, ability)
    out[TOPIC_ABILITY] = surplus / (information + PRIOR_INFORMATION)
