"""How able a learner is: what he scored at which level, beside what is usual on the topic.

log odds of a score = usual log odds of the topic + ability - level, a level being worth
`LEVEL_LOGIT`. Who chooses hard quizzes and half fails them is abler than who passes easy ones; a
pass rate says the contrary. Plain functions on indexable numbers, as those of
`features.learner_state`.

Source: Rasch 1960 for the model; the estimate is two Newton steps from 0 to the most likely
ability under a normal prior.
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
"""Log odds between two levels; an attempt whose level is untold counts as medium."""

PRIOR_INFORMATION = 0.5
"""What the prior weighs, an ability of 0; an attempt at even odds weighs 1/4."""

DOMAIN_ABILITY, DOMAIN_ATTEMPTS, TOPIC_ABILITY = range(14, 17)  # places in `SUCCESS_INPUTS`
ABILITY = DOMAIN_ABILITY - 1


def residual(row: Numbers, usual: float, ability: float) -> tuple[float, float]:
    """What a learner scored on a topic above expectation.

    Args:
        row: The topic's numbers; see `features.learner_state`.
        usual: Log odds of the topic's pass rate.
        ability: The learner's.

    Returns:
        Sum of the scores minus those expected, and the Fisher information of these attempts.
    """
    above = information = 0.0
    easy, hard = row[T_EASY], row[T_HARD]
    medium = row[T_ATTEMPTS] - easy - hard
    if medium > 0:
        expected = 1.0 / (1.0 + math.exp(-usual - ability))
        above += row[T_SCORE_SUM] - row[T_EASY_SCORES] - row[T_HARD_SCORES] - medium * expected
        information += medium * expected * (1.0 - expected)
    if easy > 0:
        expected = 1.0 / (1.0 + math.exp(-usual - ability - LEVEL_LOGIT))
        above += row[T_EASY_SCORES] - easy * expected
        information += easy * expected * (1.0 - expected)
    if hard > 0:
        expected = 1.0 / (1.0 + math.exp(-usual - ability + LEVEL_LOGIT))
        above += row[T_HARD_SCORES] - hard * expected
        information += hard * expected * (1.0 - expected)
    return above, information


def general_ability(table: Any, touched: Any, known: int, usual: Any) -> float:
    """The learner's ability over all topics, in log odds.

    Args:
        table: A topic's numbers by its key.
        touched: Keys of the topics that the learner has met.
        known: How many.
        usual: Log odds of the topics' pass rates by key.
    """
    ability = 0.0
    for _ in range(2):
        above = information = 0.0
        for place in range(known):
            topic = int(touched[place])
            more, weight = residual(table[topic], usual[topic], ability)
            above += more
            information += weight
        ability += (above - PRIOR_INFORMATION * ability) / (information + PRIOR_INFORMATION)
        ability = min(8.0, max(-8.0, ability))
    return ability


def add_up(
    sums: Any,
    table: Any,
    touched: Any,
    known: int,
    usual: Any,
    domains: Any,
    ability: float,
) -> None:
    """Add up residuals by domain.

    Args:
        sums: 3 numbers by domain, zeros on entry: scores above what the ability lets expect,
            information, attempts.
        table: As for `general_ability`.
        touched: As there.
        known: As there.
        usual: As there.
        domains: Domain of each topic by key; 0 none.
        ability: The learner's general one.
    """
    for place in range(known):
        topic = int(touched[place])
        row = table[topic]
        if row[T_ATTEMPTS] > 0:
            above, information = residual(row, usual[topic], ability)
            of_domain = sums[domains[topic]]
            of_domain[0] += above
            of_domain[1] += information
            of_domain[2] += row[T_ATTEMPTS]


def read_ability(
    out: Numbers, row: Numbers, usual: float, ability: float, domain: int, sums: Any
) -> None:
    """Write how able the learner is: at all, in the topic's domain, on the topic.

    Args:
        out: Numbers of which four are written; see `contracts.SUCCESS_INPUTS`.
        row: The topic's numbers; zeros for one never touched.
        usual: Log odds of its pass rate.
        ability: The learner's general one.
        domain: The topic's; 0 none.
        sums: What `add_up` wrote.
    """
    out[ABILITY] = ability
    if domain > 0:
        of_domain = sums[domain]
        out[DOMAIN_ABILITY] = of_domain[0] / (of_domain[1] + PRIOR_INFORMATION)
        out[DOMAIN_ATTEMPTS] = math.log(1.0 + of_domain[2])
    above, information = residual(row, usual, ability)
    out[TOPIC_ABILITY] = above / (information + PRIOR_INFORMATION)
