"""Networks by name: each is a function that builds an untrained Keras model."""

from typing import Any

Model = Any
"""A `keras.Model`; Keras carries no types, and importing it takes seconds."""

Tensor = Any
"""A symbolic Keras tensor."""


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
