"""A world that changes: from a moment on, one domain is popular and every question is harder.

Off by default. Learners choose by the new appeal and fail by the new difficulty; nobody is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from sensei.simulation.draws import Floats


@dataclass(frozen=True)
class Shift:
    """What changes, and when.

    Attributes:
        at: Aware moment; acts that begin from then on are of the new world.
        domain: Its topics gain appeal.
        appeal: Logits that they gain, for every learner.
        harder: Logits by which every quiz and task becomes harder, unknown to those who choose.
    """

    at: datetime
    domain: str
    appeal: float
    harder: float


@dataclass(frozen=True)
class Change:
    """What a shift does to the T topics of a world.

    Attributes:
        since: Seconds since 1970; infinity for a world that stays as it is.
        appeal: (T,) logits that each topic gains.
        harder: Logits that every question gains.
    """

    since: float
    appeal: Floats
    harder: float

    @classmethod
    def of(cls, shift: Shift | None, domains: Sequence[Any]) -> "Change":
        """The change of a world whose topics have these domains, in curriculum order.

        Raises:
            ValueError: No topic has the domain of the shift.
        """
        if shift is None:
            return cls(np.inf, np.zeros(len(domains)), 0.0)
        raised = np.array([domain == shift.domain for domain in domains])
        if not raised.any():
            known = ", ".join(dict.fromkeys(map(str, domains)))
            raise ValueError(
                f"shift: expected a domain among {known}, got {shift.domain!r}; choose of these"
            )
        return cls(shift.at.timestamp(), shift.appeal * raised, shift.harder)

    def gained(self, moment: Floats) -> Floats:
        """Appeal (n, T) that topics have gained by moments (n,)."""
        return (moment >= self.since)[:, None] * self.appeal

    def hardened(self, moment: Floats) -> Floats:
        """Logits (n,) that questions have gained by moments (n,)."""
        return np.where(moment >= self.since, self.harder, 0.0)
