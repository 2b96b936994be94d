"""Networks: each module builds untrained ones under one interface, `Network`."""

from dataclasses import dataclass
from typing import Any

from sensei.contracts import EVENT_INPUTS, KINDS, Input

Model = Any
"""A `keras.Model`; Keras carries no types, and importing it takes seconds."""

Tensor = Any
"""A symbolic Keras tensor."""


@dataclass(frozen=True)
class Network:
    """A network in the pieces that training, export and serving run.

    Attributes:
        read: named inputs -> named answers: what is asked at a request.
        scores: the same inputs -> the answers before softmax or sigmoid, under the same names;
            what is fitted. None where nothing is fitted batch by batch.
        step: {"state": (n, s), "event": (n, 9)} -> {"next_state": (n, s)}; None without a state.
        unroll: (n, l, 9) events -> (n, l, s): the state after each, by the weights of `step`.
    """

    read: Model
    scores: Model = None
    step: Model = None
    unroll: Model = None

    @property
    def state(self) -> int:
        """Width of the hidden state; 0 without one."""
        return int(self.step.input["state"].shape[-1]) if self.step else 0

    @property
    def model(self) -> Model:
        """All of it as one Keras model, as the registry keeps it."""
        if self.step is None:
            return self.read
        import keras

        given = {name: like(tensor, name) for name, tensor in self.read.input.items()}
        given["event"] = like(self.step.input["event"], "event")
        after = self.step({"state": given["state"], "event": given["event"]})
        # exactly its inputs: with one name too many Keras would match them by their order
        answer = self.read({name: given[name] for name in self.read.input})
        return keras.Model(given, {**answer, **after}, name=self.read.name)


def like(tensor: Tensor, name: str) -> Tensor:
    """An input of the same width under a name."""
    import keras

    return keras.Input(tensor.shape[1:], name=name)


def slots(values: Tensor, topics: int) -> Tensor:
    """Turn topic slots that arrive as floats into integers; what is no slot here becomes 0.

    A learner may have met topics that came after training: they must not index outside a table.

    Args:
        values: (...,) float32 slots.
        topics: number of topics with a slot, 1..topics.

    Returns:
        (...,) int32 in [0, topics].
    """
    from keras import ops

    whole = ops.cast(values, "int32")
    # as functions: == on symbolic tensors compares identity, not numbers
    known = ops.logical_and(ops.greater_equal(whole, 0), ops.less_equal(whole, topics))
    return ops.where(known, whole, ops.zeros_like(whole))


def columns(contract: tuple[Input, ...], *units: str) -> list[int]:
    """Places of the inputs of some units in a vector."""
    return [i for i, each in enumerate(contract) if each.unit in units]


def recurrent(units: int, topic: Model, topics: int, numbers: int, drop: float) -> tuple[Any, Any]:
    """A gated recurrent unit over learning events, once over sequences and once a step.

    Source: Cho et al. 2014 (EMNLP); for recommendation Hidasi et al. 2016 (ICLR), for knowledge
    tracing Piech et al. 2015 (NIPS).

    Args:
        units: width of the state.
        topic: embedding of the topics, shared with the rest of the network.
        topics: number of topics with a slot.
        numbers: how many of `contracts.EVENT_INPUTS` after topic and kind are read.
        drop: share of the topic's embedding dropped in training.

    Returns:
        `unroll` and `step` of a `Network`.
    """
    import keras
    from keras import ops

    kind = keras.layers.Embedding(len(KINDS) + 1, 4)
    dropout = keras.layers.Dropout(drop)
    layer = keras.layers.GRU(units, return_sequences=True)

    def read(event: Tensor) -> Tensor:
        known = dropout(topic(slots(event[..., 0], topics)))
        # counts and seconds arrive as logarithms of up to 30
        scale = [0.25 if each.unit.startswith("log") else 1.0 for each in EVENT_INPUTS]
        rest = event[..., 2 : 2 + numbers] * ops.array(scale[2 : 2 + numbers], "float32")
        return ops.concatenate([known, kind(slots(event[..., 1], len(KINDS))), rest], axis=-1)

    events = keras.Input((None, len(EVENT_INPUTS)), name="events")
    unroll = keras.Model(events, layer(read(events)), name="unroll")
    event = keras.Input((len(EVENT_INPUTS),), name="event")
    state = keras.Input((units,), name="state")
    after, _ = layer.cell(read(event), [state])
    step = keras.Model({"state": state, "event": event}, {"next_state": after}, name="step")
    return unroll, step
