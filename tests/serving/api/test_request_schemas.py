import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensei.errors import InvalidInput
from serving.api.request_schemas import (
    MAX_COUNT,
    DifficultyQuery,
    RecommendationsQuery,
    parse,
)


def test_count_is_three_unless_asked() -> None:
    assert parse(RecommendationsQuery, {"username": "mia"}).count == 3


@given(st.integers(1, MAX_COUNT))
def test_every_count_within_the_range_is_taken(count: int) -> None:
    assert parse(RecommendationsQuery, {"username": "mia", "count": str(count)}).count == count


@pytest.mark.parametrize("count", ["0", "51", "-1", "three", "", "2.5", "1e2"])
def test_a_count_outside_the_range_is_refused_with_the_next_step(count: str) -> None:
    expected = f"count: expected a whole number from 1 to 50, got '{count}'; send count=3"
    with pytest.raises(InvalidInput) as refused:
        parse(RecommendationsQuery, {"username": "mia", "count": count})
    assert str(refused.value) == expected


def test_a_missing_username_is_refused_with_the_next_step() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(DifficultyQuery, {"topic_id": "1"})
    assert str(refused.value) == (
        "username: expected text of 1 to 200 characters, got nothing; send username=testuser"
    )


@pytest.mark.parametrize("topic_id", ["one", "1.5", "", "-1", str(2**63)])
def test_a_topic_that_the_log_cannot_hold_is_refused(topic_id: str) -> None:
    with pytest.raises(InvalidInput, match="topic_id: expected a whole number"):
        parse(DifficultyQuery, {"topic_id": topic_id, "username": "mia"})


@pytest.mark.parametrize("username", ["", " ", "a\x00b", "a" * 201])
def test_a_name_that_the_log_cannot_hold_is_refused(username: str) -> None:
    with pytest.raises(InvalidInput, match="username: expected text"):
        parse(RecommendationsQuery, {"username": username})


def test_a_misspelt_parameter_is_refused_rather_than_ignored() -> None:
    with pytest.raises(InvalidInput, match=r"cuont: expected only username, count, .+, got cuont"):
        parse(RecommendationsQuery, {"username": "mia", "cuont": "5"})
