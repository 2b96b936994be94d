"""What an exported network must hold to serve, whatever it gains: schema, parity, latency."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sensei.contracts import (
    DIFFICULTY_INPUTS,
    EVENT_INPUTS,
    ITEM_INPUTS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    SUCCESS_INPUTS,
    TOPIC_INPUTS,
)
from training.release.export import EDGE_FACTOR, TOLERANCE

PARITY = EDGE_FACTOR * TOLERANCE
"""Largest difference to Keras in any answer: what the export allows at the extremes."""

SLOWEST_MS = 10.0
"""No answer may take longer: a page asks a few, and is to be there in milliseconds."""

SLOWER = 5.0
"""So many times the champion's time is too slow ..."""

QUICK_MS = 1.0
"""... but what takes less than this never is: counting takes microseconds."""

Widths = Mapping[str, int]
"""Name of an input or output -> numbers in a row of it."""


@dataclass(frozen=True)
class ServingCheck:
    """One thing that the gate asks for.

    Attributes:
        name: in words.
        passed: whether it holds.
        said: what was found, a clause without a full stop.
        value: the figure behind it; None where there is none.
        judged: False where too little is known to judge; such a check passes.
    """

    name: str
    passed: bool
    said: str
    value: float | None = None
    judged: bool = True

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if not self.passed:
            return "failed"
        return "passed" if self.judged else "not judged"


@dataclass(frozen=True)
class Ports:
    """Names and widths of what an exported network reads and answers.

    Attributes:
        inputs, outputs: of what answers.
        step_inputs, step_outputs: of what advances the hidden state; empty without one.
    """

    inputs: Widths
    outputs: Widths
    step_inputs: Widths = field(default_factory=dict)
    step_outputs: Widths = field(default_factory=dict)


def schema(model: str, ports: Ports, topics: int, slots: int) -> ServingCheck:
    """Whether a network reads what serving computes, and answers what serving reads.

    Args:
        model: `recommendation` or `difficulty`.
        ports: of the exported network.
        topics: of the vocabulary; each needs a slot.
        slots: of the statistics: topics and spare ones.
    """
    faults = [*_foreign(model, ports, slots), *_missing(model, ports, topics), *_steps(ports)]
    said = "; ".join(faults) or f"reads {_listed(ports.inputs)}; answers {_listed(ports.outputs)}"
    return ServingCheck("schema", not faults, said)


def _foreign(model: str, ports: Ports, slots: int) -> Iterator[str]:
    """Inputs that serving does not compute, or computes in another width."""
    state = ports.step_outputs.get("next_state", 0)
    computed = {
        "recommendation": {
            "inputs": len(RECOMMENDATION_INPUTS),
            "topics": slots * len(TOPIC_INPUTS),
            "state": state,
        },
        "difficulty": {
            "inputs": len(DIFFICULTY_INPUTS),
            "topic": 1,
            "free": len(SUCCESS_INPUTS),
            "item": len(ITEM_INPUTS),
            "context": len(RECOMMENDATION_INPUTS),
            "state": state,
        },
    }[model]
    for name, width in ports.inputs.items():
        if computed.get(name, 0) != width:
            yield f"input {name}: expected {computed.get(name, 0)} numbers, got {width}"


def _missing(model: str, ports: Ports, topics: int) -> Iterator[str]:
    """Answers that serving reads and does not find in the width it needs."""
    if model == "recommendation":
        width = ports.outputs.get("probability", 0)
        if width < topics:
            yield f"output probability: expected a slot for each of {topics} topics, got {width}"
        return
    if "item" in ports.inputs and "levels" not in ports.outputs:
        yield "output levels: expected the answer without an item beside the one with it, got none"
    for name in ("success", *({"levels"} & ports.outputs.keys())):
        width = ports.outputs.get(name, 0)
        if width != len(LEVELS):
            yield f"output {name}: expected {len(LEVELS)} levels, got {width}"


def _steps(ports: Ports) -> Iterator[str]:
    """A hidden state that serving could not carry from event to event."""
    state = ports.step_outputs.get("next_state", 0)
    expected = {"state": state, "event": len(EVENT_INPUTS)} if ports.step_inputs else {}
    if dict(ports.step_inputs) != expected:
        yield f"step: expected {_listed(expected)}, got {_listed(ports.step_inputs)}"


def _listed(widths: Widths) -> str:
    return ", ".join(f"{name} ({width})" for name, width in sorted(widths.items())) or "nothing"


def parity(difference: float) -> ServingCheck:
    """Whether the exported network answers as the Keras model it was made from.

    Args:
        difference: largest absolute one, in any answer and any step.
    """
    return ServingCheck(
        "parity",
        difference <= PARITY,
        f"answers within {difference:.1e} of Keras, {PARITY:.0e} allowed",
        difference,
    )


def latency(milliseconds: float, champion: float | None) -> ServingCheck:
    """Whether one answer comes in time.

    Args:
        milliseconds: of CPU time, of reading one event and answering once.
        champion: the same of what serves now; None without one.
    """
    allowed = SLOWEST_MS
    beside = ""
    if champion is not None:
        allowed = min(SLOWEST_MS, max(QUICK_MS, SLOWER * champion))
        beside = f" ({champion:.3f} ms of the champion)"
    said = f"{milliseconds:.3f} ms an answer{beside}, {allowed:.1f} ms allowed"
    return ServingCheck("latency", milliseconds <= allowed, said, milliseconds)
