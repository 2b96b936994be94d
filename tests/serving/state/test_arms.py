import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensei.errors import InvalidInput
from serving.state.arms import Arms, place

SHARES = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5))


@given(st.text(), SHARES)
def test_a_learner_is_always_in_the_same_arm(user_id: str, shares: tuple[float, float]) -> None:
    assert Arms(*shares).of(user_id) == Arms(*shares).of(user_id)
    assert 0 <= place(user_id) < 1


def test_places_are_those_of_every_release() -> None:
    # Computed once: a change of the hash would assign all learners again and end every comparison.
    assert [round(place(name), 4) for name in ("mia", "lea", "学生")] == [0.2497, 0.9406, 0.8297]


@given(st.text(), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_trial_that_grows_or_ends_moves_nobody_into_or_out_of_control(
    user_id: str, control: float, before: float, after: float
) -> None:
    arms = {Arms(control, share).of(user_id) for share in (before, after, 0.0)}
    assert len(arms) == 1 or "control" not in arms


@given(st.text(), st.floats(0, 0.4), st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_growing_trial_loses_no_learner(
    user_id: str, control: float, share: float, more: float
) -> None:
    if Arms(control, share).of(user_id) == "challenger":
        assert Arms(control, share + more).of(user_id) == "challenger"


def test_arms_get_their_shares() -> None:
    arms = Arms(0.05, 0.2)
    found = [arms.of(f"learner-{number}") for number in range(20_000)]
    for arm in ("control", "champion", "challenger"):
        # six standard errors of a share of 20,000
        share = arms.propensity(arm)
        assert found.count(arm) / len(found) == pytest.approx(
            share, abs=6 * (share * (1 - share) / len(found)) ** 0.5
        )
    assert sum(map(arms.propensity, ("control", "champion", "challenger"))) == pytest.approx(1)


def test_nobody_and_everybody_are_possible() -> None:
    names = [str(number) for number in range(200)]
    assert {Arms(0.0).of(name) for name in names} == {"champion"}
    assert {Arms(1.0).of(name) for name in names} == {"control"}
    assert {Arms(0.0, 1.0).of(name) for name in names} == {"challenger"}


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.6, 0.6), (0.0, 1.1)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(InvalidInput, match="lower one"):
        Arms(*shares)
