import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from packaging.requirements import Requirement

from flows.local.bento_build import ROOMS, ROOT, _stage, package
from sensei.errors import IncompatibleBundle, StorageUnavailable
from sensei.events.log import open_log
from sensei.storage import database


def test_a_folder_without_a_bundle_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleBundle, match=r"manifest\.json, got .*; train first"):
        package(tmp_path, tmp_path / "bentoml")
    assert not (tmp_path / "bentoml").exists()


def test_the_bentofile_includes_the_rooms_that_are_staged() -> None:
    text = (ROOT / "bentofile.yaml").read_text()
    assert all(f'"{room}/**"' in text for room in (*ROOMS, "models"))


def test_the_staged_folder_holds_the_lock_that_the_bentofile_names(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    _stage(tmp_path / "bundle", tmp_path / "staged")
    named = yaml.safe_load((tmp_path / "staged" / "bentofile.yaml").read_text())["python"]
    staged = tmp_path / "staged" / named["requirements_txt"]
    assert staged.read_text() == (ROOT / "requirements-serving.lock").read_text()


def test_the_bento_requires_every_package_of_ours_that_a_worker_loads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project_packages = names_of_packages(project["project"]["dependencies"])
    packed = names_of_packages(project["dependency-groups"]["serving"])
    code = (
        "import sys, serving.service, serving.worker, serving.api.bento_api, sensei.events.log, "
        "sensei.curriculum; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    names_of = packages_distributions()
    loaded_from = {
        package_name.lower().replace("_", "-")
        for name in loaded
        for package_name in names_of.get(name, [])
    }
    of_bentoml = {
        re.split(r"[^\w-]", requirement.lower())[0] for requirement in requires("bentoml") or []
    }
    assert loaded_from & project_packages <= packed | of_bentoml
    assert packed <= project_packages


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_reported(tmp_path: Path, planted_bundle: Path) -> None:
    store = tmp_path / "bentoml"
    store.mkdir()
    (store / "bentos").write_text("a file where a folder must be")
    with pytest.raises(StorageUnavailable, match="bento: expected"):
        package(planted_bundle, store)


def names_of_packages(requirements: list[str]) -> set[str]:
    return {Requirement(requirement).name for requirement in requirements}


def names(folder: Path) -> set[Path]:
    """All files below a folder, save what Python compiles."""
    paths = {path.relative_to(folder) for path in folder.rglob("*")}
    return {path for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def packed(
    tmp_path_factory: pytest.TempPathFactory, planted_bundle: Path
) -> Iterator[tuple[Path, Path]]:
    """A Bento's store, and the folder of the Bento in it."""
    store = tmp_path_factory.mktemp("bentoml")
    name, _, version = package(planted_bundle, store).partition(":")
    assert name == "sensei"
    yield store, store / "bentos" / name / version
    shutil.rmtree(store)


@pytest.mark.slow
def test_the_bento_holds_the_bundle_and_needs_no_tensorflow(
    packed: tuple[Path, Path], planted_bundle: Path
) -> None:
    bento = packed[1]
    inside = bento / "src" / "models" / planted_bundle.name
    assert names(inside) == names(planted_bundle)
    locked = pins_and_hashes(ROOT / "requirements-serving.lock")
    required = pins_and_hashes(bento / "env" / "python" / "requirements.txt")
    bentoml_pin = f"bentoml=={version('bentoml')}"
    assert bentoml_pin in locked
    assert required in (
        locked,
        [*locked, bentoml_pin],
    )  # BentoML adds a line for itself, without hashes


def pins_and_hashes(file: Path) -> list[str]:
    """Pins and hashes in their order; BentoML changes the spaces between them."""
    return re.findall(r"^[\w.-]+==[^\s;]+|sha256:\w+", file.read_text(), re.MULTILINE)


@pytest.mark.slow
def test_the_bento_answers_with_its_bundle_though_there_is_no_log(
    packed: tuple[Path, Path], tmp_path: Path, serve: Callable[..., Any]
) -> None:
    store, bento = packed
    before = names(bento)
    with serve(f"sensei:{bento.name}", tmp_path, BENTOML_HOME=str(store)) as server:
        answer = server.get("/api/user/testuser/recommendations?count=2").json()
        assert [recommendation["topic_id"] for recommendation in answer["recommendations"]] == [
            13,
            12,
        ]
        assert answer["fallback"] == "log_unreachable"
        level = server.get("/api/learning/topic/11/difficulty/suggest?username=testuser").json()
        assert (level["difficulty"], level["model"], level["version"]) == ("medium", "planted", "7")
        assert server.interrupt() == 0
    assert names(bento) == before


@pytest.fixture(scope="module")
def clean(packed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment with what the Bento asks for, and nothing else."""
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("uv is not installed beside this Python (`make` installs it)")
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    requirements = packed[1] / "env" / "python" / "requirements.txt"
    command = [uv, "pip", "install", "--quiet", "--python", python, "-r", requirements]
    completed = subprocess.run(command, capture_output=True, text=True)
    if completed.returncode and "fetch" in completed.stderr:
        pytest.skip("the package index does not answer")
    assert completed.returncode == 0, completed.stderr
    yield python
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_bento_serves_from_its_own_requirements_with_only_a_database(
    packed: tuple[Path, Path],
    clean: Path,
    planted_bundle: Path,
    tmp_path: Path,
    serve: Callable[..., Any],
) -> None:
    store, bento = packed
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    database.upgrade(url)
    log = open_log(url)
    log.set_pointer(planted_bundle.name)
    variables = {"BENTOML_HOME": str(store), "SENSEI_DATABASE_URL": url, "PYTHONPATH": ""}
    with serve(f"sensei:{bento.name}", tmp_path, str(clean), **variables) as server:
        assert server.get("/readyz").json()["troubles"] == []
        quiz = {"topic_id": 11, "score": 1.0, "duration": 60}
        response = httpx.post(f"{server.url}/api/learning/mia/submit-quiz", json=quiz, timeout=60)
        assert response.status_code in (200, 201), response.text
        answer = server.get("/api/user/mia/recommendations?count=1").json()
        assert [recommendation["topic_id"] for recommendation in answer["recommendations"]] == [12]
        assert (answer["version"], answer["fallback"]) == ("7", None)
        assert server.interrupt() == 0
    assert log.count() == 1
    log.close()
