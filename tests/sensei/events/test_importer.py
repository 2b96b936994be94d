import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensei import curriculum
from sensei.curriculum import Curriculum, Topic
from sensei.errors import InvalidInput
from sensei.events import files
from sensei.events.importer import import_files, read_frame
from sensei.events.log import Log, open_log
from sensei.privacy.erasure import export
from sensei.storage.tables import Quarantined

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(count: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "user_id": f"learner-{n % 3}-é",
            "interaction_type": "quiz_complete",
            "topic_id": n,
            "score": n / 10,
            "timestamp": (START + timedelta(hours=n)).isoformat(),
            "metadata": {"item_id": f"i{n}", "difficulty": "easy"},
        }
        for n in range(count)
    ]


def write(folder: Path, kind: str, data: list[dict[str, Any]]) -> Path:
    path = folder / f"events.{kind}"
    if kind == "jsonl":
        path.write_bytes(b"\n".join(orjson.dumps(row) for row in data) + b"\n\n")
        return path
    texts = [{key: _text(value) for key, value in row.items()} for row in data]
    if kind == "csv":
        pd.DataFrame(texts).to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pylist(texts), path)
    return path


def _text(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


def stored(log: Log) -> list[dict[str, Any]]:
    with log.engine.connect() as connection:
        return [dict(row) for row in connection.execute(Quarantined.__table__.select()).mappings()]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_events(log: Log, tmp_path: Path, kind: str) -> None:
    imported = import_files(log, [write(tmp_path, kind, rows())], {})
    assert (imported.read, imported.inserted, imported.quarantined) == (6, 6, 0)
    again = import_files(log, [write(tmp_path, "jsonl", rows())], {})
    assert (again.inserted, again.repeated) == (0, 6)
    frame = log.read().sort_values("topic_id")
    assert list(frame["score"]) == [n / 10 for n in range(6)]
    assert list(frame["item_id"]) == [f"i{n}" for n in range(6)]
    assert set(frame["user_id"]) == {"learner-0-é", "learner-1-é", "learner-2-é"}


def test_bad_rows_go_into_quarantine_once_and_good_ones_into_the_log(
    log: Log, tmp_path: Path
) -> None:
    data = rows()
    data[1]["score"] = 85
    data[2]["interaction_type"] = "guess"
    data[3]["timestamp"] = "2999-01-01T00:00:00Z"
    path = write(tmp_path, "jsonl", data)
    with path.open("ab") as file:
        file.write(b'{"user_id": \n')
    for _ in range(2):
        imported = import_files(log, [path], {})
        assert (imported.read, imported.quarantined) == (7, 4)
        assert imported.read == imported.inserted + imported.repeated + imported.quarantined
    assert imported.reasons["score: expected a fraction in [0, 1]"] == 1
    assert any("send 0.85" in example for example in imported.examples)
    assert log.count() == 3
    kept = stored(log)
    assert len(kept) == 4
    assert {row["source"] for row in kept} == {"events.jsonl"}
    assert {row["row"].get("score") for row in kept} >= {85}


def test_rows_on_topics_that_the_catalogue_lacks_are_counted_by_topic_and_kept(
    log: Log, tmp_path: Path
) -> None:
    topics = [Topic(topic_id=at, title=f"Topic {at}", domain="Web") for at in (0, 1)]
    retired = Topic(topic_id=2, title="Old", domain="Web", retired=True)
    path = write(tmp_path, "jsonl", [*rows(), *rows(4)])
    assert not import_files(log, [path], {}).outside, "no catalogue is loaded"
    curriculum.store(log.engine, Curriculum(name="Test", topics=(*topics, retired)))
    imported = import_files(log, [path], {})
    assert imported.outside == {3: 2, 4: 1, 5: 1}
    assert imported.read == imported.repeated == 10
    assert log.count() == 6
    assert sorted(log.read()["topic_id"]) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_scores_in_percent_are_all_refused_with_the_way_out(
    log: Log, tmp_path: Path, kind: str
) -> None:
    path = write(tmp_path, kind, [row | {"score": 50.0 + row["topic_id"]} for row in rows()])
    imported = import_files(log, [path], {})
    assert (imported.inserted, imported.quarantined) == (0, 6)
    assert imported.examples == ["score: expected a fraction in [0, 1], got 50; send 0.5"]


def test_an_event_id_with_another_payload_is_quarantined(log: Log, tmp_path: Path) -> None:
    data = [row | {"event_id": "same", "user_id": "ada"} for row in rows(2)]
    imported = import_files(log, [write(tmp_path, "csv", data)], {})
    assert (imported.inserted, imported.quarantined) == (1, 1)
    assert "first sent with it" in imported.examples[0]


def test_an_interrupted_import_goes_on_where_it_is_repeated(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BATCH", 2)
    path = write(tmp_path, "jsonl", rows(10))
    calls = itertools.count()

    def interrupt(_done: int, _total: int) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_files(log, [path], {}, interrupt)
    assert log.count() == 4
    imported = import_files(log, [path], {})
    assert (imported.inserted, imported.repeated) == (6, 4)


@pytest.mark.parametrize("size", [2, 5, 100])
def test_identical_rows_count_once_however_the_file_is_cut(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(files, "BATCH", size)
    whole = [*rows(), *rows(3), *rows(1), *rows(1)]
    imported = import_files(log, [write(tmp_path, "jsonl", whole)], {})
    assert (imported.inserted, imported.repeated, imported.identical) == (6, 5, 5)
    again = import_files(log, [write(tmp_path, "csv", whole[:4])], {})
    assert (again.inserted, again.identical) == (0, 4)
    named = [row | {"event_id": f"{n}"} for n, row in enumerate(whole[:4])]
    sent = write(tmp_path, "jsonl", named)
    assert [import_files(log, [sent], {}).inserted for _ in range(2)] == [4, 0]
    assert import_files(log, [sent], {}).identical == 0, "they have ids of their own"


def test_progress_ends_at_all_bytes(log: Log, tmp_path: Path) -> None:
    paths = [write(tmp_path, kind, rows()) for kind in ("csv", "jsonl", "parquet")]
    seen: list[tuple[int, int]] = []
    import_files(log, paths, {}, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == sum(path.stat().st_size for path in paths)


def test_foreign_names_are_mapped_and_others_left_out(log: Log, tmp_path: Path) -> None:
    data = [
        {"who" if key == "user_id" else key: value for key, value in row.items()} | {"device": "x"}
        for row in rows()
    ]
    path = write(tmp_path, "csv", data)
    with pytest.raises(InvalidInput, match="--map THEIRS=user_id"):
        import_files(log, [path], {})
    with pytest.raises(InvalidInput, match="got also device"):
        import_files(log, [path], {"who": "user_id"})
    assert import_files(log, [path], {"who": "user_id", "device": ""}).inserted == 6


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"PAR1 is not all of it", "expected a whole parquet file"),
        ("a.csv", b"", "expected columns"),
        ("a.csv", b"user_id,interaction_type,topic_id,timestamp\n\xff\xfe,a,1,b\n", "UTF-8"),
        ("a.xlsx", b"", "expected an ending"),
        ("none.csv", None, "expected a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    log: Log, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        import_files(log, [tmp_path / name], {})
    assert log.is_empty()


def test_a_demo_refuses_imports(log: Log, tmp_path: Path) -> None:
    log.set_fact("demo", True)
    with pytest.raises(InvalidInput, match="SENSEI_HOME"):
        import_files(log, [write(tmp_path, "csv", rows())], {})


def test_a_log_without_any_score_is_imported(log: Log, tmp_path: Path) -> None:
    path = write(tmp_path, "parquet", [row | {"score": None} for row in rows()])
    assert import_files(log, [path], {}).inserted == 6
    assert log.read()["score"].isna().all()


def test_a_frame_is_read_without_a_database(tmp_path: Path) -> None:
    data = [*rows(), rows(1)[0] | {"score": 7}, rows(1)[0] | {"event_id": "e"}]
    frame, imported = read_frame(write(tmp_path, "jsonl", [*data, data[-1]]), {})
    assert (len(frame), imported.repeated, imported.quarantined) == (7, 1, 1)
    assert "metadata" in frame


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_column_to_keep_stays_beside_its_row(tmp_path: Path, ending: str) -> None:
    parts = ["train", "test", "train"]
    data = [row | {"part": part} for row, part in zip(rows(3), parts, strict=True)]
    data[0]["score"] = 85  # refused: the others must not slip
    path = write(tmp_path, ending, data)
    with pytest.raises(InvalidInput, match="part"):
        read_frame(path, {})
    frame, imported = read_frame(path, {}, keep=["part"])
    assert (imported.quarantined, list(frame["part"])) == (1, ["test", "train"])
    assert "part" not in read_frame(path, {"part": ""})[0]
    assert read_frame(path, {"part": ""}, keep=["part"])[0].equals(frame)
    assert "absent" not in read_frame(path, {"part": ""}, keep=["absent"])[0]
    assert files.columns(path) == list(data[0])
    with pytest.raises(InvalidInput, match="difficulty"):
        read_frame(path, {"part": ""}, keep=["difficulty"])


def test_a_mapped_column_that_the_file_lacks_is_named(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("user_id,interaction_type,topic_id,timestamp\nu,text_read,1,2026-01-01\n")
    with pytest.raises(InvalidInput, match="--map nothere"):
        read_frame(file, {"nothere": "score"})


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("levels", [33, 300, 1_000, 5_000])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_row_that_is_nested_too_deep_is_refused_alone(
    sqlite_url: str, tmp_path: Path, ending: str, levels: int
) -> None:
    log, file = open_log(sqlite_url), tmp_path / f"deep.{ending}"
    columns = ["user_id", "interaction_type", "topic_id", "timestamp", "metadata"]
    texts = [nested(32), nested(levels), None]
    rows = [
        dict(zip(columns, (f"u{at}", "text_read", 1, "2026-01-01T00:00:00Z", text), strict=True))
        for at, text in enumerate(texts)
    ]
    if ending == "jsonl":
        lines = [json.dumps(row | {"metadata": "META"}) for row in rows]
        told = zip(lines, texts, strict=True)
        file.write_text("\n".join(line.replace('"META"', text or "null") for line, text in told))
    elif ending == "csv":
        pd.DataFrame(rows).to_csv(file, index=False)
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    imported = import_files(log, [file], {})
    assert (imported.read, imported.inserted, imported.quarantined) == (3, 2, 1)
    if levels < 1_000:  # JSON's reader refuses 1,024 levels of the line as no JSON
        assert list(imported.reasons) == ["metadata: expected at most 32 levels of nesting"]
        assert export(log.engine, "u1")["quarantine"], "an erase must find it by its learner"
    log.close()


def test_a_parquet_file_may_hold_objects_that_are_nested_too_deep(
    sqlite_url: str, tmp_path: Path
) -> None:
    kind, value = pa.int64(), 1
    for _ in range(80):
        kind, value = pa.struct({"a": kind}), {"a": value}
    table = pa.table(
        {
            "user_id": ["u1", "u2"],
            "interaction_type": ["text_read"] * 2,
            "topic_id": [1, 1],
            "timestamp": ["2026-01-01T00:00:00Z"] * 2,
            "metadata": pa.array([value, None], kind),
        }
    )
    pq.write_table(table, tmp_path / "deep.parquet")
    log = open_log(sqlite_url)
    imported = import_files(log, [tmp_path / "deep.parquet"], {})
    assert (imported.inserted, imported.quarantined) == (1, 1)
    assert export(log.engine, "u1")["quarantine"]
    log.close()
