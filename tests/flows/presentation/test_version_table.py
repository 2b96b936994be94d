"""The table of versions, as wide as a terminal."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from flows.presentation.version_table import rows_of, show_versions
from training.release.ledger import LedgerEntry
from training.tracking.model_version import Version

MADE = datetime(2026, 3, 1, 2, 5, tzinfo=UTC)
DECIDED = datetime(2026, 3, 1, 2, 10, tzinfo=UTC)


def _version(model, number, *aliases):
    measured, gate_text = "NDCG@5 0.5012 on new topics", "gate: kept back, gain -0.0065 over 9"
    return Version(model, str(number), aliases, "sequence", MADE, measured, gate_text)


def _line(model, before, version, by="gate", **reason):
    return LedgerEntry(1, model, before, version, "b", "done", by, reason, DECIDED, DECIDED)


VERSIONS = [
    _version("difficulty", 1, "champion"),
    *(_version("recommendation", number) for number in (1, 2, 10)),
    _version("recommendation", 9, "champion"),
    _version("recommendation", 11, "challenger"),
]
LINES = [
    _line("recommendation", None, "1", reason="There is no champion yet: " + "the best " * 20),
    _line("recommendation", "1", "9", gain=0.0123, low=0.001, high=0.02, reason="long"),
    _line("difficulty", None, "1", by="Ann [ops]", reason="calm"),
    _line("recommendation", "9", "2", by="Ann", action="rollback", reason="complaints"),
]


def test_state_comes_from_the_ledger_and_newest_is_first():
    rows = rows_of(VERSIONS, LINES)
    cells = [(row.model, row.version, row.state, row.decided_by) for row in rows]
    assert cells == [
        ("recommendation", "11", "challenger", ""),
        ("recommendation", "10", "-", ""),
        ("recommendation", "9", "former", "gate"),
        ("recommendation", "2", "champion", "Ann"),
        ("recommendation", "1", "former", "gate"),
        ("difficulty", "1", "champion", "Ann [ops]"),
    ]
    assert [row.alias for row in rows] == [False, False, True, False, False, False]
    assert rows[0].reason == "gate: kept back, gain -0.0065 over 9"
    assert rows[2].reason == "gain +0.0123 (+0.0010 to +0.0200)"
    assert rows[3].reason == "rollback: complaints"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_leaves_nothing_out(width):
    console = Console(file=io.StringIO(), width=width)
    show_versions(console, rows_of(VERSIONS, LINES))
    output = console.file.getvalue()
    assert max(map(len, output.splitlines())) <= width
    for words in (
        "recommendation 11", "challenger", "champion", "2026-03-01 02:10", "by Ann [ops]",
        "sequence network", "NDCG@5 0.5012 on new topics", "gain +0.0123", "rollback: complaints",
        "moved by hand to version 9", "kept back, gain -0.0065 over 9",
    ):  # fmt: skip
        assert words in output


def test_older_versions_are_counted_but_the_champion_is_always_shown():
    versions = [_version("recommendation", number) for number in range(1, 31)]
    console = Console(file=io.StringIO(), width=100)
    show_versions(console, rows_of(versions, [_line("recommendation", None, "3")]))
    output = console.file.getvalue()
    assert "recommendation 30" in output
    assert "recommendation 3 " in output
    assert "recommendation 20" not in output
    assert "and 19 older ones" in output


def test_without_versions_it_says_how_to_get_one():
    console = Console(file=io.StringIO(), width=100)
    show_versions(console, [])
    assert "No version yet" in console.file.getvalue()
