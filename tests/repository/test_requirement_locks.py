"""The hashed locks: what agrees, what is absent, and that they are not stale."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
BASE, SERVING = ROOT / "requirements.lock", ROOT / "requirements-serving.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


class Pin(NamedTuple):
    name: str
    version: str


def pins(lock: Path) -> dict[Pin, set[str]]:
    """Pin -> its hashes."""
    found = {}
    for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
        match = re.match(r"([\w.-]+)==([^\s;]+)", entry)
        assert match, f"{lock.name}: expected NAME==VERSION, got {entry[:80]}"
        found[Pin(canonicalize_name(match[1]), match[2])] = set(re.findall(r"sha256:\w+", entry))
    return found


def test_every_pin_of_the_serving_lock_is_that_of_the_base_lock() -> None:
    base = pins(BASE)
    assert {pin: hashes for pin, hashes in pins(SERVING).items() if base.get(pin) != hashes} == {}


def test_the_serving_lock_holds_no_library_of_training() -> None:
    names = {pin.name for pin in pins(SERVING)}
    assert not names & {"tensorflow", "keras", "mlflow", "prefect", "evidently", "pandas"}


@pytest.mark.parametrize("lock", [BASE, SERVING], ids=lambda path: path.name)
def test_every_pin_is_hashed_and_no_index_is_named(lock: Path) -> None:
    assert all(pins(lock).values())
    assert not re.search(r"://|^-", lock.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (BASE, PROJECT["project"]["dependencies"]),
        (BASE, PROJECT["project"]["optional-dependencies"]["dev"]),
        (SERVING, PROJECT["dependency-groups"]["serving"]),
    ],
    ids=["base", "development", "serving"],
)
def test_a_lock_satisfies_the_requirements_it_was_made_from(
    lock: Path, requirements: list[str]
) -> None:
    locked = pins(lock)
    for requirement in map(Requirement, requirements):
        versions = [
            pin.version for pin in locked if pin.name == canonicalize_name(requirement.name)
        ]
        assert versions, f"{requirement} is missing; run `make lock`"
        assert all(version in requirement.specifier for version in versions), requirement


def test_what_serving_requires_the_project_requires_in_the_same_words() -> None:
    serving, project = PROJECT["dependency-groups"]["serving"], PROJECT["project"]["dependencies"]
    assert set(serving) <= set(project)


def test_the_bento_is_built_from_the_serving_lock() -> None:
    python = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]
    assert python == {"requirements_txt": f"./{SERVING.name}", "lock_packages": False}
