"""Network architectures: each module builds untrained networks with one interface, `Network`."""

from dataclasses import dataclass
from typing import Any

from sensei.contracts import EVENT_INPUTS, KINDS, Input

Model = Any
"""Type of a `keras.Model`; Keras has no type hints, and importing it takes seconds."""

Tensor = Any
"""Type of a symbolic Keras tensor."""


@dataclass(frozen=True)
class Network:
    """Network in the parts that training, export and serving use.

    Attributes:
        read: named inputs -> named answers; runs on each request.
        scores: the same inputs -> the answers before softmax or sigmoid, under the same names.
            Training fits this part. None if no batch-wise fit is needed.
        step: {"state": (n, s), "event": (n, 9)} -> {"next_state": (n, s)}; None without a state.
        unroll: (n, l, 9) events -> (n, l, s), the state after each event; shares the weights of
            `step`.
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
        """Whole network as one Keras model, for the model registry."""
        if self.step is None:
            return self.read
        import keras

        inputs = {name: like(tensor, name) for name, tensor in self.read.input.items()}
        inputs["event"] = like(self.step.input["event"], "event")
        after = self.step({"state": inputs["state"], "event": inputs["event"]})
        # exactly its inputs: with an extra name Keras would match them by order
        answer = self.read({name: inputs[name] for name in self.read.input})
        return keras.Model(inputs, {**answer, **after}, name=self.read.name)


def like(tensor: Tensor, name: str) -> Tensor:
    """Return a Keras input with the width of a tensor and a given name."""
    import keras

    return keras.Input(tensor.shape[1:], name=name)


def slots(values: Tensor, topics: int) -> Tensor:
    """Turn topic slots that arrive as floats into integers; an invalid slot becomes 0.

    A learner may have studied topics that were added after training. Their slots must not index
    outside a table.

    Args:
        values: (...,) float32 slots.
        topics: number of topics with a slot, 1..topics.

    Returns:
        (...,) int32 in [0, topics].
    """
    from keras import ops

    whole = ops.cast(values, "int32")
    # functions, because == on symbolic tensors compares identity, not values
    valid = ops.logical_and(ops.greater_equal(whole, 0), ops.less_equal(whole, topics))
    return ops.where(valid, whole, ops.zeros_like(whole))


def columns(contract: tuple[Input, ...], *units: str) -> list[int]:
    """Return the positions in a vector of the inputs with some units."""
    return [i for i, declared in enumerate(contract) if declared.unit in units]


def recurrent(units: int, topic: Model, topics: int, numbers: int, drop: float) -> tuple[Any, Any]:
    """Build a gated recurrent unit over learning events, for whole sequences and for single steps.

    Source: Cho et al. 2014 (EMNLP); for recommendation Hidasi et al. 2016 (ICLR), for knowledge
    tracing Piech et al. 2015 (NIPS).

    Args:
        units: width of the state.
        topic: embedding of the topics, shared with the rest of the network.
        topics: number of topics with a slot.
        numbers: number of inputs of `contracts.EVENT_INPUTS` read after topic and kind.
        drop: dropout rate of the topic's embedding in training.

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
        scale = [0.25 if declared.unit.startswith("log") else 1.0 for declared in EVENT_INPUTS]
        rest = event[..., 2 : 2 + numbers] * ops.array(scale[2 : 2 + numbers], "float32")
        return ops.concatenate([known, kind(slots(event[..., 1], len(KINDS))), rest], axis=-1)

    events = keras.Input((None, len(EVENT_INPUTS)), name="events")
    unroll = keras.Model(events, layer(read(events)), name="unroll")
    event = keras.Input((len(EVENT_INPUTS),), name="event")
    state = keras.Input((units,), name="state")
    after, _ = layer.cell(read(event), [state])
    step = keras.Model({"state": state, "event": event}, {"next_state": after}, name="step")
    return unroll, step
