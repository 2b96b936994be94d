"""What is known of a learner after his events, taken in one after the other.

Beside the state of the fold stand the hidden states of the networks that serve, advanced by
the same events in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from features.history import History
from sensei.events import aggregates
from sensei.privacy import preferences

if TYPE_CHECKING:
    from sensei.events.log import Event, Log

States = dict[str, NDArray[np.float32]]
"""Hidden states by the name of the model."""


class Networks(Protocol):
    """Networks with a hidden state per learner; `serving.state.model.Model` is one."""

    @property
    def states_of(self) -> str:
        """What the states were computed by: those of one are of no use to another."""

    def start(self) -> States:
        """The states of a learner without events."""

    def advance(self, states: States, history: History, event: "Event") -> States:
        """The states one event later; `history` is still as before it."""


class NoNetworks:
    """Nothing to keep: no model serves yet, or the ones that do have no state."""

    states_of = ""

    def start(self) -> States:
        """No state."""
        return {}

    def advance(self, states: States, history: History, event: "Event") -> States:  # noqa: ARG002
        """No state."""
        return states


@dataclass(frozen=True)
class Learner:
    """What is known of one learner after all valid events in the log.

    Attributes:
        history: state of the fold.
        states: hidden states of the networks.
        chosen_style: the learning style that the learner chose; None without a choice.
        is_stale: the log could not be asked for later events.
    """

    history: History
    states: States
    chosen_style: str | None = None
    is_stale: bool = False


class Read(NamedTuple):
    """What was read of a learner.

    Attributes:
        revision: read before the events.
        chosen_style: read after the revision.
        events: in the order of the fold.
        is_later: true if they follow what was folded before; else they are all there are.
    """

    revision: int
    chosen_style: str | None
    events: "list[Event]"
    is_later: bool


@dataclass(frozen=True)
class FoldedLearner:
    """A learner, and which events were taken in.

    Attributes:
        revision: how many writes had touched the learner.
        states_of: by what the hidden states were computed.
        learner: what is known after the events.
        taken: number of events, and sum of their keys.
        last_id: greatest of their keys.
        last: time and id of the last event, its place in the order of the fold.
    """

    revision: int
    states_of: str
    learner: Learner
    taken: tuple[int, int]
    last_id: int
    last: tuple[int, str]

    @classmethod
    def nothing(cls, revision: int, networks: Networks) -> "FoldedLearner":
        """A learner none of whose events was taken in."""
        nobody = Learner(History.new(), networks.start())
        return cls(revision, networks.states_of, nobody, (0, 0), 0, (-1, ""))

    def styled(self, chosen_style: str | None) -> "FoldedLearner":
        """The same with the style that the learner chose."""
        return replace(self, learner=replace(self.learner, chosen_style=chosen_style))

    def after(
        self, events: "Sequence[Event]", revision: int, networks: Networks
    ) -> "FoldedLearner":
        """The same after later events, in their order; the history is advanced in place."""
        history, states = self.learner.history, self.learner.states
        for each in events:
            states = networks.advance(states, history, each)
            history.advance(
                (
                    each.interaction_type,
                    each.topic_id,
                    each.score,
                    each.duration_seconds,
                    each.timestamp,
                ),
                each.difficulty,
            )
        ids = [each.id for each in events]
        return FoldedLearner(
            revision,
            self.states_of,
            replace(self.learner, states=states),
            (self.taken[0] + len(ids), self.taken[1] + sum(ids)),
            max([self.last_id, *ids]),
            events[-1].place if events else self.last,
        )


def read_learner(log: "Log", user_id: str, before: FoldedLearner | None) -> Read | None:
    """Read what a learner did since something was folded, or all of it if that is not enough.

    Args:
        log: the learners' log.
        user_id: any name.
        before: what was folded; None for nothing.

    Returns:
        None for a learner never seen, or erased meanwhile.

    Raises:
        StorageUnavailable: the log does not answer.
    """
    revision = log.revision(user_id)
    if revision is None:
        return None
    later = _later(log, user_id, revision, before) if before else None
    if later is None:
        # Events that come between reading the revision and this are read too; they are missing
        # from the next question's later events, which then reads all events again.
        style = preferences.style_override(log.engine, user_id)
        return Read(revision, style, log.read_learner(user_id), False)
    revision, events = later
    return Read(revision, preferences.style_override(log.engine, user_id), events, True)


def _later(
    log: "Log", user_id: str, revision: int, before: FoldedLearner
) -> "tuple[int, list[Event]] | None":
    """Later events and their revision; None if one came late or events were taken away."""
    later = log.read_learner(user_id, after_id=before.last_id)
    if later and later[0].place <= before.last:
        return None
    only_later = bool(later) and revision == before.revision + 1
    if not only_later and aggregates.taken(log.engine, user_id, before.last_id) != before.taken:
        return None
    now = log.revision(user_id)
    if now is not None and now != revision:  # the learner acts just now
        return _later(log, user_id, now, before)
    return (revision, later) if now else None
