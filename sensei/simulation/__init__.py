"""A cohort of simulated learners, by which the software is judged; it imports nothing of ours.

The model in words, its formulas and its sources: docs/simulation.md. Frozen: a change here
makes earlier measurements incomparable.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from sensei.simulation.cohort import Cohort
from sensei.simulation.record import Acts
from sensei.simulation.shift import Shift
from sensei.simulation.truth import success_probability

__all__ = ["Acts", "Cohort", "Shift", "simulate", "success_probability"]


def simulate(
    learners: int, days: int, seed: int, topics: Sequence[Mapping[str, Any]], end: datetime
) -> pa.Table:
    """What a cohort did on a platform that offers the next topics of the curriculum.

    Args:
        learners: Size of the cohort; the first learners of a larger one act the same.
        days: Length of the simulated time, which ends at `end`.
        seed: The same arguments give the same table.
        topics: `topic_id`, `domain`, `prerequisites`, `difficulty` (1-5), `minutes` of each topic,
            in the order in which they are meant to be studied.
        end: Aware moment after which nothing happens.

    Returns:
        The events in the columns of the data contract, ordered by time.
    """
    cohort = Cohort(learners, days, seed, topics, end)
    while len(cohort.step(cohort.next_in_curriculum()).learner):
        pass
    return cohort.table()
