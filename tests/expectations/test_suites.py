from typing import Any

import pytest

from expectations.suites import describe, load, sentence, with_roles
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    KINDS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    REQUIRED_COLUMNS,
)
from sensei.events.rules import MAX_DURATION_SECONDS

INPUTS = RECOMMENDATION_INPUTS + DIFFICULTY_INPUTS


def kwargs(suite: str, kind: str, column: str) -> dict[str, Any]:
    (rule,) = [
        rule
        for rule in load(suite)
        if rule["type"] == f"expect_column_values_to_{kind}" and rule["kwargs"]["column"] == column
    ]
    return rule["kwargs"]


def test_kinds_and_levels_are_those_of_the_contract():
    assert kwargs("interactions", "be_in_set", "interaction_type")["value_set"] == list(KINDS)
    assert kwargs("interactions", "be_in_set", "difficulty")["value_set"] == list(LEVELS)


def test_ranges_of_rows_are_those_of_the_row_rules():
    score = kwargs("interactions", "be_between", "score")
    assert (score["min_value"], score["max_value"]) == (0, 1)
    duration = kwargs("interactions", "be_between", "duration_seconds")
    assert (duration["min_value"], duration["max_value"]) == (0, MAX_DURATION_SECONDS)
    assert kwargs("interactions", "be_between", "topic_id")["min_value"] == 0


def test_every_required_column_must_be_there_and_filled():
    suite = load("interactions")
    needed = suite[0]["kwargs"]["column_set"]
    assert set(REQUIRED_COLUMNS) < set(needed)
    for column in ("user_id", "interaction_type", "timestamp"):
        assert kwargs("interactions", "not_be_null", column)
    # topic_id is int64 by its type rule, which leaves no room for nulls
    assert kwargs("interactions", "be_of_type", "topic_id")["type_"] == "int64"


@pytest.mark.parametrize("given", INPUTS, ids=lambda given: given.name)
def test_ranges_of_inputs_are_those_of_the_contract(given):
    between = kwargs("features", "be_between", given.name)
    assert (between["min_value"], between["max_value"]) == (given.low, given.high)
    assert kwargs("features", "not_be_null", given.name)


def test_features_suite_names_no_input_that_the_contract_lacks():
    named = {rule["kwargs"]["column"] for rule in load("features")}
    assert named == {given.name for given in INPUTS}


@pytest.mark.parametrize("name", ["interactions", "features"])
def test_every_rule_has_words_and_stands_once(name):
    suite = load(name)
    assert len({describe(rule) for rule in suite} | {"table"}) == len(suite) + 1
    roles = {"column", "row", "run", "topics", "input"}
    assert len(with_roles(suite, roles)) == len(suite)
    parameters = {"latest": "L", "fewest_rows": 1, "previous_newest": "P"}
    for rule in suite:
        said = sentence(rule, "X", parameters)
        assert said.startswith(f"{rule['meta']['field']}: expected ")
        assert ", got X; " in said
        assert "{" not in said
