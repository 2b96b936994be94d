"""Counterfactual reasons for a recommendation: causes without which its score would be lower.

The model runs once more per cause. Each run replaces the inputs of that cause with the values of a
learner without events. All runs form one batch. A cause supports a topic if the topic's share of
the offered topics is lower without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import RECOMMENDATION_INPUTS, TOPIC_INPUTS

MAX_REASONS = 3
"""Maximum number of causes named per topic."""

LEAST_LOSS = 0.02
"""Minimum relative loss of a topic's share without a cause, for the cause to be named."""


@dataclass(frozen=True)
class Cause:
    """Group of inputs that represents one thing that a person would name.

    Attributes:
        name: identifier for programs; `serving.engine.reason_texts` has the text.
        inputs: names in `RECOMMENDATION_INPUTS`.
        topics: names in `TOPIC_INPUTS`.
        state: true if the cause is the hidden state.
    """

    name: str
    inputs: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    state: bool = False


CAUSES = (
    Cause(
        "last_topic",
        (*(f"last_topic_{back}" for back in range(1, 6)), "last_kind"),
        ("last", "prior_1", "prior_2"),
    ),
    Cause(
        "own_history",
        ("most_frequent_topic",),
        ("log_weight", "log_fast", "log_count", "seen", "today", "log_since"),
    ),
    Cause("domain", (), ("domain_weight", "domain_fast")),
    Cause("prerequisites", (), ("prerequisites",)),
    Cause("popular_lately", (), ("recent_2", "recent_7", "age")),
    Cause(
        "scores",
        (
            "mean_score",
            "mean_score_last_5",
            "topic_mean_score_last_5",
            "topic_last_score",
            "topic_pass_share_last_3",
        ),
    ),
    Cause(
        "pace",
        (
            "log_events",
            "log_topic_events",
            "log_topic_streak",
            "log_topics",
            "log_events_per_active_day",
            "log_seconds_since_last",
            "log_topic_seconds",
            "log_accepted",
        ),
    ),
    Cause("order", (), (), state=True),
)
"""All causes. Every input belongs to one cause, except `new`: it marks a slot and is no reason."""

_UNKNOWN = dict.fromkeys(
    ("mean_score", "mean_score_last_5", "topic_mean_score_last_5", "topic_last_score"), 0.5
)
"""Inputs with a non-zero value for a learner without events; all others are 0.

See `contracts.RECOMMENDATION_INPUTS`."""


class Counterfactuals:
    """Inputs of a model, unchanged and without each of its causes.

    Args:
        wanted: width of each input array that the model reads, by name.
    """

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self.causes = [each for each in CAUSES if _touches(each, wanted)]
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._instead: dict[str, NDArray[np.float32]] = {}
        for name, width in wanted.items():
            self._kept[name] = np.ones((len(self.causes) + 1, width), np.float32)
            for row, cause in enumerate(self.causes, 1):
                self._kept[name][row, _columns(cause, name, width)] = 0.0
        if "inputs" in wanted:
            unknown = [_UNKNOWN.get(each.name, 0.0) for each in RECOMMENDATION_INPUTS]
            gone = 1.0 - self._kept["inputs"]
            self._instead["inputs"] = (gone * np.array(unknown)).astype(np.float32)

    def of(self, given: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Return (1 + causes, width) arrays: row 0 unchanged, row i without cause i - 1.

        Args:
            given: name -> (1, width).
        """
        rows = {name: given[name] * kept for name, kept in self._kept.items()}
        for name, instead in self._instead.items():
            rows[name] += instead
        return rows

    def speaking_for(self, share: NDArray[np.float32]) -> list[tuple[Cause, float]]:
        """Return the causes that support a topic, strongest first.

        Args:
            share: (1 + causes,) the topic's share of the offered topics, in the row order of `of`.

        Returns:
            At most `MAX_REASONS` causes, each with the topic's share without that cause.
        """
        before, without = float(share[0]), share[1:]
        found = [
            (self.causes[each], float(without[each]))
            for each in np.argsort(without, kind="stable")[:MAX_REASONS].tolist()
            if without[each] < (1.0 - LEAST_LOSS) * before
        ]
        return found


def _touches(cause: Cause, wanted: Mapping[str, int]) -> bool:
    return any(len(_columns(cause, name, width)) for name, width in wanted.items())


def _columns(cause: Cause, name: str, width: int) -> Sequence[int]:
    """Return the column indices of a cause in one of the model's input arrays."""
    if name == "inputs":
        return _places(cause.inputs, [each.name for each in RECOMMENDATION_INPUTS])
    if name == "topics":
        names = [each.name for each in TOPIC_INPUTS]
        return _places(cause.topics, names * (width // len(names)))
    return range(width) if name == "state" and cause.state else ()


def _places(wanted: Iterable[str], names: Sequence[str]) -> list[int]:
    chosen = set(wanted)
    return [place for place, name in enumerate(names) if name in chosen]
