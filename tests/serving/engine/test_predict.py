from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS, TOPIC_INPUTS
from sensei.errors import InvalidInput, NothingServed
from serving.api.request_schemas import PredictBody, parse
from serving.api.response_schemas import PredictResponse
from serving.engine.engine import Engine
from serving.engine.predict import MAX_ROWS, predict
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model

NOW = 1_767_600_000_000_000
FOUR = {"proficiency_logit": 0.5, "log_attempts": 1.0, "score_trend": 0.0,
        "log_seconds_since_attempt": 5.0}  # fmt: skip
TWENTY = {each.name: 0.5 if "score" in each.name else 0 for each in RECOMMENDATION_INPUTS}


@pytest.fixture
def planted(planted_bundle: Path) -> Model:
    return Model.of(Bundle.load(planted_bundle, FOLD_VERSION))


@pytest.fixture
def trained(taught: Any) -> Model:
    return Model.of(Bundle.load(taught.bundle, FOLD_VERSION))


def asked(model: Model, features: Any, name: str | None = None) -> dict[str, Any]:
    found = predict(model, features, name, NOW)
    PredictResponse.model_validate(found)
    return found


def test_named_inputs_and_the_vector_are_answered_alike_by_the_model_they_fit(
    planted: Model,
) -> None:
    named = asked(planted, TWENTY | {"last_topic_1": 2})
    assert named == asked(planted, list((TWENTY | {"last_topic_1": 2}).values()))
    assert named["columns"] == [11, 12, 13, 14]
    assert named["predictions"][0][2] == pytest.approx(0.9)  # after the second topic the third
    levels = asked(planted, FOUR)
    assert levels["columns"] == ["easy", "medium", "hard"]
    assert levels["predictions"][0] == pytest.approx(
        [1 / (1 + np.exp(-0.5 - b)) for b in (2, 1, -1)]
    )
    assert levels["assumed"] == []


def test_names_may_come_in_any_order(planted: Model) -> None:
    backwards = dict(reversed(FOUR.items()))
    assert asked(planted, backwards) == asked(planted, FOUR)


def test_many_rows_are_answered_as_one_by_one(trained: Model) -> None:
    rows = [TWENTY | {"last_topic_1": slot, "log_events": 2.5} for slot in range(6)]
    together = asked(trained, rows)["predictions"]
    for row, values in zip(rows, together, strict=True):
        np.testing.assert_allclose(asked(trained, row)["predictions"][0], values, atol=1e-6)
    assert len({tuple(np.round(each, 5)) for each in together}) == 6, "the last topic counts"


def test_what_a_network_reads_besides_is_as_of_nobody_and_said(trained: Model) -> None:
    found = asked(trained, TWENTY)
    assert found["assumed"] == ["state", "topics"]
    assert sum(found["predictions"][0]) == pytest.approx(1, abs=1e-5)
    assert len(found["columns"]) == len(found["predictions"][0])
    assert asked(trained, FOUR)["assumed"] == sorted(set(trained.wants("difficulty")) - {"inputs"})


def test_a_last_topic_gives_the_priors_that_training_gives(trained: Model) -> None:
    from serving.engine.predict import _recommendation

    values = np.array(
        [list((TWENTY | {"last_topic_1": 3, "log_events": 1.0}).values())], np.float32
    )
    topics = _recommendation(trained, values, NOW)["topics"].reshape(-1, len(TOPIC_INPUTS))
    counts = trained.corpora["recommendation"].statistics.continuations
    first, _ = counts.log_ratios(np.array([3]), np.array([0]), np.array([2]))
    names = [each.name for each in TOPIC_INPUTS]
    np.testing.assert_array_equal(topics[:, names.index("prior_1")], first[0])
    assert np.flatnonzero(topics[:, names.index("last")]).tolist() == [2]


@pytest.mark.parametrize(
    ("features", "name", "said"),
    [
        (FOUR | {"speed": 1}, None, "features: expected proficiency_logit, .+ speed too many"),
        ({"log_attempts": 1.0}, None, "got no proficiency_logit, no score_trend"),
        ([0.5] * 3, "difficulty", r"features: expected 4 numbers .+, got 3"),
        ([0.5] * 4, "recommendation", "features: expected 20 numbers .+, got 4"),
        (FOUR | {"score_trend": float("nan")}, None, r"features.score_trend: .+\[-1, 1\].+ nan"),
        (FOUR | {"score_trend": float("inf")}, None, "features.score_trend: .+ inf"),
        (FOUR | {"score_trend": 1.5}, None, "features.score_trend: .+ got 1.5"),
        (FOUR | {"score_trend": "0"}, None, "features.score_trend: .+ got '0'"),
        (FOUR | {"score_trend": True}, None, "features.score_trend: .+ got True"),
        (FOUR | {"score_trend": None}, None, "features.score_trend: .+ got None"),
        (TWENTY | {"last_topic_1": 1.5}, None, "features.last_topic_1: expected a whole number"),
        (7, None, "features: expected an object of inputs or a list"),
        ([], None, "features: expected 1 to 100 rows, got 0"),
        ([list(FOUR.values())] * (MAX_ROWS + 1), None, "features: expected 1 to 100 rows, got 101"),
        ([FOUR, TWENTY], None, "features: expected proficiency_logit"),
        (FOUR, "reference", r"model: .+ \(recommendation, difficulty, planted\), got 'reference'"),
    ],
)
def test_inputs_that_are_not_as_expected_are_refused_with_what_is(
    planted: Model, features: Any, name: str | None, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        predict(planted, features, name, NOW)


def test_a_model_is_named_by_its_job_or_by_what_serves(planted: Model) -> None:
    for name in ("difficulty", "planted", None):
        assert asked(planted, FOUR, name)["columns"] == ["easy", "medium", "hard"]


def test_while_nothing_serves_it_is_said(planted: Model) -> None:
    def nobody() -> Any:
        raise AssertionError

    engine = Engine(LearnerCache(nobody, lambda: 0.0), None, Catalogue(), lambda: NOW)
    with pytest.raises(NothingServed, match="sensei train"):
        engine.predict(FOUR)
    engine.swap(model=planted)
    assert engine.predict(FOUR)["model"] == "planted"


def test_the_body_needs_features_and_nothing_else() -> None:
    assert parse(PredictBody, orjson.loads(b'{"features": [1, 2]}')).model is None
    with pytest.raises(InvalidInput, match=r"features: expected .+, got nothing"):
        parse(PredictBody, {})
    schema = PredictBody.model_json_schema()["properties"]["features"]["anyOf"]
    assert schema[0]["required"] == [each.name for each in RECOMMENDATION_INPUTS]
    assert schema[3]["maxItems"] == len(DIFFICULTY_INPUTS)
