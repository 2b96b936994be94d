import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sensei.bundle.bundle_format import Bundle, LiteRtNetwork, Manifest, ModelEntry, write
from sensei.contracts import EVENT_INPUTS
from sensei.errors import IncompatibleBundle, InvalidInput, StorageUnavailable

TOPICS = (11, 22, 33)
STATE = 5
NOW = datetime(2024, 5, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def litert():
    from training.release.export import import_tensorflow, to_litert

    import_tensorflow()
    import keras

    inputs = keras.Input((20,), name="inputs")
    output = keras.layers.Dense(3, "softmax")(inputs)
    recommendation = keras.Model({"inputs": inputs}, {"probability": output})
    inputs = keras.Input((4,), name="inputs")
    topic = keras.Input((1,), name="topic")
    slot = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(topic))
    success = keras.layers.Dense(3, "sigmoid")(keras.layers.Concatenate()([inputs, slot]))
    difficulty = keras.Model({"inputs": inputs, "topic": topic}, {"success": success})
    models = {"recommendation": recommendation, "difficulty": difficulty}
    return {name: LiteRtNetwork(to_litert(model)) for name, model in models.items()}


def _entry(name, **changes):
    shapes = {
        "recommendation": ({"inputs": 20}, {"probability": 3}),
        "difficulty": ({"inputs": 4, "topic": 1}, {"success": 3}),
    }
    inputs, outputs = shapes[name]
    entry = ModelEntry(
        name=name, version="3", candidate="reference", inputs=inputs, outputs=outputs,
        trained_until=NOW, topic_ids=TOPICS,
    )  # fmt: skip
    return entry.model_copy(update=changes)


def _manifest(**changes):
    models = {name: _entry(name) for name in ("recommendation", "difficulty")}
    return Manifest(fold_version=1, models=models, created_at=NOW).model_copy(update=changes)


STATISTICS = {
    "recommendation": {"topic_ids": np.array(TOPICS), "topic_events": np.array([5, 1, 0])},
    "difficulty": {"topic_ids": np.array(TOPICS[:2])},
}


@pytest.fixture
def path(tmp_path, litert):
    return write(tmp_path, _manifest(), litert, STATISTICS)


def recommend(bundle, rows):
    return bundle.answer("recommendation", {"inputs": rows})["probability"]


def test_a_bundle_comes_back_as_it_was_written(path, litert):
    bundle = Bundle.load(path, 1)
    assert bundle.digest == path.name
    assert bundle.manifest.topic_ids == TOPICS
    assert bundle.manifest.models["difficulty"] == _entry("difficulty")
    assert bundle.networks == litert
    for name, arrays in STATISTICS.items():
        assert bundle.statistics[name].keys() == arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(bundle.statistics[name][key], array)


def test_the_same_content_has_the_same_digest_and_other_content_another(path, tmp_path, litert):
    assert write(tmp_path, _manifest(), litert, STATISTICS) == path
    other = write(tmp_path, _manifest(fold_version=2), litert, STATISTICS)
    assert other != path
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, other.name])


def test_one_row_and_a_batch_get_the_same_answers(path):
    bundle = Bundle.load(path, 1)
    rows = np.random.default_rng(0).random((7, 20), np.float32)
    batch = recommend(bundle, rows)
    single = np.vstack([recommend(bundle, row[None]) for row in rows])
    np.testing.assert_allclose(batch, single, atol=1e-6)
    np.testing.assert_allclose(batch.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(recommend(bundle, rows[:3]), batch[:3], atol=1e-6)
    assert recommend(bundle, rows[:0]).shape == (0, 3)


def test_answers_belong_to_the_caller(path):
    bundle = Bundle.load(path, 1)
    first = recommend(bundle, np.zeros((1, 20), np.float32))
    kept = first.copy()
    recommend(bundle, np.ones((1, 20), np.float32))
    np.testing.assert_array_equal(first, kept)


def test_difficulty_takes_the_inputs_it_has(path):
    bundle = Bundle.load(path, 1)
    rows = {"inputs": np.zeros((1, 4), np.float32), "topic": np.ones((1, 1), np.float32)}
    answer = bundle.answer("difficulty", {**rows, "something_else": np.zeros((1, 9), np.float32)})
    assert answer["success"].shape == (1, 3)
    with pytest.raises(InvalidInput, match="topic"):
        bundle.answer("difficulty", {"inputs": rows["inputs"]})


@pytest.mark.parametrize(
    "rows",
    [np.zeros((1, 19), np.float32), np.zeros((1, 20)), np.zeros(20, np.float32)],
    ids=["width", "dtype", "rank"],
)
def test_inputs_of_another_shape_or_type_are_refused_and_do_no_harm(path, rows):
    bundle = Bundle.load(path, 1)
    good = np.zeros((2, 20), np.float32)
    before = recommend(bundle, good)
    with pytest.raises(InvalidInput, match="float32 rows"):
        recommend(bundle, rows)
    np.testing.assert_array_equal(recommend(bundle, good), before)


def test_threads_share_a_bundle_without_mixing_answers(path):
    bundle = Bundle.load(path, 1)
    rows = np.random.default_rng(1).random((4, 20), np.float32) * 5
    expected = [recommend(bundle, row[None]) for row in rows]
    wrong = []

    def ask(i):
        for _ in range(500):
            if not np.array_equal(recommend(bundle, rows[i][None]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_bundle_may_hold_one_model(tmp_path, litert):
    manifest = _manifest(models={"recommendation": _entry("recommendation")})
    name = "recommendation"
    path = write(tmp_path, manifest, {name: litert[name]}, {name: STATISTICS[name]})
    bundle = Bundle.load(path, 1)
    assert recommend(bundle, np.zeros((1, 20), np.float32)).shape == (1, 3)
    with pytest.raises(IncompatibleBundle, match=r"difficulty: expected a model.*train"):
        bundle.answer("difficulty", {"inputs": np.zeros((1, 4), np.float32)})


def test_content_for_other_models_than_the_manifest_names_is_refused(tmp_path, litert):
    with pytest.raises(InvalidInput, match="same names"):
        write(tmp_path, _manifest(), {"difficulty": litert["difficulty"]}, STATISTICS)
    assert not any(tmp_path.iterdir())


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _edit(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))


DAMAGE = {
    "flipped bit in a model": lambda p: _flip(p / "difficulty.tflite"),
    "flipped bit in statistics": lambda p: _flip(p / "recommendation.npz"),
    "flipped bit in the manifest": lambda p: _flip(p / "manifest.json"),
    "truncated model": lambda p: (p / "recommendation.tflite").write_bytes(b"TFL3"),
    "missing model": lambda p: (p / "recommendation.tflite").unlink(),
    "missing manifest": lambda p: (p / "manifest.json").unlink(),
    "foreign file": lambda p: (p / "notes.txt").write_text("hello"),
    "foreign folder": lambda p: (p / "old").mkdir(),
    "edited version": lambda p: _edit(p, fold_version=1, created_at="2020-01-01T00:00:00Z"),
    "manifest that is no JSON": lambda p: (p / "manifest.json").write_text("{"),
    "manifest with another key": lambda p: _edit(p, comment="hi"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("renamed", [False, True], ids=["digest-name", "other-name"])
def test_a_damaged_bundle_is_refused_with_the_next_step(path, damage, renamed):
    damage(path)
    if renamed:  # as when packed into a Bento: the folder's name says nothing
        path = path.rename(path.parent / "bundle")
        if damage is DAMAGE["edited version"]:
            pytest.skip("nothing left to hold an edited date against")
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(path, 1)


def test_a_bundle_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(tmp_path / "nothing", 1)


def test_another_fold_version_is_refused_and_said(path):
    with pytest.raises(IncompatibleBundle, match="fold version: expected 2, got 1"):
        Bundle.load(path, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"recommendation_inputs": ("last_topic",)},
        {"format_version": 99},
        {
            "models": {
                n: _entry(n, topic_ids=(1, 2, 3, 4)) for n in ("recommendation", "difficulty")
            }
        },
        {"models": {n: _entry(n, inputs={"other": 4}) for n in ("recommendation", "difficulty")}},
    ],
    ids=["inputs", "format", "topics", "signature"],
)
def test_a_manifest_that_does_not_fit_software_or_models_is_refused(tmp_path, litert, changes):
    path = write(tmp_path, _manifest(**changes), litert, STATISTICS)
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(path, 1)


def test_a_file_that_is_no_model_is_refused(tmp_path, litert):
    path = write(
        tmp_path, _manifest(), {**litert, "difficulty": LiteRtNetwork(b"not a model")}, STATISTICS
    )
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(path, 1)


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path, litert):
    blocked = tmp_path / "bundles"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StorageUnavailable, match="SENSEI_HOME"):
        write(blocked, _manifest(), litert, STATISTICS)


def test_a_write_that_breaks_off_leaves_nothing_behind(tmp_path, litert, monkeypatch):
    def full_disk(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageUnavailable, match="No space left"):
        write(tmp_path, _manifest(), litert, STATISTICS)
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def recurrent(litert):
    """A recommendation model with a hidden state: its step adds up the events, halving the rest."""
    import keras

    from training.release.export import to_litert

    inputs, state = keras.Input((20,), name="inputs"), keras.Input((STATE,), name="state")
    output = keras.layers.Dense(3, "softmax")(keras.ops.concatenate([inputs, state], axis=1))
    read = keras.Model({"inputs": inputs, "state": state}, {"probability": output})
    event = keras.Input((len(EVENT_INPUTS),), name="event")
    after = 0.5 * state + keras.layers.Dense(STATE, "tanh")(event)
    step = keras.Model({"state": state, "event": event}, {"next_state": after})
    return {**litert, "recommendation": LiteRtNetwork(to_litert(read), to_litert(step))}


def _remembering(**changes):
    shapes = {"inputs": {"inputs": 20, "state": STATE}, "state": STATE}
    models = {
        "recommendation": _entry("recommendation", **{**shapes, **changes}),
        "difficulty": _entry("difficulty"),
    }
    return _manifest(models=models)


@pytest.fixture
def remembering(tmp_path, recurrent):
    return write(tmp_path, _remembering(), recurrent, STATISTICS)


def test_a_model_with_a_state_has_a_file_that_advances_it(remembering, recurrent):
    files = sorted(file.name for file in remembering.iterdir())
    assert files == [
        "difficulty.npz", "difficulty.tflite", "manifest.json",
        "recommendation.npz", "recommendation.tflite", "recommendation_step.tflite",
    ]  # fmt: skip
    assert (remembering / files[-1]).read_bytes() == recurrent["recommendation"].step
    bundle = Bundle.load(remembering, 1)
    assert bundle.networks == recurrent
    assert bundle.manifest.models["recommendation"].state == STATE


def test_a_learner_without_events_starts_from_zeros_where_there_is_a_state(remembering):
    bundle = Bundle.load(remembering, 1)
    np.testing.assert_array_equal(bundle.start("recommendation"), np.zeros((1, STATE), np.float32))
    assert bundle.start("difficulty") is None


def test_many_learners_advance_as_each_one_alone(remembering):
    bundle = Bundle.load(remembering, 1)
    rng = np.random.default_rng(0)
    state = rng.random((7, STATE), np.float32)
    event = rng.random((7, len(EVENT_INPUTS)), np.float32)
    together = bundle.advance("recommendation", state, event)
    alone = [bundle.advance("recommendation", state[i : i + 1], event[i : i + 1]) for i in range(7)]
    assert together.shape == (7, STATE)
    np.testing.assert_allclose(together, np.vstack(alone), atol=1e-6)


def test_the_answer_depends_on_the_state(remembering):
    bundle = Bundle.load(remembering, 1)
    start = bundle.start("recommendation")
    after = bundle.advance("recommendation", start, np.ones((1, len(EVENT_INPUTS)), np.float32))
    rows = {"inputs": np.ones((1, 20), np.float32)}
    before, later = (
        bundle.answer("recommendation", {**rows, "state": state})["probability"]
        for state in (start, after)
    )
    assert np.abs(before - later).max() > 1e-3
    with pytest.raises(InvalidInput, match="state"):
        bundle.answer("recommendation", rows)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: _flip(file),
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
    ],
    ids=["flipped bit", "missing", "empty"],
)
def test_a_damaged_step_file_is_refused(remembering, damage):
    damage(remembering / "recommendation_step.tflite")
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(remembering, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": STATE + 1},
        {"state": STATE + 1, "inputs": {"inputs": 20, "state": STATE + 1}},
        {"state": 0},
    ],
    ids=["state", "state and input", "no state"],
)
def test_a_state_of_another_width_than_the_manifest_says_is_refused(tmp_path, recurrent, changes):
    path = write(tmp_path, _remembering(**changes), recurrent, STATISTICS)
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(path, 1)


def test_a_state_without_a_step_is_refused(tmp_path, recurrent):
    stepless = {**recurrent, "recommendation": LiteRtNetwork(recurrent["recommendation"].read)}
    path = write(tmp_path, _remembering(), stepless, STATISTICS)
    with pytest.raises(IncompatibleBundle, match="sensei train"):
        Bundle.load(path, 1)


def test_loading_needs_no_tensorflow_and_is_quiet(path):
    code = (
        "import sys, pathlib, numpy as np\n"
        "from sensei.bundle.bundle_format import Bundle\n"
        "bundle = Bundle.load(pathlib.Path(sys.argv[1]), 1)\n"
        "rows = {'inputs': np.zeros((1, 20), np.float32)}\n"
        "assert bundle.answer('recommendation', rows)['probability'].shape == (1, 3)\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
