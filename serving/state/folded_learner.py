"""Learner state after folding their events one by one.

It holds the state of the fold, and the hidden states of the serving networks. The same events in
the same order advance both.
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
"""Hidden states by model name."""


class Networks(Protocol):
    """Networks with a hidden state per learner; `serving.state.model.Model` implements it."""

    @property
    def states_of(self) -> str:
        """Identity of the networks; states computed by one are invalid for another."""

    def start(self) -> States:
        """Return the states of a learner without events."""

    def advance(self, states: States, history: History, event: "Event") -> States:
        """Return the states after one event; `history` does not include that event yet."""


class NoNetworks:
    """Networks without hidden states: no model serves yet, or no served model has a state."""

    states_of = ""

    def start(self) -> States:
        """Return no states."""
        return {}

    def advance(self, states: States, history: History, event: "Event") -> States:  # noqa: ARG002
        """Return the states unchanged."""
        return states


@dataclass(frozen=True)
class Learner:
    """Data of one learner after all valid events in the log.

    Attributes:
        history: state of the fold.
        states: hidden states of the networks.
        chosen_style: the learning style that the learner chose; None without a choice.
        is_stale: true if the log could not be asked for later events.
    """

    history: History
    states: States
    chosen_style: str | None = None
    is_stale: bool = False


class Read(NamedTuple):
    """Result of reading a learner.

    Attributes:
        revision: read before the events.
        chosen_style: read after the revision.
        events: in the order of the fold.
        is_later: true if the events follow those folded before; false if they are all events.
    """

    revision: int
    chosen_style: str | None
    events: "list[Event]"
    is_later: bool


@dataclass(frozen=True)
class FoldedLearner:
    """Learner, and a record of the events folded so far.

    Attributes:
        revision: number of writes that had changed the learner.
        states_of: identity of the networks that computed the hidden states.
        learner: data after these events.
        taken: number of events, sum of their keys, and checksum of their topics.
        last_id: greatest of their keys.
        last: time and id of the last event, its position in the order of the fold.
    """

    revision: int
    states_of: str
    learner: Learner
    taken: tuple[int, int, int]
    last_id: int
    last: tuple[int, str]

    @classmethod
    def nothing(cls, revision: int, networks: Networks) -> "FoldedLearner":
        """Return a learner with no events folded."""
        nobody = Learner(History.new(), networks.start())
        return cls(revision, networks.states_of, nobody, (0, 0, 0), 0, (-1, ""))

    def styled(self, chosen_style: str | None) -> "FoldedLearner":
        """Return a copy with the style that the learner chose."""
        return replace(self, learner=replace(self.learner, chosen_style=chosen_style))

    def after(
        self, events: "Sequence[Event]", revision: int, networks: Networks
    ) -> "FoldedLearner":
        """Fold later events in their order; this advances the history in place."""
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
            (
                self.taken[0] + len(ids),
                self.taken[1] + sum(ids),
                self.taken[2] + sum(aggregates.topic_checksum(event.topic_id) for event in events),
            ),
            max([self.last_id, *ids]),
            events[-1].place if events else self.last,
        )


def read_learner(log: "Log", user_id: str, before: FoldedLearner | None) -> Read | None:
    """Read a learner's events since the last fold, or all of them if those are not enough.

    Args:
        log: the learners' log.
        user_id: any name.
        before: the learner folded so far; None for nothing.

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
        # This also reads events written after the revision was read. The next question does not
        # find them among the later events, so it reads all events again.
        style = preferences.style_override(log.engine, user_id)
        return Read(revision, style, log.read_learner(user_id), False)
    revision, events = later
    return Read(revision, preferences.style_override(log.engine, user_id), events, True)


def _later(
    log: "Log", user_id: str, revision: int, before: FoldedLearner
) -> "tuple[int, list[Event]] | None":
    """Return later events and their revision; None if one came late or events were removed."""
    later = log.read_learner(user_id, after_id=before.last_id)
    if later and later[0].place <= before.last:
        return None
    only_later = bool(later) and revision == before.revision + 1
    if not only_later and aggregates.taken(log.engine, user_id, before.last_id) != before.taken:
        return None
    now = log.revision(user_id)
    if now is not None and now != revision:  # the learner is active right now
        return _later(log, user_id, now, before)
    return (revision, later) if now else None
