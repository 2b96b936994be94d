"""Assignment of learners to arms; each learner stays in the same arm.

`control` is served by counts alone, so that the effect of the models can be measured. `champion` is
served by the promoted models, `challenger` by another bundle during an A/B test.

A learner's position in [0, 1) is a salted hash of the name. It is stable over restarts, workers and
machines, and reveals nothing about the learner. Control takes the positions from 0 up, a challenger
those from 1 down. So an A/B test that starts, grows or ends never moves a learner into or out of
control.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from sensei.errors import InvalidInput

Arm = Literal["control", "champion", "challenger"]

SALT = b"sensei-arms-1"
"""Salt of the hash; a change assigns all learners again, which ends every running comparison."""


def place(user_id: str) -> float:
    """Return the learner's position in [0, 1)."""
    digest = blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8, key=SALT).digest()
    # 53 bits, the precision of a float: all 64 could round up to 1
    return (int.from_bytes(digest) >> 11) / 2**53


@dataclass(frozen=True)
class Arms:
    """Shares of the arms.

    Attributes:
        control: share of learners in [0, 1] who are served by counts.
        challenger: share of learners in [0, 1] in the A/B test; 0 without one.
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
        """Return the learner's arm."""
        position = place(user_id)
        if position < self.control:
            return "control"
        return "challenger" if position >= 1 - self.challenger else "champion"

    def propensity(self, arm: Arm) -> float:
        """Return the probability of a learner to be in an arm: the propensity of its answers."""
        shares = {"control": self.control, "challenger": self.challenger}
        return shares.get(arm, 1 - self.control - self.challenger)
