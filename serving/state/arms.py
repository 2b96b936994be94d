"""Arms: which of the policies answers a learner, for ever the same one.

`control` is served by counting alone, so that what the models add can be measured at all;
`champion` by the promoted models; `challenger` by another bundle while a live trial runs.

A learner's place in [0, 1) is a salted hash of the name: stable over restarts, workers and
machines, and of no use to guess anything about the learner. Control takes the places from 0 up,
a challenger those from 1 down: a trial that starts, grows or ends never moves a learner into or
out of control.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from sensei.errors import InvalidInput

Arm = Literal["control", "champion", "challenger"]

SALT = b"sensei-arms-1"
"""Another salt deals all learners anew, which ends every comparison that is under way."""


def place(user_id: str) -> float:
    """The learner's place in [0, 1)."""
    digest = blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8, key=SALT).digest()
    # 53 bits, as many as a float keeps: all 64 could round up to 1
    return (int.from_bytes(digest) >> 11) / 2**53


@dataclass(frozen=True)
class Arms:
    """How learners are dealt out.

    Attributes:
        control: share of learners in [0, 1] who are served by counting.
        challenger: share of learners in [0, 1] in a live trial; 0 while there is none.
    """

    control: float
    challenger: float = 0.0

    def __post_init__(self) -> None:
        if min(self.control, self.challenger) < 0 or self.control + self.challenger > 1:
            raise InvalidInput(
                "arms: expected shares of at least 0 that sum to at most 1, got control "
                f"{self.control:g} and challenger {self.challenger:g}; lower one of them"
            )

    def of(self, user_id: str) -> Arm:
        """The learner's arm."""
        found = place(user_id)
        if found < self.control:
            return "control"
        return "challenger" if found >= 1 - self.challenger else "champion"

    def propensity(self, arm: Arm) -> float:
        """Chance that a learner is in an arm: the weight of what was shown in it."""
        shares = {"control": self.control, "challenger": self.challenger}
        return shares.get(arm, 1 - self.control - self.challenger)
