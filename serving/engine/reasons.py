"""Counterfactual reasons for a recommendation: causes without which its score would be lower.

The model runs once more per cause. Each run replaces the inputs of that cause with the values of a
learner without events. All runs form one batch. A cause supports a topic if the topic's share of
the offered topics is lower without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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


@lru_cache(maxsize=8)
def counterfactuals_of(wanted: tuple[tuple[str, int], ...]) -> "Counterfactuals":
    """Return the counterfactuals of a model, computed once per set of inputs.

    Args:
        wanted: (name, width) of each input array that the model reads.
    """
    return Counterfactuals(dict(wanted))


class Counterfactuals:
    """Inputs of a model, unchanged and without each of its causes.

    Args:
        wanted: width of each input array that the model reads, by name.
    """

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self.causes = [cause for cause in CAUSES if _touches(cause, wanted)]
        self._factors: dict[str, NDArray[np.float32]] = {}
        self._replacements: dict[str, NDArray[np.float32]] = {}
        for name, width in wanted.items():
            self._factors[name] = np.ones((len(self.causes) + 1, width), np.float32)
            for row, cause in enumerate(self.causes, 1):
                self._factors[name][row, _columns(cause, name, width)] = 0.0
        if "inputs" in wanted:
            unknown = [_UNKNOWN.get(column.name, 0.0) for column in RECOMMENDATION_INPUTS]
            removed = 1.0 - self._factors["inputs"]
            self._replacements["inputs"] = (removed * np.array(unknown)).astype(np.float32)

    def of(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Return (1 + causes, width) arrays: row 0 unchanged, row i without cause i - 1.

        Args:
            inputs: name -> (1, width).
        """
        rows = {name: inputs[name] * factors for name, factors in self._factors.items()}
        for name, replacement in self._replacements.items():
            rows[name] += replacement
        return rows

    def supporting(self, shares: NDArray[np.float32]) -> list[list[tuple[Cause, float]]]:
        """Return the causes that support each topic, strongest first.

        Args:
            shares: (1 + causes, n) share of n topics, in the row order of `of`.

        Returns:
            For each topic at most `MAX_REASONS` causes, each with the topic's share without it.
        """
        without = shares[1:]
        strongest = np.argsort(without, axis=0, kind="stable")[:MAX_REASONS]
        limits = ((1.0 - LEAST_LOSS) * shares[0].astype(np.float64)).astype(np.float32)
        supporting: list[list[tuple[Cause, float]]] = []
        for rows, column, limit in zip(
            strongest.T.tolist(), without.T.tolist(), limits.tolist(), strict=True
        ):
            supporting.append([])
            for row in rows:
                if column[row] < limit:
                    supporting[-1].append((self.causes[row], column[row]))
        return supporting


def _touches(cause: Cause, wanted: Mapping[str, int]) -> bool:
    return any(len(_columns(cause, name, width)) for name, width in wanted.items())


def _columns(cause: Cause, name: str, width: int) -> Sequence[int]:
    """Return the column indices of a cause in one of the model's input arrays."""
    if name == "inputs":
        return _indices(cause.inputs, [column.name for column in RECOMMENDATION_INPUTS])
    if name == "topics":
        names = [column.name for column in TOPIC_INPUTS]
        return _indices(cause.topics, names * (width // len(names)))
    return range(width) if name == "state" and cause.state else ()


def _indices(wanted: Iterable[str], names: Sequence[str]) -> list[int]:
    chosen = set(wanted)
    return [index for index, name in enumerate(names) if name in chosen]
