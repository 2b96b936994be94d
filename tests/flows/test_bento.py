import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flows.bento import ROOMS, ROOT, package
from sensei import database
from sensei.errors import IncompatibleBundle, StorageUnavailable
from sensei.log import open_log


def test_a_folder_without_a_bundle_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleBundle, match=r"manifest\.json, got .*; train first"):
        package(tmp_path, tmp_path / "bentoml")
    assert not (tmp_path / "bentoml").exists()


def test_the_bentofile_includes_the_rooms_that_are_staged() -> None:
    text = (ROOT / "bentofile.yaml").read_text()
    assert all(f'"{room}/**"' in text for room in (*ROOMS, "models"))


def test_the_bentofile_pins_every_package_of_a_worker_as_the_lock_does() -> None:
    assert 'requirements_txt: "requirements-serving.txt"' in (ROOT / "bentofile.yaml").read_text()
    pinned, locked = pins("requirements-serving.txt"), pins("requirements.lock")
    assert pinned <= locked, "repeat `make lock`"
    needed = closure(serving_requirements())
    assert needed <= {name for name, _ in pinned}, "repeat `make lock`"
    assert not {"tensorflow", "keras", "mlflow", "prefect"} & {name for name, _ in pinned}


def serving_requirements() -> set[str]:
    """Names of the packages that a worker loads, as they are listed."""
    lines = (ROOT / "requirements-serving.in").read_text().splitlines()
    return {re.split(r"[\s\[;]", line)[0] for line in lines if not line.startswith("#")}


def pins(file: str) -> set[tuple[str, str]]:
    """Names and exact versions; every line of requirements must have one."""
    lines = (ROOT / file).read_text().splitlines()
    named = [line for line in lines if line and not line.startswith((" ", "#"))]
    return {(name, version) for name, version in (PIN.match(line).groups() for line in named)}


PIN = re.compile(r"([a-z0-9-]+)==([^\s;]+)")


def closure(names: set[str]) -> set[str]:
    """The packages with all that they ask for here, without extras."""
    seen, waiting = set(), [*names, "psycopg-binary"]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in seen:
            seen.add(name)
            asked = (Requirement(each) for each in requires(name) or [])
            waiting += [
                each.name
                for each in asked
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return seen


def test_the_bentofile_lists_every_requirement_of_ours_that_a_worker_loads() -> None:
    ours, packed = requirements("pyproject.toml"), serving_requirements()
    code = (
        "import sys, serving.service, serving.worker, serving.native, sensei.log, "
        "sensei.curriculum; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    names_of = packages_distributions()
    loaded_from = {
        each.lower().replace("_", "-") for name in loaded for each in names_of.get(name, [])
    }
    of_bentoml = {re.split(r"[^\w-]", each.lower())[0] for each in requires("bentoml") or []}
    assert loaded_from & ours <= packed | of_bentoml
    assert packed <= ours


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_said(tmp_path: Path, planted_bundle: Path) -> None:
    store = tmp_path / "bentoml"
    store.mkdir()
    (store / "bentos").write_text("a file where a folder must be")
    with pytest.raises(StorageUnavailable, match="bento: expected"):
        package(planted_bundle, store)


def requirements(file: str) -> set[str]:
    """Names of the packages that a file pins in quotes: "name>=version"."""
    return set(re.findall(r'"([a-z][a-z-]*)[^">]*[<>]=?\d', (ROOT / file).read_text()))


def names(folder: Path) -> set[Path]:
    """All files below a folder, save what Python compiles."""
    found = {each.relative_to(folder) for each in folder.rglob("*")}
    return {each for each in found if "__pycache__" not in each.parts}


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
    requirements = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "litert" in requirements
    assert not any(each in requirements for each in ("tensorflow", "keras", "mlflow", "prefect"))


@pytest.mark.slow
def test_the_bento_answers_with_its_bundle_though_there_is_no_log(
    packed: tuple[Path, Path], tmp_path: Path, serve: Callable[..., Any]
) -> None:
    store, bento = packed
    before = names(bento)
    with serve(f"sensei:{bento.name}", tmp_path, BENTOML_HOME=str(store)) as server:
        answer = server.get("/api/user/testuser/recommendations?count=2").json()
        assert [each["topic_id"] for each in answer["recommendations"]] == [13, 12]
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
    asked = packed[1] / "env" / "python" / "requirements.txt"
    command = [uv, "pip", "install", "--quiet", "--python", python, "-r", asked]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "fetch" in done.stderr:
        pytest.skip("the package index does not answer")
    assert done.returncode == 0, done.stderr
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
    given = {"BENTOML_HOME": str(store), "SENSEI_DATABASE_URL": url, "PYTHONPATH": ""}
    with serve(f"sensei:{bento.name}", tmp_path, str(clean), **given) as server:
        assert server.get("/readyz").json()["troubles"] == []
        quiz = {"topic_id": 11, "score": 1.0, "duration": 60}
        sent = httpx.post(f"{server.url}/api/learning/mia/submit-quiz", json=quiz, timeout=60)
        assert sent.status_code in (200, 201), sent.text
        answer = server.get("/api/user/mia/recommendations?count=1").json()
        assert [each["topic_id"] for each in answer["recommendations"]] == [12]
        assert (answer["version"], answer["fallback"]) == ("7", None)
        assert server.interrupt() == 0
    assert log.count() == 1
    log.close()
