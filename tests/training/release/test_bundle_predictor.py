"""Answers of a bundle, event by event: the same as those of the trained network."""

import numpy as np
import pytest

from features.batch import Examples
from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle
from training.data.batching import BatchFeed
from training.fitting.train_loop import predict
from training.release import bundle_predictor
from training.scores import Answers


@pytest.fixture(scope="module")
def bundle(taught) -> Bundle:
    return Bundle.load(taught.bundle, FOLD_VERSION)


def rows_of(taught, name: str) -> Examples:
    return taught.prepared.test if name == "recommendation" else taught.prepared.attempts.test


def gathered(answers: Answers, count: int) -> dict[str, np.ndarray]:
    """Answers in the order of the rows, each row once."""
    chosen, outputs = zip(*answers, strict=True)
    order = np.concatenate(chosen)
    assert sorted(order) == list(range(count))
    return {
        name: np.concatenate([output[name] for output in outputs])[np.argsort(order)]
        for name in outputs[0]
    }


@pytest.mark.parametrize("name", ["recommendation", "difficulty"])
def test_bundle_answers_as_the_network_it_was_exported_from(taught, bundle, name) -> None:
    rows = rows_of(taught, name)
    expected = gathered(predict(taught.networks[name], BatchFeed(rows, name)), len(rows))
    actual = gathered(bundle_predictor.answers_of(bundle, name)(rows), len(rows))
    assert actual.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(actual[key], expected[key], atol=1e-5)


@pytest.mark.parametrize("name", ["recommendation", "difficulty"])
def test_pieces_of_learners_change_no_answer(taught, bundle, name, monkeypatch) -> None:
    rows = rows_of(taught, name)
    whole = gathered(bundle_predictor.answers_of(bundle, name)(rows), len(rows))
    monkeypatch.setattr(bundle_predictor, "CELLS", 3)
    pieces = gathered(bundle_predictor.answers_of(bundle, name)(rows), len(rows))
    for key in whole:
        np.testing.assert_allclose(pieces[key], whole[key], atol=1e-6)


@pytest.mark.parametrize("name", ["recommendation", "difficulty"])
def test_answers_depend_on_the_state(taught, bundle, name, monkeypatch) -> None:
    """Else the test above would hold of a network that never reads it."""
    rows = rows_of(taught, name)
    remembering = gathered(bundle_predictor.answers_of(bundle, name)(rows), len(rows))
    monkeypatch.setattr(Bundle, "advance", lambda self, name, state, event: state)
    forgetful = gathered(bundle_predictor.answers_of(bundle, name)(rows), len(rows))
    key = "probability" if name == "recommendation" else "success"
    assert np.abs(remembering[key] - forgetful[key]).max() > 1e-3
