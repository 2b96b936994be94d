"""Serving checks that an exported network must pass at any gain: schema, parity, latency."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sensei.bundle.bundle_format import LiteRtNetwork
from sensei.bundle.runtime import Runner
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    EVENT_INPUTS,
    ITEM_INPUTS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    SUCCESS_INPUTS,
    TOPIC_INPUTS,
)
from sensei.model_name import ModelName
from training.release.export import EDGE_FACTOR, TOLERANCE, Exported

PARITY = EDGE_FACTOR * TOLERANCE
"""Maximum difference to Keras in any answer: the tolerance of the export at the extremes."""

SLOWEST_MS = 10.0
"""Maximum time per answer, in milliseconds; a page needs a few answers."""

SLOWER = 5.0
"""Maximum slowdown relative to the champion."""

QUICK_MS = 1.0
"""Time in milliseconds that is always allowed per answer; counting models take microseconds."""

ROUNDS, CALLS = 10, 30
"""Number of rounds, and calls per network in each round; alternation spreads short disturbances."""

Widths = Mapping[str, int]
"""Numbers per row, by name of an input or output."""


@dataclass(frozen=True)
class ServingCheck:
    """Result of one check of the gate.

    Attributes:
        name: name in words.
        passed: True if the check passes.
        said: the finding, a clause without a full stop.
        value: the value behind it; None if there is none.
        judged: False if the evidence is insufficient; such a check passes.
    """

    name: str
    passed: bool
    said: str
    value: float | None = None
    judged: bool = True

    @property
    def verdict(self) -> str:
        """Verdict: `failed`, `passed` or `not judged`."""
        if not self.passed:
            return "failed"
        return "passed" if self.judged else "not judged"


@dataclass(frozen=True)
class Ports:
    """Names and widths of an exported network's inputs and outputs.

    Attributes:
        inputs, outputs: of the part that answers.
        step_inputs, step_outputs: of the part that advances the hidden state; empty without one.
    """

    inputs: Widths
    outputs: Widths
    step_inputs: Widths = field(default_factory=dict)
    step_outputs: Widths = field(default_factory=dict)


def schema(model_name: ModelName, ports: Ports, topics: int, slots: int) -> ServingCheck:
    """Check that serving computes a network's inputs and finds the outputs it needs.

    Args:
        model_name: the model.
        ports: inputs and outputs of the exported network.
        topics: number of topics in the vocabulary; each needs a slot.
        slots: number of slots in the statistics: topics and spare ones.
    """
    faults = [
        *_foreign(model_name, ports, slots),
        *_missing(model_name, ports, topics),
        *_steps(ports),
    ]
    finding = (
        "; ".join(faults) or f"reads {_listed(ports.inputs)}; answers {_listed(ports.outputs)}"
    )
    return ServingCheck("schema", not faults, finding)


def _foreign(model_name: ModelName, ports: Ports, slots: int) -> Iterator[str]:
    """Yield inputs that serving does not compute, or computes in another width."""
    state = ports.step_outputs.get("next_state", 0)
    computed = {
        ModelName.RECOMMENDATION: {
            "inputs": len(RECOMMENDATION_INPUTS),
            "topics": slots * len(TOPIC_INPUTS),
            "state": state,
        },
        ModelName.DIFFICULTY: {
            "inputs": len(DIFFICULTY_INPUTS),
            "topic": 1,
            "free": len(SUCCESS_INPUTS),
            "item": len(ITEM_INPUTS),
            "context": len(RECOMMENDATION_INPUTS),
            "state": state,
        },
    }[model_name]
    for name, width in ports.inputs.items():
        if computed.get(name, 0) != width:
            yield f"input {name}: expected {computed.get(name, 0)} numbers, got {width}"


def _missing(model_name: ModelName, ports: Ports, topics: int) -> Iterator[str]:
    """Yield outputs that serving needs and that are missing or have another width."""
    if model_name == ModelName.RECOMMENDATION:
        width = ports.outputs.get("probability", 0)
        if width < topics:
            yield f"output probability: expected a slot for each of {topics} topics, got {width}"
        return
    if "item" in ports.inputs and "levels" not in ports.outputs:
        yield "output levels: expected one without an item in addition to the one with it, got none"
    for name in ("success", *({"levels"} & ports.outputs.keys())):
        width = ports.outputs.get(name, 0)
        if width != len(LEVELS):
            yield f"output {name}: expected {len(LEVELS)} levels, got {width}"


def _steps(ports: Ports) -> Iterator[str]:
    """Yield a fault if serving could not update the hidden state from event to event."""
    state = ports.step_outputs.get("next_state", 0)
    expected = {"state": state, "event": len(EVENT_INPUTS)} if ports.step_inputs else {}
    if dict(ports.step_inputs) != expected:
        yield f"step: expected {_listed(expected)}, got {_listed(ports.step_inputs)}"


def _listed(widths: Widths) -> str:
    return ", ".join(f"{name} ({width})" for name, width in sorted(widths.items())) or "nothing"


def parity(difference: float) -> ServingCheck:
    """Check that the exported network gives the same answers as its Keras model.

    Args:
        difference: largest absolute difference, in any answer and any step.
    """
    return ServingCheck(
        "parity",
        difference <= PARITY,
        f"answers within {difference:.1e} of Keras, {PARITY:.0e} allowed",
        difference,
    )


def latency(milliseconds: float, champion: float | None) -> ServingCheck:
    """Check the time per answer.

    Args:
        milliseconds: CPU time to read one event and answer once, in milliseconds.
        champion: the same of the serving network; None without one.
    """
    allowed = SLOWEST_MS
    champions = ""
    if champion is not None:
        allowed = min(SLOWEST_MS, max(QUICK_MS, SLOWER * champion))
        champions = f" ({champion:.3f} ms of the champion)"
    finding = f"{milliseconds:.3f} ms per answer{champions}, {allowed:.1f} ms allowed"
    return ServingCheck("latency", milliseconds <= allowed, finding, milliseconds)


def fitness(
    model_name: ModelName,
    exported: Exported,
    topics: int,
    slots: int,
    champion: LiteRtNetwork | None,
) -> tuple[ServingCheck, ...]:
    """Run the checks that a challenger must pass to serve.

    Args:
        model_name: the model.
        exported: the challenger.
        topics: number of topics in its vocabulary.
        slots: number of slots in its statistics: topics and spare ones.
        champion: the serving network; None without one.
    """
    challenger_ms, *champion_ms = milliseconds(
        [exported.network, *([champion] if champion else [])]
    )
    return (
        schema(model_name, ports_of(exported.network), topics, slots),
        parity(exported.parity),
        latency(challenger_ms, champion_ms[0] if champion_ms else None),
    )


def ports_of(network: LiteRtNetwork) -> Ports:
    """Return the inputs and outputs of a network's LiteRT files."""
    read_runner = Runner(network.read)
    if network.step is None:
        return Ports(read_runner.inputs, read_runner.outputs)
    step = Runner(network.step)
    return Ports(read_runner.inputs, read_runner.outputs, step.inputs, step.outputs)


def milliseconds(
    networks: Sequence[LiteRtNetwork], clock: Callable[[], float] = time.thread_time
) -> list[float]:
    """Return each network's median time to read one event and answer once, in milliseconds.

    Args:
        networks: networks that are called in turns.
        clock: returns seconds; by default the CPU time of this thread, which other load on the
            machine hardly affects.
    """
    calls = [_call_of(network) for network in networks]
    durations: list[list[float]] = [[] for _ in networks]
    for call in calls:
        call()  # warm-up: the first call is slow
    for _ in range(ROUNDS):
        for call, of_network in zip(calls, durations, strict=True):
            for _ in range(CALLS):
                start = clock()
                call()
                of_network.append(clock() - start)
    return [1e3 * float(np.median(of_network)) for of_network in durations]


def _call_of(network: LiteRtNetwork) -> Callable[[], None]:
    """Return a function that reads one event and answers once; zeros take as long as any value."""
    runners = [Runner(model) for model in network if model is not None]
    rows = [{n: np.zeros((1, width), np.float32) for n, width in r.inputs.items()} for r in runners]

    def call() -> None:
        for runner, row in zip(runners, rows, strict=True):
            runner(row)

    return call
