import pytest

from features.history import History
from serving.engine.mastery import failed, finished, last_score, mastered, rests

HOUR = 3_600_000_000


def row(*scores: float) -> list[float]:
    """A topic's numbers after quizzes, one an hour."""
    history = History.of(
        ("quiz_complete", 1, score, 60.0, at * HOUR) for at, score in enumerate(scores)
    )
    return history.topics[1]


@pytest.mark.parametrize(
    ("scores", "is_mastered"),
    [
        ((0.85, 0.85), True),
        ((0.1, 0.9, 1.0), True),
        ((1.0,), False),  # once may be luck
        ((0.84, 1.0), False),
        ((1.0, 1.0, 0.84), False),
        ((1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.9), False),  # further back than the scores that are kept
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.9), True),
    ],
)
def test_a_topic_is_mastered_when_the_last_two_attempts_were_passed_well(
    scores: tuple[float, ...], is_mastered: bool
) -> None:
    assert mastered(row(*scores)) is is_mastered


def test_a_topic_is_finished_while_its_last_attempt_is_a_pass() -> None:
    assert finished(row(0.1, 0.6))
    assert not finished(row(1.0, 0.59))
    assert failed(row(1.0, 0.59))
    assert last_score(row(1.0, 0.59)) == 0.59


def test_a_topic_only_looked_at_is_neither_finished_nor_failed() -> None:
    seen = History.of([("video_view", 1, None, 60.0, 0)]).topics[1]
    assert not finished(seen)
    assert not failed(seen)
    assert not mastered(seen)
    assert last_score(seen) is None


def test_a_mastered_topic_rests_for_a_day() -> None:
    numbers = row(0.9, 0.9)
    assert rests(numbers, 24 * HOUR)
    assert not rests(numbers, 25 * HOUR)
    assert not rests(row(0.9, 0.7), 2 * HOUR)
