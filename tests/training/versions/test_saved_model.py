import numpy as np
import pytest

from sensei.errors import InvalidInput, StorageUnavailable
from training.release.saved_model import export_saved_model


@pytest.fixture(scope="module")
def version(registry, logged):
    return registry.register(
        "recommendation", logged.run_id, logged.models["recommendation"], "In words.", {}
    )


def test_a_version_is_laid_out_for_tensorflow_serving_and_answers_the_same(
    registry, version, contests, tmp_path
):
    folder = export_saved_model(registry, "recommendation", version, tmp_path / "models")
    assert folder == tmp_path / "models" / "recommendation" / version
    assert (folder / "saved_model.pb").is_file()
    assert [path.name for path in folder.parent.iterdir()] == [version]

    import tensorflow

    signature = tensorflow.saved_model.load(str(folder)).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == {"inputs"}
    rows = np.random.default_rng(0).random((5, 20), np.float32)
    trained = contests[0].candidates["reference"].model
    np.testing.assert_allclose(
        signature(inputs=tensorflow.constant(rows))["probability"].numpy(),
        np.asarray(trained({"inputs": rows})["probability"]),
        atol=1e-6,
    )


def test_the_champion_is_exported_if_no_version_is_named(registry, version, tmp_path):
    registry.crown("recommendation", version)
    assert export_saved_model(registry, "recommendation", None, tmp_path).name == version


def test_a_version_that_is_not_there_or_written_already_is_refused(registry, version, tmp_path):
    with pytest.raises(InvalidInput, match="sensei models"):
        export_saved_model(registry, "recommendation", "999", tmp_path)
    with pytest.raises(InvalidInput, match="champion"):
        export_saved_model(registry, "nothing", None, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "recommendation" / version).mkdir(parents=True)
    with pytest.raises(InvalidInput, match="remove it"):
        export_saved_model(registry, "recommendation", version, tmp_path)


def test_a_folder_that_cannot_be_made_is_reported_in_a_sentence(registry, version, tmp_path):
    (tmp_path / "recommendation").write_text("a file where a folder must be")
    with pytest.raises(StorageUnavailable, match="--out"):
        export_saved_model(registry, "recommendation", version, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recommendation"]
