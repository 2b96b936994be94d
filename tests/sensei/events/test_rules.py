"""Advice of a refusal, right for the value that was sent."""

import pytest

from sensei.errors import InvalidInput
from sensei.events import rules


def advice(value: object) -> str:
    with pytest.raises(InvalidInput) as raised:
        rules.check_score(value)
    return str(raised.value).rpartition("; ")[2]


@pytest.mark.parametrize("value", [1.15, "1.15", 1.0000001, " 1.5 "])
def test_slightly_more_than_one_is_extra_credit_or_rounding(value: object) -> None:
    assert advice(value) == "send at most 1"


@pytest.mark.parametrize("value", [" 5 ", 5, 2, 10.0, "17.5", 20, 101, 850])
def test_a_scale_that_is_not_known_is_not_taken_for_percent(value: object) -> None:
    assert advice(value) == "divide it by the highest possible score"


@pytest.mark.parametrize(("value", "fraction"), [(85, "0.85"), ("100", "1"), (" 72.5 ", "0.725")])
def test_percent_is_divided_by_a_hundred(value: object, fraction: str) -> None:
    assert advice(value) == f"send {fraction}"


def test_less_than_nothing_is_no_scale() -> None:
    assert advice(-0.5) == "send at least 0, or leave it out"


def test_an_id_that_no_database_can_store_is_refused():
    with pytest.raises(InvalidInput, match="username: expected Unicode text"):
        rules.check_id("username", "a\ud800")


@pytest.mark.parametrize("value", ["Jos\u00e9", "Jose\u0301", " Jos\u00e9\u3000", "\tJos\u00e9\n"])
def test_an_id_of_a_learner_has_one_spelling(value: str) -> None:
    assert rules.check_user_id("user_id", value) == "Jos\u00e9"


@pytest.mark.parametrize("value", ["a\u200bb", "a\u200d", "\ufeffa", "a\tb", "a\u202eb", "\u2060"])
def test_characters_that_nobody_sees_are_refused_in_an_id(value: str) -> None:
    with pytest.raises(
        InvalidInput, match="username: expected text without control and zero-width"
    ):
        rules.check_user_id("username", value)


@pytest.mark.parametrize("value", [" ", "\u3000", "", "a" * 201])
def test_blanks_and_long_texts_are_no_id(value: str) -> None:
    with pytest.raises(InvalidInput, match="user_id: expected text of 1 to 200"):
        rules.check_user_id("user_id", value)
