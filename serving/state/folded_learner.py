"""Learner state after folding their events one by one.

It holds the state of the fold, and the hidden states of the serving networks. The same events in
the same order advance both.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from features.history import History
from sensei.events import aggregates
from sensei.privacy import preferences

if TYPE_CHECKING:
    from sensei.events.log import Event, Log

CACHED_US = 60_000_000
"""Lifetime of cached answers, in microseconds.

Within a minute the same request gets the same answer, so a page opened again shows the same list.
"""

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


class AnswerCache:
    """Answers given to one learner within a minute; a new event replaces the cache."""

    __slots__ = ("_answers", "_made_from", "_since_us")

    def __init__(self) -> None:
        self._since_us = -CACHED_US
        self._made_from: tuple[object, ...] = ()
        self._answers: dict[Hashable, dict[str, Any]] = {}

    def valid_at(self, now_us: int, *made_from: object) -> dict[Hashable, dict[str, Any]]:
        """Return the answers by their options, without those that are not valid any more.

        The caller adds new answers. The minute starts per learner, so not all answers expire at
        the same time. A clock that was set back ends it too.

        Args:
            now_us: microseconds since 1970.
            made_from: what the answers depend on besides the learner; a change ends them.
        """
        if not 0 <= now_us - self._since_us < CACHED_US or made_from != self._made_from:
            self._since_us, self._made_from, self._answers = now_us, made_from, {}
        return self._answers


@dataclass(frozen=True)
class Learner:
    """Data of one learner after all valid events in the log.

    Attributes:
        history: state of the fold.
        states: hidden states of the networks.
        chosen_style: the learning style that the learner chose; None without a choice.
        is_stale: true if the log could not be asked for later events.
        answers: answers made since the last event.
    """

    history: History
    states: States
    chosen_style: str | None = None
    is_stale: bool = False
    answers: AnswerCache = field(default_factory=AnswerCache, compare=False)


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
        last: sort key of the last event, see `Event.order`.
    """

    revision: int
    states_of: str
    learner: Learner
    taken: tuple[int, int, int]
    last_id: int
    last: tuple[int, int]

    @classmethod
    def nothing(cls, revision: int, networks: Networks) -> "FoldedLearner":
        """Return a learner with no events folded."""
        nobody = Learner(History.new(), networks.start())
        return cls(revision, networks.states_of, nobody, (0, 0, 0), 0, (-1, 0))

    def styled(self, chosen_style: str | None) -> "FoldedLearner":
        """Return a copy with the style that the learner chose."""
        return replace(self, learner=replace(self.learner, chosen_style=chosen_style))

    def after(
        self, events: "Sequence[Event]", revision: int, networks: Networks
    ) -> "FoldedLearner":
        """Fold later events in their order; this advances the history in place."""
        if not events:
            return replace(self, revision=revision)
        history, states = self.learner.history, self.learner.states
        for event in events:
            states = networks.advance(states, history, event)
            history.advance(
                (
                    event.interaction_type,
                    event.topic_id,
                    event.score,
                    event.duration_seconds,
                    event.timestamp,
                ),
                event.difficulty,
            )
        ids = [event.id for event in events]
        return FoldedLearner(
            revision,
            self.states_of,
            replace(self.learner, states=states, answers=AnswerCache()),
            (
                self.taken[0] + len(ids),
                self.taken[1] + sum(ids),
                self.taken[2]
                + sum(aggregates.topic_checksum(event.id, event.topic_id) for event in events),
            ),
            max([self.last_id, *ids]),
            events[-1].order,
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
    if later and later[0].order <= before.last:
        return None
    only_later = bool(later) and revision == before.revision + 1
    if not only_later and aggregates.taken(log.engine, user_id, before.last_id) != before.taken:
        return None
    now = log.revision(user_id)
    if now is not None and now != revision:  # the learner is active right now
        return _later(log, user_id, now, before)
    return (revision, later) if now else None
