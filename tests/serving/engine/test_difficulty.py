import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensei.contracts import LEVELS
from serving.engine.difficulty import level_probabilities, suggest_level


@pytest.mark.parametrize(
    ("success", "level"),
    [
        ((0.95, 0.80, 0.50), "medium"),
        ((0.84, 0.80, 0.75), "hard"),  # all three in the range: the hardest
        ((0.80, 0.60, 0.72), "hard"),  # levels need not fall in order
        ((0.85, 0.50, 0.20), "easy"),  # both ends of the range belong to it
        ((0.99, 0.70, 0.20), "medium"),
        ((0.99, 0.95, 0.90), "hard"),  # nobody in it: .90 is nearest
        ((0.60, 0.30, 0.10), "easy"),
        ((1.00, 1.00, 1.00), "hard"),  # all equally near, all too easy
        ((0.00, 0.00, 0.00), "easy"),  # all equally near, all too hard
    ],
)
def test_the_hardest_level_within_the_range_is_suggested_else_the_nearest(
    success: tuple[float, float, float], level: str
) -> None:
    assert LEVELS[suggest_level(success)] == level


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_no_level_above_the_suggested_one_is_within_the_range(success: tuple[float, ...]) -> None:
    assert not any(0.70 <= each <= 0.85 for each in success[suggest_level(success) + 1 :])


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_level_probabilities_sum_to_one_and_none_is_fitter_than_the_suggested(
    success: tuple[float, ...],
) -> None:
    fit = level_probabilities(success)
    assert sum(fit) == pytest.approx(1)
    assert max(fit) == pytest.approx(fit[suggest_level(success)])


def test_a_level_within_the_range_is_e_times_as_fit_as_one_five_points_off() -> None:
    fit = level_probabilities((0.90, 0.80, 0.10))
    assert fit[1] / fit[0] == pytest.approx(2.71828, rel=1e-4)
