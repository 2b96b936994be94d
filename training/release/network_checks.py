"""Checks of an exported network: schema, parity and latency."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from sensei.bundle.bundle_format import LiteRtNetwork
from sensei.bundle.runtime import Runner
from sensei.model_name import ModelName
from training.release.export import Exported
from training.release.serving_checks import Ports, ServingCheck, latency, parity, schema

ROUNDS, CALLS = 10, 30
"""Number of rounds, and calls per network in each round; alternation spreads short disturbances."""


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
    ours, *theirs = milliseconds([exported.network, *([champion] if champion else [])])
    return (
        schema(model_name, ports_of(exported.network), topics, slots),
        parity(exported.parity),
        latency(ours, theirs[0] if theirs else None),
    )


def ports_of(network: LiteRtNetwork) -> Ports:
    """Return the inputs and outputs of a network's LiteRT files."""
    read = Runner(network.read)
    if network.step is None:
        return Ports(read.inputs, read.outputs)
    step = Runner(network.step)
    return Ports(read.inputs, read.outputs, step.inputs, step.outputs)


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
    runners = [Runner(part) for part in network if part is not None]
    rows = [{n: np.zeros((1, width), np.float32) for n, width in r.inputs.items()} for r in runners]

    def call() -> None:
        for runner, row in zip(runners, rows, strict=True):
            runner(row)

    return call
