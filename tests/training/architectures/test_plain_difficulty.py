"""The four inputs as the order names them, read off those that the fold makes."""

import numpy as np
import pytest

from sensei.contracts import DIFFICULTY_INPUTS, SUCCESS_INPUTS, place
from training.architectures import reference
from training.tensorflow_import import import_tensorflow


def row(scores: list[float], attempts: int, trend: float, seconds: float | None) -> np.ndarray:
    since = -1.0 if seconds is None else np.log1p(seconds)
    inputs = np.array([[0.3, np.log1p(attempts), trend, since]], np.float32)
    free = np.zeros((1, len(SUCCESS_INPUTS)), np.float32)
    first = place(SUCCESS_INPUTS, "topic_score_1")
    free[0, first : first + len(scores)] = np.array(scores) - 0.5
    return np.asarray(reference._plain(inputs, free))[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (([], 0, 0.0, None), [0.5, 0, 0, 0]),
        (([1.0], 1, 0.0, 0.0), [1.0, 1, 0, 0]),
        (([0.2, 0.8], 2, 0.1, 86_400.0), [0.5, 2, 0.1, 1]),
        (([0.0, 0.0, 0.6], 40, -0.2, 30 * 86_400.0), [0.2, 40, -0.2, 30]),
    ],
)
def test_scores_and_counts_are_read_as_they_are(given, expected) -> None:
    import_tensorflow()
    np.testing.assert_allclose(row(*given), expected, rtol=1e-4, atol=1e-6)


def test_a_plain_network_answers_success_at_each_level() -> None:
    import_tensorflow()
    rng = np.random.default_rng(0)
    inputs = rng.random((50, len(DIFFICULTY_INPUTS))).astype(np.float32)
    free = rng.random((50, len(SUCCESS_INPUTS))).astype(np.float32)
    model = reference.plain_difficulty(inputs, free)
    answer = model({"inputs": inputs, "free": free})
    assert {name: tuple(output.shape) for name, output in answer.items()} == {
        "difficulty": (50, 3),
        "success": (50, 3),
    }
