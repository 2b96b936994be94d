"""Measuring an exported network: what it reads and answers, and how long one answer takes."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from sensei.bundle.bundle_format import LiteRtNetwork
from sensei.bundle.runtime import Runner
from training.release.export import Exported
from training.release.serving_checks import Ports, ServingCheck, latency, parity, schema

ROUNDS, CALLS = 10, 30
"""Each network is asked so often in a row, in so many turns: noise of a moment meets all alike."""


def fitness(
    model: str, exported: Exported, topics: int, slots: int, champion: LiteRtNetwork | None
) -> tuple[ServingCheck, ...]:
    """Whether a challenger may serve at all.

    Args:
        model: `recommendation` or `difficulty`.
        exported: the challenger.
        topics: of its vocabulary.
        slots: of its statistics: topics and spare ones.
        champion: what serves now; None without one.
    """
    ours, *theirs = milliseconds([exported.network, *([champion] if champion else [])])
    return (
        schema(model, ports_of(exported.network), topics, slots),
        parity(exported.parity),
        latency(ours, theirs[0] if theirs else None),
    )


def ports_of(network: LiteRtNetwork) -> Ports:
    """What LiteRT says of a network's files."""
    read = Runner(network.read)
    if network.step is None:
        return Ports(read.inputs, read.outputs)
    step = Runner(network.step)
    return Ports(read.inputs, read.outputs, step.inputs, step.outputs)


def milliseconds(
    networks: Sequence[LiteRtNetwork], clock: Callable[[], float] = time.thread_time
) -> list[float]:
    """Median time in which each network reads one event and answers once.

    Args:
        networks: asked in turns.
        clock: seconds; by default of CPU time of this thread, which what else the machine does
            hardly changes.
    """
    asked = [_asking(each) for each in networks]
    took: list[list[float]] = [[] for _ in networks]
    for ask in asked:
        ask()  # the first time is the slow one
    for _ in range(ROUNDS):
        for ask, times in zip(asked, took, strict=True):
            for _ in range(CALLS):
                start = clock()
                ask()
                times.append(clock() - start)
    return [1e3 * float(np.median(times)) for times in took]


def _asking(network: LiteRtNetwork) -> Callable[[], None]:
    """One event and one answer; LiteRT takes as long whatever the numbers are."""
    runners = [Runner(part) for part in network if part is not None]
    rows = [{n: np.zeros((1, width), np.float32) for n, width in r.inputs.items()} for r in runners]

    def ask() -> None:
        for runner, row in zip(runners, rows, strict=True):
            runner(row)

    return ask
