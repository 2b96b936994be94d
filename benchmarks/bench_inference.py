"""Benchmark of inference at batch size 1 in the bundle's runtime: CPU time of read and advance.

`inputs` is the time that serving spends in Python and NumPy to build the network's inputs.
"""

import os
import time
from collections.abc import Callable
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from features.corpus.context import Corpus
from features.corpus.popularity import SlotPopularity
from features.corpus.statistics import Statistics
from features.history import History
from sensei.bundle.runtime import Runner
from training.architectures import Network, blend, reference, sequence
from training.release.export import import_tensorflow, to_litert

ROUNDS, CALLS = 7, 300
EVENTS = 200


def statistics(topics: int) -> Statistics:
    """Create statistics in which each topic is followed by twenty topics."""
    rng = np.random.default_rng(0)
    topic_counts = np.full(topics, 100, np.int64)
    no_counts = np.empty(0, np.int64)
    context = np.repeat(np.arange(topics + 1), 20)
    slot = np.concatenate([rng.permutation(topics)[:20] + 1 for _ in range(topics + 1)])
    return Statistics(
        topic_ids=np.arange(1, topics + 1),
        topic_events=topic_counts,
        topic_attempts=topic_counts,
        topic_passes=topic_counts // 2,
        plain_attempts=topic_counts,
        plain_passes=topic_counts // 2,
        item_ids=np.empty(0, np.str_),
        item_attempts=no_counts,
        item_passes=no_counts,
        trained_until=np.array(0),
        context=context,
        slot=slot,
        count=np.ones(len(slot), np.int64),
    )


def microseconds(work: Callable[[], object]) -> float:
    """Measure the CPU time per call in microseconds: median over rounds of the mean over calls."""
    means = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            work()
        means.append(1e6 * (time.process_time() - started) / CALLS)
    return median(means)


def runtime(network: Network) -> tuple[float, float]:
    """Measure one read and one advance, in microseconds; 0 without a state."""
    rng = np.random.default_rng(0)

    def once(model: object) -> float:
        runner = Runner(to_litert(model))
        inputs = {n: rng.random((1, w), np.float32) for n, w in runner.inputs.items()}
        return microseconds(lambda: runner(inputs))

    return once(network.read), once(network.step) if network.step else 0.0


def building(topics: int) -> float:
    """Measure building the network's inputs for a learner with `EVENTS` events (microseconds)."""
    corpus = Corpus(statistics(topics), SlotPopularity.nothing(statistics(topics)))
    rng = np.random.default_rng(1)
    history = History.of(
        ("quiz_complete", int(t), 1.0, 60.0, 60_000_000 * i)
        for i, t in enumerate(rng.integers(1, 60, EVENTS))
    )
    now = 60_000_000 * EVENTS

    def work() -> None:
        history.recommendation_inputs(now, corpus)
        corpus.topics(history, now)

    return microseconds(work)


def main() -> None:
    import_tensorflow()
    inputs = np.random.default_rng(0).random((1000, 20), np.float32)
    for topics in (150, 500):
        width = statistics(topics).width
        networks = {
            name: sequence.recommendation(inputs, topics, width, size, name)
            for name, size in (
                ("history", sequence.SequenceSize(state=0)),
                ("sequence", sequence.SequenceSize()),
            )
        }
        networks["blend"] = blend.of([networks["history"], networks["sequence"]], "blend")
        networks["reference"] = Network(reference.recommendation(inputs, topics))
        print(f"{topics} topics, {width} slots; inputs {building(topics):.0f} us")
        for name, network in networks.items():
            read, step = runtime(network)
            times = f"read {read:6.1f} us, advance {step:5.1f} us, sum {read + step:6.1f}"
            print(f"  {name:12} {times}")


if __name__ == "__main__":
    main()
