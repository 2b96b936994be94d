"""Success network: probability of a pass at each level, with or without a known item.

overall = base + linear(learner, topic) + f(learner, topic); at a level = overall + g(f's layer,
item). The base is the learner's shrunk proficiency in log odds, so the network learns a correction
to it. g adds the item's own log odds if an item is known, and decreases with the level. So a harder
quiz never gets a higher probability. `levels` is the same without the item, as in serving;
`overall` needs neither item nor level.

Sources: Pavlik et al. 2009 (AIED, PFA) and Gervet et al. 2020 (JEDM, Best-LR) for the inputs;
Piech et al. 2015 (NIPS, DKT) for the recurrent state.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    ITEM_INPUTS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    SUCCESS_INPUTS,
    place,
)
from sensei.model_name import ModelName
from training.architectures import Network, Tensor, recurrent, slots
from training.architectures.reference import scaled
from training.data.batching import BatchFeed

KNOWN, ITEM_LOGIT = (place(ITEM_INPUTS, name) for name in ("known", "item_logit"))
PROFICIENCY = place(DIFFICULTY_INPUTS, "proficiency_logit")

SCALED_ROWS = 100_000
"""Approximate number of rows on which the scalers are fitted."""


@dataclass(frozen=True)
class SuccessSize:
    """Inputs and widths of a network.

    Attributes:
        items: if True, a known item is an input.
        topic: dimensions of the topic's embedding; 0 for no topic input.
        history: if True, the twenty inputs of the recommendation model are inputs as well.
        state: units of the recurrent state; 0 for no event sequence.
        hidden: units of the first layer.
        item_hidden: units of the layer that reads the item.
        drop: dropout rate in training.
    """

    items: bool = True
    topic: int = 24
    history: bool = True
    state: int = 0
    hidden: int = 128
    item_hidden: int = 64
    drop: float = 0.25


def difficulty(rows: Examples, topics: int, size: SuccessSize, name: str) -> Network:
    """Build the untrained network.

    Args:
        rows: training attempts, on which the scalers are fitted.
        topics: number of topics with a slot.
        size: inputs and widths.
        name: name of the model.

    Returns:
        Network of {"inputs": (n, 4), "free": (n, 18), "item": (n, 3)} and, depending on `size`,
        "topic" (n, 1) slot, "context" (n, 20) and "state". It answers {"success": (n, 3) at each
        level, "levels": (n, 3) the same without the item, "overall": (n, 1)}.
    """
    import keras
    from keras import ops

    seen = _sample(rows)
    named = {"inputs": keras.Input((len(DIFFICULTY_INPUTS),), name="inputs")}
    parts = [scaled(named["inputs"], seen["inputs"], DIFFICULTY_INPUTS)]
    for is_read, key, contract in (
        (True, "free", SUCCESS_INPUTS),
        (size.history, "context", RECOMMENDATION_INPUTS),
    ):
        if is_read:
            named[key] = keras.Input((len(contract),), name=key)
            parts.append(scaled(named[key], seen[key], contract))
    wide = keras.layers.Dense(1, name="wide")(ops.concatenate(parts, axis=1))
    named["item"] = keras.Input((len(ITEM_INPUTS),), name="item")
    table = keras.layers.Embedding(topics + 1, size.topic or 8, name="topics")
    if size.topic:
        named["topic"] = keras.Input((1,), name="topic")
        parts.append(keras.layers.Dropout(size.drop)(table(slots(named["topic"][:, 0], topics))))
    unroll = step = None
    if size.state:
        named["state"] = keras.Input((size.state,), name="state")
        unroll, step = recurrent(size.state, table, topics, 6, 0.1)
        parts.append(keras.layers.Dropout(size.drop)(named["state"]))
    h = keras.layers.Dense(size.hidden, activation="relu")(ops.concatenate(parts, axis=1))
    h = keras.layers.Dropout(size.drop)(h)
    proficiency = named["inputs"][:, PROFICIENCY : PROFICIENCY + 1]
    overall = keras.layers.Dense(1, name="over_all")(h) + wide + proficiency
    item = named["item"] if size.items else named["item"] * 0.0
    at_levels = _at_levels(h, overall, seen["item"], size)
    answers = {
        "success": at_levels(item),
        "levels": at_levels(item * 0.0),
        "overall": overall,
    }
    scores = keras.Model(named, answers, name=name)
    probabilities = {key: ops.sigmoid(score) for key, score in answers.items()}
    return Network(keras.Model(named, probabilities, name=name), scores, step, unroll)


def _at_levels(
    h: Tensor, overall: Tensor, seen: NDArray[np.float32], size: SuccessSize
) -> Callable[[Tensor], Tensor]:
    """Return a function of (n, 3) items that gives (n, 3) log odds at each level.

    These are the overall log odds plus the contributions of level and item.
    """
    import keras

    learner = keras.layers.Dense(size.item_hidden)(h)
    task = keras.layers.Dense(size.item_hidden, use_bias=False)
    easiest = keras.layers.Dense(1, name="easiest")
    falls = keras.layers.Dense(len(LEVELS) - 1, activation="softplus", name="falls")

    def odds(item: Tensor) -> Tensor:
        known = item[:, KNOWN : KNOWN + 1]
        about = keras.ops.concatenate([scaled(item, seen, ITEM_INPUTS) * known, known], axis=1)
        mixed = keras.ops.relu(learner + task(about))
        fallen = keras.ops.cumsum(falls(mixed), axis=1)
        level = easiest(mixed) - keras.ops.pad(fallen, ((0, 0), (1, 0)))
        return level + overall + item[:, ITEM_LOGIT : ITEM_LOGIT + 1]

    return odds


def _sample(rows: Examples) -> dict[str, NDArray[np.float32]]:
    chosen = np.arange(0, len(rows), max(1, len(rows) // SCALED_ROWS))
    return BatchFeed(rows, ModelName.DIFFICULTY).inputs(
        chosen, ("inputs", "context", "free", "item")
    )
