"""`sensei import` and `sensei learner merge`: what was wrong is taken back by commands."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sensei.events.log import open_log
from sensei.settings import Settings

Command = Callable[..., str]
HEADER = "event_id,user_id,interaction_type,topic_id,timestamp,score\n"


@pytest.fixture
def command(tmp_path: Path, typed: Callable[..., tuple[int, str]]) -> Command:
    """A `sensei` command in a home of its own; gives what was printed."""

    def run(*arguments: str, ok: bool = True) -> str:
        code, printed = typed(tmp_path / "home", *arguments)
        assert (not code) == ok, printed
        return " ".join(printed.split())

    return run


def write(folder: Path, name: str, scores: list[float]) -> str:
    rows = [
        f"q{n},u{n},quiz_complete,1,2026-05-01T0{n}:00:00Z,{score}"
        for n, score in enumerate(scores)
    ]
    (folder / name).write_text(HEADER + "\n".join(rows) + "\n")
    return str(folder / name)


def scores(folder: Path, *names: str) -> list[list[float | None]]:
    with closing(open_log(Settings(home=folder / "home").log_url)) as log:
        return [[event.score for event in log.read_learner(name)] for name in names]


def test_a_file_of_new_scores_corrects_and_may_be_repeated(
    command: Command, tmp_path: Path
) -> None:
    command("import", write(tmp_path, "first.csv", [0.2, 0.2]))
    rescored = write(tmp_path, "rescored.csv", [0.9, 0.2])
    printed = command("import", "--corrections", rescored)
    assert "2 corrections: 1 changed an event, 1 were known" in printed
    assert "0 changed an event, 2 were known" in command("import", "--corrections", rescored)
    assert scores(tmp_path, "u0", "u1") == [[0.9], [0.2]]


def test_an_import_is_listed_and_undone_by_its_id(command: Command, tmp_path: Path) -> None:
    printed = command("import", write(tmp_path, "wrong.csv", [0.1, 0.2, 0.3]))
    assert "import undo 1" in printed
    assert "3 rows wrong.csv" in command("import", "list")
    assert "3 events of import 1 voided." in command("import", "undo", "1")
    assert "0 events of import 1 voided." in command("import", "undo", "1")
    assert scores(tmp_path, "u0", "u1", "u2") == [[], [], []]
    assert "expected the id of an import, got 7" in command("import", "undo", "7", ok=False)
    assert "expected the number" in command("import", "undo", "wrong.csv", ok=False)


def test_two_accounts_become_one(command: Command, tmp_path: Path) -> None:
    command("import", write(tmp_path, "first.csv", [0.1, 0.2]))
    assert "1 rows moved" in command("learner", "merge", "u0", "u1")
    assert scores(tmp_path, "u0", "u1") == [[0.1, 0.2], [0.1, 0.2]]
    assert "0 rows moved" in command("learner", "merge", "u0", "u1")
    assert "expected one of the log" in command("learner", "merge", "nobody", "u1", ok=False)


def test_identical_rows_are_counted(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "same.csv"
    row = "ann,text_read,1,2026-05-01T00:00:00Z\n"
    file.write_text("user_id,interaction_type,topic_id,timestamp\n" + 3 * row)
    assert "2 of them without an event_id: rows that are equal count once" in command(
        "import", str(file)
    )
