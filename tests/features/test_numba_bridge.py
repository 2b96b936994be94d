import os
import shutil
import subprocess
import sys
from pathlib import Path

import features
from features.numba_bridge import compiled

CODE = """
import numpy as np
from features.numba_bridge import compiled
from features.inputs import pass_rate
print(compiled(pass_rate)(1.0, 1.0, 2.0, 1.0))
"""


THREE = 3


def double(number):
    return 2 * number


def double_more(number):
    return double(number) + 1


def test_a_compiled_function_calls_compiled_ones_and_stays_plain():
    assert compiled(double_more)(2) == 5
    assert double_more.__globals__["double"] is double


def tripled(number):
    return THREE * number


def test_code_compiled_with_another_constant_is_not_used_again(monkeypatch):
    """The machine code on the disk holds the constant; its file may be another than the code's."""
    assert compiled.__wrapped__(tripled)(2) == 6
    monkeypatch.setitem(globals(), "THREE", 4)
    assert compiled.__wrapped__(tripled)(2) == 8 == tripled(2)


def test_a_read_only_install_still_compiles(tmp_path):
    package = tmp_path / "install" / "features"
    root = Path(features.__file__).parent
    shutil.copytree(root, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root.parent / "sensei", package.parent / "sensei",
                    ignore=shutil.ignore_patterns("__pycache__", "migrations"))  # fmt: skip
    # A file where the cache folders should be stops root as well as anybody.
    (package / "__pycache__").touch()
    unusable_home = tmp_path / "file"
    unusable_home.touch()
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        "HOME": str(unusable_home),
        "XDG_CACHE_HOME": str(unusable_home),
    }
    completed = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True,
        cwd=package.parent, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    assert 0 < float(completed.stdout) < 1


def test_serving_replays_without_compiler_or_pandas():
    code = "import sys, features.history, features.corpus.statistics; print(*sys.modules)"
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"numba", "pandas", "pyarrow"} & set(completed.stdout.split())
