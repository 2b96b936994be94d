"""Meaning of the lines of the ledger."""

from datetime import UTC, datetime, timedelta

from training.release.ledger import DONE, PENDING, LedgerEntry, champions, last_changed, predecessor

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _lines(*moves, status=DONE):
    """Lines of one model: `12` is a promotion of 2 in place of 1, `21r` a rollback."""
    return [
        LedgerEntry(
            position, "recommendation", move[0].strip("-") or None, move[1], f"b{position}", status,
            "gate", {"action": "rollback"} if move.endswith("r") else {},
            NOON + timedelta(days=position), None,
        )
        for position, move in enumerate(moves)
    ]  # fmt: skip


def test_the_last_line_names_the_champion_also_while_it_is_pending():
    assert champions([]) == {}
    assert champions(_lines("-1", "12")) == {"recommendation": "2"}
    assert champions(_lines("-1") + _lines("12", status=PENDING)) == {"recommendation": "2"}


def test_the_predecessor_is_what_the_champion_replaced_when_it_was_promoted():
    cases = {
        ("-1",): None,
        ("-1", "12"): "1",
        ("-1", "12", "23", "32r"): "1",
        ("-1", "12", "23", "32r", "21r"): None,
        ("-1", "12", "21r", "13"): "1",
        ("-1", "12", "21"): "2",  # promoted again, not rolled back
    }
    for moves, expected in cases.items():
        assert predecessor(_lines(*moves), "recommendation") == expected, moves
    assert predecessor(_lines("-1", "12"), "difficulty") is None


def test_what_changed_last_changed_at_once_and_in_one_bundle():
    lines = _lines("-1", "12")
    assert last_changed([]) == []
    assert last_changed(lines) == ["recommendation"]
    other_model = [LedgerEntry(**{**vars(lines[1]), "id": 2, "model": "difficulty"})]
    assert last_changed(lines + other_model) == ["recommendation", "difficulty"]
