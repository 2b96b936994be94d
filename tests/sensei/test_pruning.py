import os
from pathlib import Path

from sensei.pruning import beyond_newest, keep_newest


def make(path: Path, seconds: int) -> Path:
    path.touch()
    os.utime(path, (seconds, seconds))
    return path


def test_the_newest_stay_whatever_their_names(tmp_path: Path) -> None:
    paths = [make(tmp_path / name, seconds) for name, seconds in zip("dacb", range(4), strict=True)]
    assert keep_newest(paths, 2) == [tmp_path / "a", tmp_path / "d"]
    assert {path.name for path in tmp_path.iterdir()} == {"b", "c"}
    assert keep_newest(tmp_path.iterdir(), 2) == []
    assert len(keep_newest(tmp_path.iterdir(), 0)) == 2


def test_folders_are_removed_with_their_content(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    keep_newest(tmp_path.iterdir(), 0)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_gone_already_is_the_oldest_and_no_error(tmp_path: Path) -> None:
    stays = make(tmp_path / "stays", 1)
    assert keep_newest([tmp_path / "gone", stays], 1) == [tmp_path / "gone"]
    assert stays.exists()


def test_another_key_may_tell_the_age(tmp_path: Path) -> None:
    paths = [make(tmp_path / name, 9 - n) for n, name in enumerate("abc")]
    assert beyond_newest(paths, 1, lambda path: path.name) == [tmp_path / "b", tmp_path / "a"]


def test_of_paths_of_the_same_time_the_greatest_name_is_the_newest(tmp_path: Path) -> None:
    paths = [make(tmp_path / name, 1) for name in ("page-2", "page-3", "page-1")]
    assert beyond_newest(paths, 1) == [tmp_path / "page-2", tmp_path / "page-1"]
