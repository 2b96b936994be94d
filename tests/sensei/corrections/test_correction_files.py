"""A file of corrections: each row is carried out, or counted with the reason why not."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensei.corrections.correction_files import correct_from_file
from sensei.errors import InvalidInput
from sensei.events.log import Log
from sensei.privacy.erasure import erase

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def quizzes(log: Log) -> Log:
    """A quiz of each of four learners, scored 0.2."""
    log.append(
        [
            {
                "event_id": f"q{n}",
                "user_id": f"u{n}",
                "interaction_type": "quiz_complete",
                "topic_id": n,
                "score": 0.2,
                "duration_seconds": 60,
                "timestamp": "2026-01-01T12:00:00Z",
            }
            for n in range(4)
        ],
        NOW,
    )
    return log


def scores(log: Log) -> list[list[float | None]]:
    return [[event.score for event in log.read_learner(f"u{n}")] for n in range(4)]


def test_rows_correct_void_and_leave_the_rest_and_a_repeat_changes_nothing(
    quizzes: Log, tmp_path: Path
) -> None:
    erase(quizzes.engine, "u3", ())
    file = tmp_path / "corrections.csv"
    file.write_text(
        "user_id,event_id,score,void,reason\n"
        "u0,q0,0.9,,regraded\n u1 ,q1,,true,\nu2,q2,85,,\nu2,missing,0.5,,\nu3,q3,1,,\n"
        ",q2,0.5,,\nu2,q2,0.5,perhaps,\n"
    )
    done = correct_from_file(quizzes, file)
    counts = (done.read, done.changed, done.unknown, done.refused, done.erased)
    assert counts == (7, 2, 1, 3, 1)
    assert any("q2: score: expected a fraction" in example for example in done.examples)
    assert scores(quizzes) == [[0.9], [], [0.2], []]
    again = correct_from_file(quizzes, file)
    assert (again.changed, again.unchanged) == (0, 2)
    assert quizzes.read_learner("u0")[0].duration_seconds == 60, "an empty cell changes nothing"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_other_kinds_of_files_are_read(quizzes: Log, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"corrections.{kind}"
    rows = [{"user_id": "u0", "event_id": "q0", "score": 1.0}]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    assert correct_from_file(quizzes, file).changed == 1
    assert scores(quizzes)[0] == [1.0]


def test_a_line_that_is_no_order_or_two_is_refused(quizzes: Log, tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    lines = [
        "[1, 2]",
        "7",
        '{"user_id": "u0", "event_id": "q0", "void": true, "score": 0.9}',
        '{"user_id": "u1", "event_id": "q1", "void": false, "score": 0.9}',
    ]
    file.write_text("\n".join(lines))
    done = correct_from_file(quizzes, file)
    assert (done.read, done.changed, done.refused) == (4, 1, 3)
    assert done.examples[0] == "row: expected a JSON object, got [1, 2]; send one per line"
    assert "void: expected no new values next to true" in done.examples[2]
    assert scores(quizzes) == [[0.2], [0.9], [0.2], [0.2]]


def test_null_in_json_removes_a_value(quizzes: Log, tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    file.write_text('{"user_id": "u0", "event_id": "q0", "score": null}')
    correct_from_file(quizzes, file)
    assert scores(quizzes)[0] == [None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", "", "ending of"),
        ("absent.csv", None, "expected a file"),
        ("c.csv", "user_id,event_id,points\nu0,q0,3\n", "got also points"),
        ("c.jsonl", "{", "a JSON object per line"),
    ],
)
def test_another_file_is_refused(
    quizzes: Log, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput, match=message):
        correct_from_file(quizzes, tmp_path / name)
