"""Training: rows per CPU second of fitting, counting and ranking, and the growth from 100 k to 1 M.

The fit runs one epoch of the reference network at its batch of 32, and beside it the same without
joining 32 steps in one call. `--large` adds 10 M rows.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from sensei.contracts import RECOMMENDATION_INPUTS
from training import baselines, fit
from training.architectures import reference
from training.export import import_tensorflow
from training.scores import recommendation_predictor, score_recommendation

TOPICS = 500
LEARNER_EVENTS = 150


def cohort(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of learners who mostly walk on from topic to topic."""
    rng = np.random.default_rng(0)
    step = rng.choice([0, 1, 2, 17], rows, p=[0.5, 0.3, 0.15, 0.05])
    topic = (np.cumsum(step) % TOPICS + 1).astype(np.int32)
    inputs = rng.random((rows, len(RECOMMENDATION_INPUTS)), np.float32)
    for back in range(5):
        inputs[:, back] = np.roll(topic, back + 1)
    inputs[:, 5] = inputs[:, 0]
    inputs[:, 6] = 1 + topic % 5
    return inputs, topic


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def report(name: str, rows: int, seconds: float) -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = rows / seconds
    print(f"{name:32} {rows:>10,} rows {rate:>10,.0f} rows/CPU-s, peak {peak:,.0f} MB", flush=True)
    return rate


def one_epoch(inputs: np.ndarray, target: np.ndarray) -> float:
    model = reference.recommendation(inputs, TOPICS)
    few = (inputs[:1000], target[:1000])
    fit.fit_recommendation(model, few, few, seed=0, epochs=1)  # imports and traces
    return cpu_seconds(lambda: fit.fit_recommendation(model, (inputs, target), few, 0, epochs=1))


def counting(inputs: np.ndarray, target: np.ndarray) -> float:
    return cpu_seconds(lambda: baselines.markov_2(inputs, target, TOPICS))


def ranking(inputs: np.ndarray, target: np.ndarray) -> float:
    predict = recommendation_predictor(reference.recommendation(inputs[:1000], TOPICS))
    return cpu_seconds(lambda: score_recommendation(predict, Rows(inputs, target), TOPICS))


class Rows(SimpleNamespace):
    """As much of Examples as ranking reads, without a log behind it."""

    def __init__(self, inputs: np.ndarray, target: np.ndarray) -> None:
        last = inputs[:, 0].astype(np.int32)
        super().__init__(
            recommendation=inputs,
            target=target,
            last_topic=last,
            topic_id=target,
            last_topic_id=last,
            learner=np.arange(len(target)) // LEARNER_EVENTS,
        )

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: np.ndarray) -> "Rows":
        return Rows(self.recommendation[rows], self.target[rows])


def main() -> None:
    """Print one line a measurement, and ratios of things run in turn."""
    import_tensorflow()
    small, sizes = 100_000, [1_000_000] + ([10_000_000] if "--large" in sys.argv else [])
    inputs, target = cohort(small)
    rates = {
        "fit": report("fit, 32 steps in a call", small, one_epoch(inputs, target)),
        "count": report("count markov_2", small, counting(inputs, target)),
        "rank": report(f"rank all {TOPICS} topics", small, ranking(inputs, target)),
    }
    joined, fit.STEPS_PER_CALL = fit.STEPS_PER_CALL, 1
    alone = report("fit, one step in a call (peer)", small, one_epoch(inputs, target))
    fit.STEPS_PER_CALL = joined
    print(f"  joined steps are {rates['fit'] / alone:.2f} times as fast")
    for rows in sizes:
        inputs, target = cohort(rows)
        for name, work in (("count", counting), ("rank", ranking), ("fit", one_epoch)):
            rate = report(name, rows, work(inputs, target))
            print(f"  {rate / rates[name]:.2f} of the rate at {small:,} rows")


if __name__ == "__main__":
    main()
