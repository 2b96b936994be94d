"""No run folder is deleted while a run uses it, and no step trusts a file that is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from flows.local.local_log import last_midnight, open_own_log, simulate_into
from flows.tasks import training_tasks
from flows.tasks.run_folders import keep_run_folders, run_folder
from sensei.settings import Settings

ROOT = Path(__file__).parents[3]

USES = """
import sys
from pathlib import Path
from flows.tasks.run_folders import run_folder
with run_folder(Path(sys.argv[1])) as folder:
    (folder / "shards").mkdir()
    (folder / "shards" / "shard-00000.npz").write_bytes(b"x")
    print("uses", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains on the shards of a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", USES, str(folder)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "uses\n"
        yield process


def make_folder(folder: Path, age: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "interactions.parquet").touch()
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def names(runs: Path) -> set[str]:
    return {path.name for path in runs.iterdir()}


def test_a_folder_that_another_process_uses_stays_however_old_it_is(tmp_path: Path) -> None:
    with another_run(tmp_path / "training"):
        make_folder(tmp_path / "training", 900)
        for age in range(5):
            make_folder(tmp_path / f"check-{age}", age)
        keep_run_folders(tmp_path, 3)
        assert names(tmp_path) == {"training", "check-0", "check-1", "check-2"}
        assert (tmp_path / "training" / "shards" / "shard-00000.npz").exists()
    keep_run_folders(tmp_path, 3)
    assert names(tmp_path) == {"check-0", "check-1", "check-2"}


def test_the_folder_of_a_run_that_was_killed_is_free(tmp_path: Path) -> None:
    with another_run(tmp_path / "training") as process:
        make_folder(tmp_path / "training", 900)
        process.send_signal(signal.SIGKILL)
        process.wait()
        keep_run_folders(tmp_path, 0)
        assert names(tmp_path) == set()


def test_two_runs_may_use_one_folder(tmp_path: Path) -> None:
    with another_run(tmp_path / "same"), run_folder(tmp_path / "same") as folder:
        keep_run_folders(tmp_path, 0)
        assert folder.exists()


def test_a_folder_deleted_before_it_could_be_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open, times = os.open, iter([True, False])

    def deleted_meanwhile(path: Path, flags: int, *mode: int) -> int:
        descriptor = real_open(path, flags, *mode)
        if next(times):
            path.rmdir()
        return descriptor

    monkeypatch.setattr(os, "open", deleted_meanwhile)
    with run_folder(tmp_path / "run") as folder:
        monkeypatch.undo()
        assert folder.is_dir()
        keep_run_folders(tmp_path, 0)
        assert folder.is_dir()


class Step:
    """A step whose cache knows one file, as a task of Prefect does."""

    name = "extract"

    def __init__(self, file: Path) -> None:
        self.file, self.calls = file, [False]

    def with_options(self, *, refresh_cache: bool) -> "Step":
        self.calls.append(refresh_cache)
        return self

    def __call__(self) -> Path:
        if self.calls[-1]:
            self.file.touch()
        return self.file


def test_a_cached_step_is_computed_again_if_its_file_is_missing(tmp_path: Path) -> None:
    step = Step(tmp_path / "interactions.parquet")
    with disable_run_logger():
        assert training_tasks.cached(step).exists()
        assert step.calls == [False, True]
        assert training_tasks.cached(step).exists()
        assert step.calls == [False, True]


CHECKS = """
import sys
from datetime import timedelta
from pathlib import Path
from flows.check_data import check_data
from flows.local.local_log import last_midnight
from sensei.settings import Settings

settings = Settings()
training = settings.runs / "training"
for days in (4, 3, 2, 1):
    check_data(as_of=last_midnight() - timedelta(days=days))
print("shards", (training / "shards" / "shard-00000.npz").exists())
print("folders", len(list(settings.runs.iterdir())))
(valid,) = [max(settings.runs.glob("*/valid.parquet"), key=lambda path: path.stat().st_mtime_ns)]
rows = valid.read_bytes()
for gone in (*valid.parent.iterdir(), *(settings.reports / "data_docs").rglob("index.html")):
    gone.unlink()
check_data(as_of=last_midnight() - timedelta(days=1))
print("again", valid.exists(), valid.read_bytes() == rows)
stamp = valid.stat().st_mtime_ns
check_data(as_of=last_midnight() - timedelta(days=1))
print("cached", valid.stat().st_mtime_ns == stamp)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_checks_during_a_training_leave_its_shards_and_missing_files_are_made_again(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path / "home")
    simulate_into(open_own_log(settings), 6, 20, 5, last_midnight(), lambda _: None)
    clean = {name: v for name, v in os.environ.items() if not name.startswith("PREFECT_")}
    with another_run(settings.runs / "training"):
        make_folder(settings.runs / "training", 900)
        completed = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CHECKS],
            cwd=ROOT,
            env=clean | settings.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert completed.returncode == 0, completed.stderr[-3000:]
    assert completed.stdout.splitlines() == [
        "shards True",
        "folders 4",
        "again True True",
        "cached True",
    ]
