"""Files that hosts, editors and installers read."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from tools.source_tree import ROOT, installed_packages, project


def loaded(file: str) -> Any:
    return yaml.safe_load((ROOT / file).read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with ZipFile(next(folder.glob("*.whl"))) as file:
        return file.namelist()


def test_the_wheel_says_that_every_package_is_typed(wheel: list[str]) -> None:
    packages = installed_packages(ROOT)
    assert [name for name in packages if f"{name}/py.typed" not in wheel] == []


def test_the_wheel_holds_the_licence_and_no_tests_or_tools(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    folders = {Path(name).parts[0] for name in wheel}
    assert {name for name in folders if ".dist-info" not in name} == set(installed_packages(ROOT))


def test_the_licence_is_that_of_the_metadata() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert project(ROOT)["project"]["license"] == "Apache-2.0"
    assert re.match(r"\s+Apache License\s+Version 2\.0, January 2004", text)
    assert "Copyright 2026 the Cyber-Sensei authors" in text


def test_the_workflow_runs_the_check_of_the_project() -> None:
    steps = loaded(".github/workflows/check.yml")["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions), actions


def test_every_hook_calls_a_task_of_the_makefile() -> None:
    tasks = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    repositories = loaded(".pre-commit-config.yaml")["repos"]
    assert {repository["repo"] for repository in repositories} == {"local"}
    entries = [hook["entry"].split() for hook in repositories[0]["hooks"]]
    assert [entry for entry in entries if entry[0] != "make" or entry[1] not in tasks] == []
