from typing import Any

import pytest

from expectations.suite_definitions import suite_texts
from expectations.suites import FOLDER, describe, load, sentence, with_roles
from sensei.event_fields import REQUIRED_COLUMNS


def kwargs(suite: str, kind: str, column: str) -> dict[str, Any]:
    (rule,) = [
        rule
        for rule in load(suite)
        if rule["type"] == f"expect_column_values_to_{kind}" and rule["kwargs"]["column"] == column
    ]
    return rule["kwargs"]


@pytest.mark.parametrize("name", ["interactions", "features"])
def test_the_files_are_those_that_the_definitions_give(name):
    """After a change of the fields or the inputs, `make suites` writes them again."""
    assert (FOLDER / f"{name}.json").read_text("utf-8") == suite_texts()[name]


def test_every_required_column_must_be_there_and_filled():
    suite = load("interactions")
    needed = suite[0]["kwargs"]["column_set"]
    assert set(REQUIRED_COLUMNS) < set(needed)
    for column in ("user_id", "interaction_type", "timestamp"):
        assert kwargs("interactions", "not_be_null", column)
    # topic_id is int64 by its type rule, which leaves no room for nulls
    assert kwargs("interactions", "be_of_type", "topic_id")["type_"] == "int64"


@pytest.mark.parametrize("name", ["interactions", "features"])
def test_every_rule_has_words_and_stands_once(name):
    suite = load(name)
    assert len({describe(rule) for rule in suite} | {"table"}) == len(suite) + 1
    roles = {"column", "row", "run", "topics", "input"}
    assert len(with_roles(suite, roles)) == len(suite)
    parameters = {"latest": "L", "fewest_rows": 1, "previous_newest": "P"}
    for rule in suite:
        message = sentence(rule, "X", parameters)
        assert message.startswith(f"{rule['meta']['field']}: expected ")
        assert ", got X; " in message
        assert "{" not in message
