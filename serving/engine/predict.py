"""Direct predictions: the caller sends the inputs by name or as a vector of numbers.

A network may read more than the inputs of the contract: topic features or a hidden state. Callers
cannot send these. They take the values of a learner without events, and `assumed` in the answer
lists them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.history import History
from features.input_indices import LAST, PRIORS
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    LEVELS,
    MAX_ROWS,
    RECOMMENDATION_INPUTS,
    TOPIC_INPUTS,
    Input,
    place,
)
from sensei.errors import InvalidInput
from serving.engine.difficulty import at_levels
from serving.state.folded_learner import Learner
from serving.state.model import Inputs, Model

CONTRACTS = {"recommendation": RECOMMENDATION_INPUTS, "difficulty": DIFFICULTY_INPUTS}

_LAST_TOPICS = [place(RECOMMENDATION_INPUTS, f"last_topic_{back}") for back in (1, 2)]
_EVENTS = place(RECOMMENDATION_INPUTS, "log_events")
_NO_TOPIC = -1  # has no slot in any vocabulary


def predict(model: Model, features: Any, name: str | None, now_us: int) -> dict[str, Any]:
    """Return a model's predictions for given inputs.

    Args:
        model: the served model.
        features: one row or a list of rows; a row is an object of all inputs by name, or a list of
            numbers in the contract's order.
        name: `recommendation`, `difficulty`, or the candidate that serves as one of them; by
            default the model whose contract matches the inputs.
        now_us: microseconds since 1970.

    Returns:
        See `serving.api.response_schemas.PredictResponse`.

    Raises:
        InvalidInput: the model does not exist, or the inputs do not match the contract.
    """
    rows = _rows(features)
    chosen = _chosen(model, name, rows[0])
    values = np.array([_row(row, CONTRACTS[chosen]) for row in rows], np.float32)
    if chosen == "recommendation":
        inputs = _recommendation(model, values, now_us)
        predictions = model.probabilities(inputs)
        ids = model.corpora[chosen].topic_ids
        columns: list[Any] = [ids[index] for index in np.flatnonzero(model.taken)]
        predictions = predictions[:, model.taken]
    else:
        inputs = _difficulty(model, values, now_us)
        predictions, columns = at_levels(model.difficulty(inputs)), list(LEVELS)
    return {
        "predictions": predictions.tolist(),
        "columns": columns,
        "assumed": sorted(set(model.wants(chosen)) - {"inputs"}),
        **model.source(chosen),
    }


def _rows(features: Any) -> Sequence[Any]:
    rows = features if _is_batch(features) else [features]
    if not 1 <= len(rows) <= MAX_ROWS:
        raise InvalidInput(
            f"features: expected 1 to {MAX_ROWS} rows, got {len(rows)}; send them in parts"
        )
    return rows


def _is_batch(features: Any) -> bool:
    return isinstance(features, list) and all(isinstance(row, list | dict) for row in features)


def _chosen(model: Model, name: str | None, row: Any) -> str:
    """Return the name of the requested model, `recommendation` or `difficulty`.

    Raises:
        InvalidInput: no served model has that name.
    """
    candidates = {kind: model.source(kind)["model"] for kind in CONTRACTS if kind in model.corpora}
    named = [kind for kind, candidate in candidates.items() if name in (kind, candidate, None)]
    if not named:
        names = ", ".join(dict.fromkeys([*candidates, *candidates.values()]))
        raise InvalidInput(
            f"model: expected one in use ({names}), got {name!r:.80}; send one of these"
        )
    fitting = [kind for kind in named if _fits(row, CONTRACTS[kind])]
    return (fitting or named)[0]


def _fits(row: Any, contract: tuple[Input, ...]) -> bool:
    if isinstance(row, dict):
        return any(column.name in row for column in contract)
    return isinstance(row, list) and len(row) == len(contract)


def _row(row: Any, contract: tuple[Input, ...]) -> list[float]:
    """Return the numbers of a row in the contract's order.

    Raises:
        InvalidInput: the names, the length or a number do not match the contract.
    """
    if isinstance(row, dict):
        row = _by_name(row, contract)
    if not isinstance(row, list):
        raise InvalidInput(
            f"features: expected an object of inputs or a list of numbers, got {row!r:.80}; "
            "send one of the two"
        )
    if len(row) != len(contract):
        raise InvalidInput(
            f"features: expected {len(contract)} numbers ({_names(contract)}), got {len(row)}; "
            "send all of them"
        )
    return [_number(value, column) for value, column in zip(row, contract, strict=True)]


def _by_name(row: Mapping[str, Any], contract: tuple[Input, ...]) -> list[Any]:
    names = [column.name for column in contract]
    unknown = sorted(row.keys() - set(names))
    missing = [name for name in names if name not in row]
    if unknown or missing:
        wrong = [*(f"{name} too many" for name in unknown), *(f"no {name}" for name in missing)]
        raise InvalidInput(
            f"features: expected {_names(contract)}, got {', '.join(wrong)[:200]}; "
            "send each of them once"
        )
    return [row[name] for name in names]


def _number(value: Any, expected: Input) -> float:
    low, high = expected.low, expected.high
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN is outside every range
    if is_number and low <= value <= high and (not expected.is_id or value == int(value)):
        return float(value)
    kind = "a whole number" if expected.is_id else "a number"
    raise InvalidInput(
        f"features.{expected.name}: expected {kind} in [{low:g}, {high:g}] ({expected.formula}), "
        f"got {value!r:.40}; send one"
    )


def _names(contract: tuple[Input, ...]) -> str:
    return ", ".join(column.name for column in contract)


def _nobody(model: Model) -> Learner:
    return Learner(History.new(), model.start())


def _recommendation(model: Model, values: NDArray[np.float32], now_us: int) -> Inputs:
    """Return the rows as the recommendation model reads them.

    Of the topic features, only the transition priors and `last` depend on the rows.
    """
    one = model.next_topic_inputs(_nobody(model), now_us)
    inputs = {name: np.repeat(row, len(values), axis=0) for name, row in one.items()}
    inputs["inputs"] = values
    if "topics" in inputs:
        counts = model.corpora["recommendation"].statistics.continuations
        last, before = (values[:, column].astype(np.int64) for column in _LAST_TOPICS)
        topics = inputs["topics"].reshape(len(values), -1, len(TOPIC_INPUTS))
        ratios = counts.log_ratios(last, before, np.rint(np.expm1(values[:, _EVENTS])))
        for column, ratio in zip(PRIORS, ratios, strict=True):
            topics[:, :, column] = ratio
        met = np.flatnonzero((last > 0) & (last <= topics.shape[1]))
        topics[met, last[met] - 1, LAST] = 1.0
    return inputs


def _difficulty(model: Model, values: NDArray[np.float32], now_us: int) -> Inputs:
    one = model.success_inputs(_nobody(model), [_NO_TOPIC], now_us)
    inputs = {name: np.repeat(row, len(values), axis=0) for name, row in one.items()}
    return inputs | {"inputs": values}
