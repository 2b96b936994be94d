"""Export of a Keras model to LiteRT for serving, and the parity check of both."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensei.bundle import bundle_format
from sensei.bundle.runtime import Runner
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    EVENT_INPUTS,
    ITEM_INPUTS,
    RECOMMENDATION_INPUTS,
    SUCCESS_INPUTS,
    TOPIC_INPUTS,
    Input,
)
from sensei.errors import ParityFailed
from sensei.model_name import ModelName
from sensei.native_stderr import without_lines
from training.architectures import Network
from training.data.batching import BatchFeed
from training.tensorflow_import import IMPORT_NOISE, import_tensorflow

if TYPE_CHECKING:
    import keras

Rows = Mapping[str, NDArray[np.float32]]

MAX_ROWS = 2_000
"""Maximum number of held-out rows in the parity check."""

TOLERANCE = 1e-5
"""Maximum difference to Keras in any answer, for rows of the log."""

EDGE_FACTOR = 10.0
"""Factor on the tolerance at the extremes of the inputs.

Single precision has about seven digits, so the error grows with the scores.
"""

_CHUNK = 1_000  # rows per Keras call: limits memory with many topics

EXPORT_NOISE = (
    *IMPORT_NOISE,
    b"dump_mlir_util.cc",
    b"tf_tfl_flatbuffer_helpers.cc",
    b"reader.cc",
    b"loader.cc",
    b"mlir_graph_optimization_pass.cc",
    b"single_machine.cc",
    b"devices.cc",
    b"flatbuffer_export.cc",
)


def to_litert(model: "keras.Model") -> bytes:
    """Convert a model with named inputs and outputs; the names are kept.

    Args:
        model: built as `keras.Model({name: input, ...}, {name: output, ...})`.

    Returns:
        The LiteRT file, float32 throughout, any batch size.
    """
    tensorflow = import_tensorflow()
    with tempfile.TemporaryDirectory() as folder, without_lines(*EXPORT_NOISE):
        model.export(folder, format="tf_saved_model", verbose=False)
        content: bytes = tensorflow.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def check_parity(
    model: "keras.Model", litert: bytes, inputs: Rows, tolerance: float = TOLERANCE
) -> float:
    """Compare an exported model with Keras, in batches and row by row as in serving.

    Args:
        model: the Keras model.
        litert: its export.
        inputs: name -> (n, width) held-out rows; the first 2,000 are used, and extremes are added.
        tolerance: maximum difference in any output, for rows of the log. At the extremes, where
            scores are in the hundreds, `EDGE_FACTOR` times as much is allowed.

    Returns:
        The largest difference.

    Raises:
        ParityFailed: the difference is larger, or an answer is not a finite number.
    """
    rows = {name: np.ascontiguousarray(inputs[name][:MAX_ROWS], np.float32) for name in model.input}
    runner = Runner(litert)
    largest_gap = 0.0
    for data, checked, allowed in (
        ("held-out rows", rows, tolerance),
        ("the edges of the contract", extremes(rows), EDGE_FACTOR * tolerance),
    ):
        gap = _worst(model, runner, checked)
        if gap > allowed:
            raise ParityFailed(
                f"export of {model.name}: expected answers within {allowed:g} of Keras on {data}, "
                f"got {gap:g}; do not serve this version, keep the champion"
            )
        largest_gap = max(largest_gap, gap)
    return largest_gap


def _worst(model: "keras.Model", runner: Runner, rows: Rows) -> float:
    """Return the largest difference over calls in batches and row by row."""
    count = len(next(iter(rows.values())))
    largest_gap = 0.0
    for start in range(0, count, _CHUNK):
        chunk = {name: values[start : start + _CHUNK] for name, values in rows.items()}
        expected = {name: np.asarray(y) for name, y in model(chunk, training=False).items()}
        singles = [
            runner({name: values[row : row + 1] for name, values in chunk.items()})
            for row in range(min(_CHUNK, count - start))
        ]
        joined = {name: np.concatenate([answer[name] for answer in singles]) for name in singles[0]}
        largest_gap = max(largest_gap, _gap(expected, runner(chunk)), _gap(expected, joined))
    return largest_gap


def _gap(expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]]) -> float:
    """Return the largest absolute difference; infinity if an answer is missing or not finite."""
    if expected.keys() != actual.keys():
        return float("inf")
    gaps = [np.abs(expected[name] - actual[name]).max() for name in expected]
    return float(max(gaps)) if np.isfinite(gaps).all() else float("inf")


def extremes(rows: Rows) -> dict[str, NDArray[np.float32]]:
    """Return rows at the limits of the contract: zeros, all low, all high, each input high alone.

    A slot is 0 (unknown) at its low end and the largest slot of the rows at its high end. Serving
    never passes another value: it maps every topic to a slot of the vocabulary or to 0.

    Args:
        rows: name -> (n, width) rows that contain the slots in use.

    Returns:
        Name -> (m, width), the same m for all names.
    """
    edges = {
        name: _edges(contract_of(name, values.shape[1]), values) for name, values in rows.items()
    }
    count = max(len(edge) for edge in edges.values())
    return {name: np.resize(edge, (count, edge.shape[1])) for name, edge in edges.items()}


def contract_of(name: str, width: int) -> tuple[Input, ...]:
    """Return the contract of a model's input; of one topic if the input repeats it per topic."""
    if name == "inputs":
        is_recommendation = width == len(RECOMMENDATION_INPUTS)
        name = ModelName.RECOMMENDATION if is_recommendation else ModelName.DIFFICULTY
    unknown = Input(name, "", -1, 1, "")
    return _CONTRACTS.get(name, (unknown,) * width)


_CONTRACTS = {
    ModelName.RECOMMENDATION: RECOMMENDATION_INPUTS,
    "context": RECOMMENDATION_INPUTS,
    ModelName.DIFFICULTY: DIFFICULTY_INPUTS,
    "topics": TOPIC_INPUTS,
    "event": EVENT_INPUTS,
    "free": SUCCESS_INPUTS,
    "item": ITEM_INPUTS,
    "topic": (Input("topic", "topic slot", 0, 0, ""),),
}


def _edges(contract: tuple[Input, ...], values: NDArray[np.float32]) -> NDArray[np.float32]:
    repeated = values.shape[1] // len(contract)
    largest_seen = values[:, : len(contract)].max(axis=0, initial=0)
    low = np.array([i.low for i in contract], np.float32)
    high = np.array([s if i.is_id else i.high for i, s in zip(contract, largest_seen, strict=True)])
    zeros = np.zeros_like(low)
    single_extremes = np.where(np.eye(len(contract), dtype=bool), high, zeros)
    return np.tile(np.vstack([zeros, low, high, single_extremes]), repeated).astype(np.float32)


@dataclass(frozen=True)
class Exported:
    """Exported network as serving runs it.

    Attributes:
        network: its LiteRT files.
        parity: largest difference to Keras in any answer and any step.
    """

    network: bundle_format.LiteRtNetwork
    parity: float


def export(network: Network, feed: BatchFeed) -> Exported:
    """Convert a network and compare it with Keras on held-out rows.

    Args:
        network: a trained network.
        feed: held-out rows; the first `MAX_ROWS` are used.

    Raises:
        ParityFailed: LiteRT and Keras give different answers.
    """
    sample_rows = np.arange(min(len(feed.rows), MAX_ROWS))
    inputs = feed.inputs(sample_rows, set(network.read.input))
    read_model, step = to_litert(network.read), None
    if network.step is not None:
        states, events = _states(network, inputs.pop("events"))
        inputs["state"] = states[inputs.pop("place")]
        step = to_litert(network.step)
        step_arrays = {"state": states[: len(events)], "event": events}
        step_gap = check_parity(network.step, step, step_arrays)
    else:
        step_gap = 0.0
    return Exported(
        bundle_format.LiteRtNetwork(read_model, step),
        max(step_gap, check_parity(network.read, read_model, inputs)),
    )


def _states(
    network: Network, events: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (learners * (longest + 1), s) states after 0, 1, ... events, and one event per row."""
    states_after = np.asarray(network.unroll(events))
    all_states = np.pad(states_after, ((0, 0), (1, 0), (0, 0)))
    return all_states.reshape(-1, network.state), events.reshape(-1, events.shape[-1])
