"""A world that changes: from a moment on, some domains are popular and every question is harder.

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
        domains: Their topics gain appeal.
        appeal: Logits that they gain, for every learner.
        harder: Logits by which every quiz and task becomes harder, unknown to those who choose.
        new: Whether nobody meets the topics of these domains before.
    """

    at: datetime
    domains: tuple[str, ...]
    appeal: float
    harder: float
    new: bool = False


@dataclass(frozen=True)
class Change:
    """What a shift does to the T topics of a world.

    Attributes:
        since: Seconds since 1970; infinity for a world that stays as it is.
        before: (T,) logits that each topic gains until then; minus infinity: nobody meets it.
        appeal: (T,) logits that it gains from then on.
        harder: Logits that every question gains.
    """

    since: float
    before: Floats
    appeal: Floats
    harder: float

    @classmethod
    def of(cls, shift: Shift | None, domains: Sequence[Any]) -> "Change":
        """The change of a world whose topics have these domains, in curriculum order.

        Raises:
            ValueError: No topic has a domain of the shift.
        """
        if shift is None:
            nothing = np.zeros(len(domains))
            return cls(np.inf, nothing, nothing, 0.0)
        for asked in shift.domains:
            if asked not in domains:
                known = ", ".join(dict.fromkeys(map(str, domains)))
                raise ValueError(
                    f"shift: expected domains among {known}, got {asked!r}; choose of these"
                )
        raised = np.array([domain in shift.domains for domain in domains])
        before = np.where(raised & shift.new, -np.inf, 0.0)
        return cls(shift.at.timestamp(), before, shift.appeal * raised, shift.harder)

    def gained(self, moment: Floats) -> Floats:
        """Appeal (n, T) that topics have gained by moments (n,)."""
        return np.where((moment >= self.since)[:, None], self.appeal, self.before)

    def hardened(self, moment: Floats) -> Floats:
        """Logits (n,) that questions have gained by moments (n,)."""
        return np.where(moment >= self.since, self.harder, 0.0)
