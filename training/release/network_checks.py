"""Checks of an exported network: schema, parity and latency."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from sensei.bundle.bundle_format import LiteRtNetwork
from sensei.bundle.runtime import Runner
from training.release.export import Exported
from training.release.serving_checks import Ports, ServingCheck, latency, parity, schema

ROUNDS, CALLS = 10, 30
"""Number of rounds, and calls per network in each round; alternation spreads short disturbances."""


def fitness(
    model: str, exported: Exported, topics: int, slots: int, champion: LiteRtNetwork | None
) -> tuple[ServingCheck, ...]:
    """Run the checks that a challenger must pass to serve.

    Args:
        model: `recommendation` or `difficulty`.
        exported: the challenger.
        topics: number of topics in its vocabulary.
        slots: number of slots in its statistics: topics and spare ones.
        champion: the serving network; None without one.
    """
    ours, *theirs = milliseconds([exported.network, *([champion] if champion else [])])
    return (
        schema(model, ports_of(exported.network), topics, slots),
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
    asked = [_asking(each) for each in networks]
    took: list[list[float]] = [[] for _ in networks]
    for ask in asked:
        ask()  # warm-up: the first call is slow
    for _ in range(ROUNDS):
        for ask, times in zip(asked, took, strict=True):
            for _ in range(CALLS):
                start = clock()
                ask()
                times.append(clock() - start)
    return [1e3 * float(np.median(times)) for times in took]


def _asking(network: LiteRtNetwork) -> Callable[[], None]:
    """Return a function that reads one event and answers once; zeros take as long as any value."""
    runners = [Runner(part) for part in network if part is not None]
    rows = [{n: np.zeros((1, width), np.float32) for n, width in r.inputs.items()} for r in runners]

    def ask() -> None:
        for runner, row in zip(runners, rows, strict=True):
            runner(row)

    return ask
