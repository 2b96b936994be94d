"""Batched prediction with a bundle as in serving: LiteRT, its statistics, event by event."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from sensei.bundle.bundle_format import Bundle
from sensei.model_name import ModelName
from training.data.batching import BatchFeed
from training.scores import Answers, Predict

CELLS = 2_048
"""Approximate number of events per batch, padding included."""


def answers_of(bundle: Bundle, model_name: ModelName) -> Predict:
    """Return the prediction function of one model of a bundle.

    Args:
        bundle: the bundle.
        model_name: the model.
    """

    def predict(rows: Examples) -> Answers:
        feed = BatchFeed(rows, model_name)
        names = set(bundle.manifest.models[model_name].inputs)
        for batch_rows in feed.batches(CELLS, CELLS):
            inputs = feed.inputs(batch_rows, names)
            if "events" in inputs:
                states = np.stack(list(_states(bundle, model_name, inputs.pop("events"))), axis=1)
                inputs["state"] = states.reshape(-1, states.shape[-1])[inputs.pop("place")]
            yield batch_rows, bundle.answer(model_name, inputs)

    return predict


def _states(
    bundle: Bundle, model_name: ModelName, events: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Yield (learners, s) states after 0, 1, ... events."""
    start = bundle.start(model_name)
    assert start is not None
    state = np.repeat(start, len(events), axis=0)
    yield state
    for position in range(events.shape[1]):
        state = bundle.advance(model_name, state, np.ascontiguousarray(events[:, position]))
        yield state
