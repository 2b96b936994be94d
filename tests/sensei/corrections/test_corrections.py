"""Corrections, voids, undone imports and merges: the truth counts, and history is kept."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import insert, text

from sensei.corrections.corrections import Correction, correct
from sensei.corrections.imports import newest_imports, undo_import
from sensei.corrections.merging import merge_learners
from sensei.curriculum import Curriculum, Topic
from sensei.curriculum import store as store_curriculum
from sensei.errors import ConflictingEvent, InvalidInput, LearnerErased
from sensei.events import rules
from sensei.events.importer import import_files
from sensei.events.log import Log
from sensei.events.rules_arrow import check_table
from sensei.privacy import audit_log, tombstones
from sensei.privacy.erasure import erase, export
from sensei.privacy.preferences import set_style_override, style_override
from sensei.storage import database
from sensei.storage.tables import MergedLearner

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(event_id: str, **values: object) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "user_id": "ann",
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 0.2,
        "timestamp": NOON,
    } | values


def truth(log: Log, user_id: str = "ann") -> list[tuple[int, float | None]]:
    """Topic and score of the valid events, which training and serving read alike."""
    served = [(row.topic_id, row.score) for row in log.read_learner(user_id)]
    frame = log.read()
    mine = frame[frame["user_id"] == user_id].sort_values("timestamp", kind="stable")
    scores = [None if score != score else score for score in mine["score"]]
    assert list(zip(mine["topic_id"], scores, strict=True)) == served
    return served


def rows(log: Log, table: str) -> int:
    with database.read_connection(log.engine) as connection:
        return int(connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


def rescored(score: float | None, event_id: str = "b") -> list[Correction]:
    return [Correction("ann", event_id, {"score": score})]


def stored_by_older_release(log: Log, old: dict[str, Any]) -> None:
    """Append an event to a log of before ids had a normal form."""
    log.append([old | {"user_id": "stand-in"}], NOW)
    with database.write_transaction(log.engine) as connection:
        for table in ("user_interactions", "learners"):
            change = text(f"UPDATE {table} SET user_id = :name WHERE user_id = 'stand-in'")
            connection.execute(change, {"name": old["user_id"]})


@pytest.fixture
def three(log: Log) -> Log:
    """Three events of one time, in the order a, b, c."""
    log.append([event(name, topic_id=topic) for topic, name in enumerate("abc")], NOW)
    return log


def test_a_correction_counts_in_the_turn_of_the_event_it_corrects(three: Log) -> None:
    (result,) = correct(three.engine, rescored(0.9))
    assert result.is_new
    assert result.event is not None
    assert (result.event.event_id, result.event.score) == ("b", 0.9)
    assert truth(three) == [(0, 0.2), (1, 0.9), (2, 0.2)]
    assert three.count() == 4, "the first version is kept"


def test_the_same_correction_again_changes_nothing(three: Log) -> None:
    correct(three.engine, rescored(0.9))
    revision = three.revision("ann")
    (again,) = correct(three.engine, rescored(0.9))
    assert not again.is_new
    assert three.revision("ann") == revision
    assert (three.count(), rows(three, "corrections")) == (4, 1)


def test_a_later_correction_supersedes_the_earlier_one_even_back_and_forth(three: Log) -> None:
    for score in (0.9, 0.4, 0.9, 0.2):
        assert correct(three.engine, rescored(score))[0].is_new
        assert truth(three)[1] == (1, score)
    assert rows(three, "corrections") == 4


def test_a_void_event_counts_no_more_until_it_is_corrected(three: Log) -> None:
    (voided,) = correct(three.engine, [Correction("ann", "b")])
    assert (voided.is_new, voided.event) == (True, None)
    assert not correct(three.engine, [Correction("ann", "b")])[0].is_new
    assert truth(three) == [(0, 0.2), (2, 0.2)]
    correct(three.engine, rescored(0.7))
    assert truth(three) == [(0, 0.2), (1, 0.7), (2, 0.2)]


def test_what_is_sent_again_does_not_take_a_correction_back(three: Log) -> None:
    correct(three.engine, [*rescored(0.9), Correction("ann", "c")])
    sent = [event(name, topic_id=topic) for topic, name in enumerate("abc")]
    assert three.append(sent, NOW).inserted == 0
    assert truth(three) == [(0, 0.2), (1, 0.9)]


def test_what_counts_now_may_be_sent_again_and_another_value_is_a_conflict(three: Log) -> None:
    correct(three.engine, rescored(0.9))
    rescored_event = event("b", topic_id=1, score=0.9)
    assert three.append([rescored_event], NOW).inserted == 0
    table = check_table(pa.Table.from_pylist([rescored_event]), rules.latest(NOW))[0]
    assert three.append_table(table, "file").conflicts == ()
    with pytest.raises(ConflictingEvent, match="or send a correction"):
        three.append([event("b", topic_id=1, score=0.5)], NOW)


def test_any_field_may_be_corrected_and_each_rule_holds(three: Log) -> None:
    later = NOON + timedelta(hours=1)
    changes = {"timestamp": later, "topic_id": 7, "score": None, "duration_seconds": 30}
    correct(three.engine, [Correction("ann", "a", changes)])
    assert truth(three) == [(1, 0.2), (2, 0.2), (7, None)]
    with pytest.raises(InvalidInput, match="score: expected a fraction"):
        correct(three.engine, [Correction("ann", "c"), *rescored(85)])
    assert truth(three) == [(1, 0.2), (2, 0.2), (7, None)], "all or none"
    with pytest.raises(InvalidInput, match="user_id: expected one of"):
        correct(three.engine, [Correction("ann", "a", {"user_id": "bob"})])


def test_an_event_that_is_not_stored_is_said_to_be_unknown(three: Log) -> None:
    (result,) = correct(three.engine, rescored(0.9, "z"))
    assert (result.is_known, result.is_new) == (False, False)


@pytest.mark.parametrize("name", ["Jose\u0301", " ann ", "b\u200bob"])
def test_an_event_under_an_id_of_an_older_release_is_corrected_in_its_place(
    log: Log, name: str
) -> None:
    stored_by_older_release(log, event("old", user_id=name))
    assert correct(log.engine, [Correction(name, "old", {"score": 0.9})])[0].is_new
    assert truth(log, name) == [(1, 0.9)]
    assert not correct(log.engine, [Correction(name, "old", {"score": 0.9})])[0].is_new
    assert log.count() == 2


def test_every_change_raises_the_revision_and_is_audited(three: Log) -> None:
    before = three.log_revision()
    correct(three.engine, rescored(0.9), audit_log.Actor("key k", "HTTP x"))
    assert three.log_revision() >= before + 2
    entry = audit_log.newest(three.engine, 1)[0]
    assert (entry.action, entry.actor) == (audit_log.CORRECTED, "key k")
    assert "ann" not in str(entry)


def test_an_export_shows_corrections_and_an_erase_removes_them(three: Log) -> None:
    correct(three.engine, [Correction("ann", "b", {"score": 0.9}, "regraded")])
    (shown,) = export(three.engine, "ann")["corrections"]
    assert (shown["action"], shown["reason"]) == ("correct", "regraded")
    erase(three.engine, "ann", ())
    assert rows(three, "corrections") == 0
    with pytest.raises(LearnerErased):
        correct(three.engine, rescored(0.9))


def file_of(folder: Path, scores: list[float], name: str = "first.csv") -> Path:
    path = folder / name
    lines = [f"q{n},u{n},quiz_complete,1,2026-05-01T0{n}:00:00Z,{score}" for n, score in
             enumerate(scores)]  # fmt: skip
    header = "event_id,user_id,interaction_type,topic_id,timestamp,score"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_an_import_is_undone_once_and_may_be_repeated(log: Log, tmp_path: Path) -> None:
    log.append([event("kept", user_id="u0")], NOW)
    imported = import_files(log, [file_of(tmp_path, [0.2, 0.3, 0.4])], {})
    (noted,) = newest_imports(log.engine, 5)
    assert (noted.id, noted.source, noted.rows) == (imported.import_id, "first.csv", 3)
    correct(log.engine, [Correction("u1", "q1", {"score": 1.0})])
    assert undo_import(log.engine, noted.id) == 3
    assert undo_import(log.engine, noted.id) == 0
    assert (truth(log, "u0"), truth(log, "u1")) == ([(1, 0.2)], [])
    again = import_files(log, [file_of(tmp_path, [0.2, 0.9, 0.4], "fixed.csv")], {})
    assert (again.inserted, again.repeated, again.quarantined) == (3, 0, 0)
    assert [truth(log, f"u{n}")[-1][1] for n in range(3)] == [0.2, 0.9, 0.4]
    assert again.import_id is not None
    assert undo_import(log.engine, again.import_id) == 3
    with pytest.raises(InvalidInput, match="expected the id of an import, got 99"):
        undo_import(log.engine, 99)


def test_a_void_after_an_undone_import_outlasts_the_next_import(log: Log, tmp_path: Path) -> None:
    file = file_of(tmp_path, [0.2])
    first = import_files(log, [file], {})
    assert first.import_id is not None
    undo_import(log.engine, first.import_id)
    void = [Correction("u0", "q0")]
    assert [correct(log.engine, void)[0].is_new for _ in range(2)] == [True, False]
    assert import_files(log, [file], {}).inserted == 0
    assert truth(log, "u0") == []


@pytest.mark.parametrize("score", [0.2, 0.9])
def test_an_event_of_an_undone_import_counts_when_it_is_sent_again(
    log: Log, tmp_path: Path, score: float
) -> None:
    first = import_files(log, [file_of(tmp_path, [0.2])], {})
    assert first.import_id is not None
    (imported,) = log.read_learner("u0")
    undo_import(log.engine, first.import_id)
    moment = datetime.fromtimestamp(imported.timestamp / 1e6, UTC)
    sent = event("q0", user_id="u0", timestamp=moment, score=score)
    revision = log.revision("u0")
    done = log.append([event("new", user_id="u0", topic_id=3), sent, sent], NOW)
    assert (done.inserted, done.repeated) == (2, 1)
    assert truth(log, "u0") == [(3, 0.2), (1, score)]
    assert log.revision("u0") != revision
    assert log.append([sent], NOW).inserted == 0
    assert undo_import(log.engine, first.import_id) == 0


@pytest.fixture
def pair(log: Log) -> Log:
    """Two accounts of one person; their events alternate at one time."""
    for number in range(4):
        name = ("ann", "old")[number % 2]
        log.append([event(f"e{number}", user_id=name, topic_id=number)], NOW)
    return log


def test_merged_learners_are_one_in_order_of_arrival(pair: Log) -> None:
    assert merge_learners(pair.engine, "old", "ann") == (2, 0)
    expected = [(number, 0.2) for number in range(4)]
    assert truth(pair) == expected
    assert [(row.topic_id, row.score) for row in pair.read_learner("old")] == expected
    assert "old" not in set(pair.read()["user_id"])
    assert merge_learners(pair.engine, "old", "ann") == (0, 0)


def test_what_is_sent_under_the_former_id_arrives_at_the_present_one(pair: Log) -> None:
    merge_learners(pair.engine, "old", "ann")
    before = pair.revision("old")
    assert pair.append([event("e1", user_id="old", topic_id=1)], NOW).repeated == 1
    assert pair.append([event("new", user_id="old", topic_id=9)], NOW).inserted == 1
    assert truth(pair)[-1] == (9, 0.2)
    assert pair.revision("old") != before, "who asks under the former id reads again"
    correct(pair.engine, [Correction("old", "e1", {"score": 1.0})])
    assert truth(pair)[1] == (1, 1.0)


def test_corrections_and_quarantine_move_with_the_events(pair: Log) -> None:
    correct(pair.engine, [Correction("old", "e1", {"score": 0.9})])
    key = pair.read_learner("old")[-1].id
    pair.quarantine_interactions({key: "odd"}, "odd")
    merge_learners(pair.engine, "old", "ann")
    assert truth(pair) == [(0, 0.2), (1, 0.9), (2, 0.2)]
    assert pair.append([event("e1", user_id="old", topic_id=1)], NOW).repeated == 1


def test_one_event_of_both_accounts_counts_once_and_different_ones_both(log: Log) -> None:
    for name in ("ann", "old"):
        log.append(
            [
                event("same", user_id=name),
                event("own", user_id=name, topic_id=len(name) + (name == "old")),
            ],
            NOW,
        )
    merge_learners(log.engine, "old", "ann")
    assert sorted(truth(log)) == [(1, 0.2), (3, 0.2), (4, 0.2)]


@pytest.mark.parametrize(
    ("former", "remaining", "expected"),
    [
        ([{"score": 0.9}], [], [0.9]),
        ([None], [], []),
        ([], [{"score": 0.9}], [0.9]),
        ([], [None], []),
        ([{"score": 0.9}], [{"score": 0.7}], [0.7]),
        ([{"score": 0.9}], [{"score": 0.9}], [0.9]),
        ([None], [{"score": 0.7}], [0.7]),
        ([{"score": 0.9}, {"score": 0.4}], [], [0.4]),
    ],
)
def test_an_event_of_both_accounts_counts_in_one_version(
    log: Log, former: list[Any], remaining: list[Any], expected: list[float]
) -> None:
    for name, changes in (("ann", remaining), ("old", former)):
        log.append([event("same", user_id=name)], NOW)
        for change in changes:
            correct(log.engine, [Correction(name, "same", change)])
    assert merge_learners(log.engine, "old", "ann").clashes == 0
    assert truth(log) == [(1, score) for score in expected]


def test_an_event_whose_import_was_undone_counts_if_the_other_account_has_it(
    log: Log, tmp_path: Path
) -> None:
    imported = import_files(log, [file_of(tmp_path, [0.2])], {})
    assert imported.import_id is not None
    sent = log.read_learner("u0")[0]
    when = {"timestamp": datetime.fromtimestamp(sent.timestamp / 1e6, UTC)}
    log.append([event("q0", user_id="old", **when)], NOW)
    undo_import(log.engine, imported.import_id)
    merge_learners(log.engine, "old", "u0")
    assert truth(log, "u0") == [(1, 0.2)]


def test_different_events_under_one_id_are_counted_and_never_confused(log: Log) -> None:
    log.append([event("e"), event("e", user_id="old", score=0.7)], NOW)
    assert merge_learners(log.engine, "old", "ann") == (1, 1)
    assert sorted(truth(log)) == [(1, 0.2), (1, 0.7)]
    for change in (None, {"score": 0.9}):
        with pytest.raises(InvalidInput, match="expected an id of one event, got 'e'"):
            correct(log.engine, [Correction("old", "e", change)])
    with pytest.raises(ConflictingEvent):
        log.append([event("e", user_id="old", score=0.7)], NOW)
    correct(log.engine, [Correction("ann", "e", {"score": 0.4})])
    assert sorted(truth(log)) == [(1, 0.4), (1, 0.7)]


def test_an_undone_event_is_not_brought_back_as_the_other_event_under_its_id(
    log: Log, tmp_path: Path
) -> None:
    imported = import_files(log, [file_of(tmp_path, [0.2])], {})
    assert imported.import_id is not None
    log.append([event("q0", user_id="old", score=0.7)], NOW)
    merge_learners(log.engine, "old", "u0")
    undo_import(log.engine, imported.import_id)
    sent = [event("q0", user_id="old", score=0.7)]
    table = check_table(pa.Table.from_pylist(sent), rules.latest(NOW))[0]
    assert len(log.append_table(table, "file").conflicts) == 1
    assert truth(log, "u0") == [(1, 0.7)]


def test_merges_follow_each_other_and_end_in_one_learner(pair: Log) -> None:
    pair.append([event("x", user_id="oldest", topic_id=8)], NOW)
    merge_learners(pair.engine, "oldest", "old")
    merge_learners(pair.engine, "old", "ann")
    assert [topic for topic, _ in truth(pair)] == [0, 1, 2, 3, 8]
    assert len(pair.read_learner("oldest")) == 5
    with pytest.raises(InvalidInput, match="twice"):
        merge_learners(pair.engine, "ann", "oldest")
    with pytest.raises(InvalidInput, match="who was merged into 'ann'"):
        merge_learners(pair.engine, "old", "bob")
    for names in (("nobody", "ann"), ("ann", "nobody")):
        with pytest.raises(InvalidInput, match="expected one of the log, got 'nobody'"):
            merge_learners(pair.engine, *names)


def test_the_id_that_remains_has_the_normal_form_even_if_it_is_new(log: Log) -> None:
    stored_by_older_release(log, event("e", user_id="Jose\u0301"))
    log.append([event("f", user_id="ann")], NOW)
    with pytest.raises(InvalidInput, match=r"name 'Jos\\xe9' as the one that remains"):
        merge_learners(log.engine, "ann", "Jose\u0301")
    merge_learners(log.engine, "Jose\u0301", "Jos\u00e9")
    assert truth(log, "Jos\u00e9") == [(1, 0.2)]


def test_every_change_of_a_merged_learner_is_seen_under_the_former_id(
    log: Log, tmp_path: Path
) -> None:
    imported = import_files(log, [file_of(tmp_path, [0.2])], {})
    assert imported.import_id is not None
    log.append([event("f", topic_id=2)], NOW)
    merge_learners(log.engine, "u0", "ann")

    def quarantine() -> None:
        log.quarantine_interactions({log.read_learner("ann")[0].id: "odd"}, "odd")

    def store() -> None:
        topics = [Topic(topic_id=n, title=f"T{n}", domain="Web") for n in range(3, 5)]
        store_curriculum(log.engine, Curriculum(name="Test", topics=tuple(topics)))

    changes: list[Callable[[], object]] = [
        lambda: undo_import(log.engine, imported.import_id or 0),
        lambda: import_files(log, [file_of(tmp_path, [0.2])], {}),
        quarantine,
        store,
    ]
    for change in changes:
        before = log.revisions(["ann", "u0"])
        change()
        after = log.revisions(["ann", "u0"])
        assert all(after[name] > before[name] for name in before)


@pytest.mark.parametrize("name", ["ann", "old"])
def test_a_merged_learner_is_exported_and_erased_under_all_ids(pair: Log, name: str) -> None:
    merge_learners(pair.engine, "old", "ann")
    held = export(pair.engine, name)
    assert len(held["user_interactions"]) == 6
    assert held["merged_learners"][0]["into_user_id"] == "ann"
    erase(pair.engine, name, ())
    assert pair.count() == rows(pair, "corrections") == rows(pair, "merged_learners") == 0
    for gone in ("ann", "old"):
        with pytest.raises(LearnerErased):
            pair.append([event("late", user_id=gone)], NOW)


def _append_late(log: Log) -> bool:
    log.append([event("late", user_id="old")], NOW)
    return len(log.read_learner("ann")) == 2


def _correct_late(log: Log) -> bool:
    return correct(log.engine, [Correction("old", "e", {"score": 0.9})])[0].is_new


def _choose_late(log: Log) -> bool:
    set_style_override(log.engine, "old", "visual")
    return style_override(log.engine, "ann") == "visual"


@pytest.mark.parametrize("write", [_append_late, _correct_late, _choose_late])
def test_a_write_during_a_merge_counts_for_the_present_id(
    log: Log, write: Callable[[Log], bool]
) -> None:
    log.append([event("e")], NOW)
    with ThreadPoolExecutor(1) as pool:
        with database.write_transaction(log.engine) as connection:
            tombstones.exclude_writers(connection)
            written = pool.submit(write, log)
            with pytest.raises(TimeoutError):
                written.result(timeout=0.3)
            row = {"user_id": "old", "into_user_id": "ann", "created_at": NOW}
            connection.execute(insert(MergedLearner).values(row))
        assert written.result(timeout=20)
