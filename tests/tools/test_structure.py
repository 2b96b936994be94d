import json
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from sensei.events.log import open_log
from sensei.storage import database
from tools import structure
from tools.request_trace import _recorded, _summary
from tools.source_tree import ROOT, installed_packages


def test_functions_are_measured_in_lines() -> None:
    text = (
        "def one(): ...\n\n\nclass A:\n    async def three(self):\n        x = 1\n        return x"
    )
    measured = structure.function_figures([text])
    assert measured == {"functions": 2, "median": 2, "p90": 1, "longest": 3}
    assert structure.function_figures([""])["functions"] == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git work tree with two packages, a chain of four modules and known faults."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.hatch.build.targets.wheel]\npackages = ["upper_floor", "lower_floor"]\n'
    )
    for file, text in {
        "upper_floor/__init__.py": "",
        "upper_floor/first.py": "from upper_floor import second",
        "upper_floor/second.py": '"""What it is."""\nimport lower_floor.inner.same',
        "upper_floor/same.py": "class Row: ...",
        "lower_floor/__init__.py": "",
        "lower_floor/inner/__init__.py": "",
        "lower_floor/inner/same.py": "from lower_floor.inner import last\nclass Row: ...",
        "lower_floor/inner/last.py": "import json",
        "README.md": "word " * 30 + "\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def test_another_checkout_is_measured_by_the_command(checkout: Path) -> None:
    out = checkout / "figures.json"
    command = [sys.executable, "-m", "tools.structure", "--no-trace", "--json", str(out)]
    printed = subprocess.run(
        [*command, "--root", str(checkout)], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    figures = json.loads(out.read_text())
    assert figures["longest_import_chain"] == [
        "upper_floor.first",
        "upper_floor.second",
        "lower_floor.inner.same",
        "lower_floor.inner.last",
    ]
    assert figures["folders"] == {"upper_floor": 3, "lower_floor/inner": 2, "lower_floor": 0}
    assert figures["duplicates"] == {"duplicate file names": 1, "duplicate class names": 1}
    assert list(figures["language"].values()) == [1, 1, 0]
    assert figures["packages"]["upper_floor"]["modules"] == 4
    assert "longest import chain: 4 modules, upper_floor.first >" in printed


def test_calls_and_switches_are_counted_below_the_given_folders_only() -> None:
    with _recorded([ROOT / "tools"]) as files:
        installed_packages(ROOT)  # calls project() of the same module
        structure.function_figures([""])
        json.dumps({})
    visited = [Path(name).stem for name, _ in groupby(files)]
    assert visited == ["source_tree", "structure", "request_trace"]  # the last is the block's end
    assert _summary(["a", "b", "b", "a"]) == (4, 2, 3)


@pytest.mark.slow
def test_requests_of_the_real_service_are_traced(planted_bundle: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    database.upgrade(url)
    log = open_log(url)
    log.set_pointer(planted_bundle.name)
    log.close()
    shutil.copytree(planted_bundle, tmp_path / "bundles" / planted_bundle.name)
    code = (
        "import json, pathlib, sys; from tools.request_trace import trace_requests as trace; "
        "print(json.dumps(trace(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", code, str(ROOT), str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    traces = json.loads(printed.splitlines()[-1])
    _, after_a_quiz, question = traces.values()
    assert next(iter(traces)) == "POST submit-quiz"
    for calls, modules, switches in traces.values():
        assert calls > switches >= modules > 5
    assert after_a_quiz > question  # the new event is folded first
