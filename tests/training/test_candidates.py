"""Small and one-sided logs are trained where they can be, and refused with a reason where not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.batch import encode
from features.corpus.catalogue_features import CatalogueFeatures
from sensei import metrics
from sensei.errors import NotEnoughData
from training import recipes
from training.candidates import Candidates, train_candidates
from training.data.dataset import Dataset, prepare
from training.data.splits import split_by_learner
from training.data.time_split import split_by_time
from training.fitting.keras_fit import FAST
from training.recipes import FULL, QUICK

BRIEF = replace(QUICK, epochs=1, setting=replace(FAST, epochs=1))


def prepared_of(frame: pd.DataFrame) -> Dataset:
    events = encode(frame)
    return prepare(events, split_by_learner(events))


def test_all_models_compete(candidates: Candidates) -> None:
    counting = ["most_popular", "recently_popular", "repeat_last", "most_frequent", "habits"]
    assert list(candidates["recommendation"]) == [
        *counting,
        "markov_1",
        "markov_2",
        "reference",
        "history",
        "sequence",
    ]
    assert list(candidates["difficulty"]) == [
        "global_mean",
        "topic_mean",
        "proficiency",
        "reference",
        "items",
        "history",
    ]


def test_a_full_run_trains_what_a_quick_one_leaves_out() -> None:
    assert FULL.slow
    assert not QUICK.slow
    for recipes_of in (recipes.NEXT_TOPIC, recipes.SUCCESS):
        names = [recipe.name for recipe in recipes_of]
        assert len(set(names)) == len(names)
        assert any(recipe.slow for recipe in recipes_of)
        for recipe in recipes_of:
            assert set(recipe.needs) <= set(names[: names.index(recipe.name)]), "made before it"


def test_networks_have_curves_and_counting_models_none(candidates: Candidates) -> None:
    for candidate in (*candidates["recommendation"].values(), *candidates["difficulty"].values()):
        assert bool(candidate.curves) == (candidate.kind == "network")
        assert candidate.description.endswith(".")


def test_no_network_takes_more_epochs_than_its_budget(candidates: Candidates) -> None:
    histories = (candidates["recommendation"]["history"], candidates["difficulty"]["history"])
    assert [len(candidate.curves["val_loss"]) for candidate in histories] == [BRIEF.epochs] * 2


def test_every_candidate_is_saved_and_loaded(candidates: Candidates, tmp_path: Path) -> None:
    import keras

    for name, candidate in (
        *candidates["recommendation"].items(),
        *candidates["difficulty"].items(),
    ):
        model = candidate.model
        inputs = {key: np.ones((2, x.shape[-1]), np.float32) for key, x in model.input.items()}
        model.save(tmp_path / f"{name}.keras")
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        before, after = model(inputs), loaded(inputs)
        assert before.keys() == after.keys()
        for key in before:
            assert (np.asarray(before[key]) == np.asarray(after[key])).all()


def test_catalogue_topics_without_events_have_a_slot(planted: pd.DataFrame) -> None:
    events = encode(planted)
    catalogue = CatalogueFeatures(dict.fromkeys([*events.topic_ids.tolist(), 99], "web"))
    dataset = prepare(events, split_by_learner(events), catalogue)
    assert 99 in dataset.validate.recency.newcomers


def test_no_score_of_a_learner_enters_their_own_training_rows(planted: pd.DataFrame) -> None:
    """Flipping one learner's scores changes nothing on their first training row."""
    events = encode(planted)
    split = split_by_learner(events)
    first = prepare(events, split).train
    learner = int(first.learner[0])
    flipped = planted.copy()
    of_learner = flipped["user_id"].astype(str) == events.user_ids[learner]
    flipped.loc[of_learner, "score"] = 1.0 - flipped.loc[of_learner, "score"]
    second = prepare(encode(flipped), split).train
    start = (first.learner == learner) & (first.previous == 0)
    assert first.difficulty[start] == pytest.approx(second.difficulty[start])


def test_recommendation_is_trained_without_any_score(frame_of) -> None:
    dataset = prepared_of(frame_of([[1, 2, 3, 4]] * 12))
    assert dataset.no_success == "no attempt carries a score"
    trained = train_candidates(dataset, 0, BRIEF, ["reference", "history"])
    assert list(trained["recommendation"]) == ["reference", "history"]
    assert trained["difficulty"] == {}


def test_reason_without_success(frame_of) -> None:
    walks = [[1, 2, 3, 4]] * 12
    views = prepared_of(frame_of(walks, kind="video_view"))
    assert views.no_success == "no quiz or practice attempt in the log"
    passed = prepared_of(frame_of(walks, [[1.0] * 4] * 12))
    assert passed.no_success == "every attempt of the training part was passed"
    few = prepared_of(frame_of(walks, [[1.0, np.nan, np.nan, np.nan]] * 12))
    assert few.no_success.endswith("20 needed")


def test_one_learner_is_refused(frame_of) -> None:
    events = encode(frame_of([[1, 2, 3] * 20]))
    with pytest.raises(NotEnoughData, match="user_id: expected at least two learners, got 1"):
        prepare(events, split_by_time(events))


def test_one_topic_is_refused(frame_of) -> None:
    with pytest.raises(NotEnoughData, match=r"topic_id: .* at least two topics, got 1"):
        prepared_of(frame_of([[5] * 10] * 10))


def test_too_few_targets_are_refused(frame_of) -> None:
    with pytest.raises(NotEnoughData, match="at least 20 learning events in the training part"):
        prepared_of(frame_of([[1, 2], [2, 1], [1, 2], [2, 1]]))


def test_training_inputs_do_not_reveal_the_outcome(frame_of) -> None:
    """Each learner attempts each topic once, at random: nothing is there to be known beforehand.

    If only the learner's own outcome is left out of a topic's rate, those who passed see a lower
    rate than those who failed: an AUC of 0 inside the topic.
    """
    rng = np.random.default_rng(7)
    frame = frame_of([[1, 2]] * 400, rng.integers(0, 2, (400, 2)).astype(float).tolist())
    train = prepared_of(frame).train
    first = (train.previous == 0) & (train.topic_id == 1)
    area = metrics.auc(train.passed[first], train.difficulty[first, 0])
    assert 0.3 < area < 0.7


def test_training_rows_are_in_the_order_of_events(prepared: Dataset) -> None:
    assert (np.diff(prepared.train.event) > 0).all()
    assert (prepared.train.previous == np.tile(np.arange(24), 29)).all()
