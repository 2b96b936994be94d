"""Batched prediction with a bundle as in serving: LiteRT, its statistics, event by event."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from sensei.bundle.bundle_format import Bundle
from training.data.batching import BatchFeed
from training.scores import Answers, Predict

CELLS = 2_048
"""Approximate number of events per batch, padding included."""


def answers_of(bundle: Bundle, name: str) -> Predict:
    """Return the prediction function of one model of a bundle.

    Args:
        bundle: the bundle.
        name: `recommendation` or `difficulty`.
    """
    vector = name

    def predict(rows: Examples) -> Answers:
        feed = BatchFeed(rows, vector)
        names = set(bundle.manifest.models[name].inputs)
        for chosen in feed.batches(CELLS, CELLS):
            inputs = feed.inputs(chosen, names)
            if "events" in inputs:
                states = np.stack(list(_states(bundle, name, inputs.pop("events"))), axis=1)
                inputs["state"] = states.reshape(-1, states.shape[-1])[inputs.pop("place")]
            yield chosen, bundle.answer(name, inputs)

    return predict


def _states(
    bundle: Bundle, name: str, events: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Yield (learners, s) states after 0, 1, ... events."""
    start = bundle.start(name)
    assert start is not None
    state = np.repeat(start, len(events), axis=0)
    yield state
    for at in range(events.shape[1]):
        state = bundle.advance(name, state, np.ascontiguousarray(events[:, at]))
        yield state
