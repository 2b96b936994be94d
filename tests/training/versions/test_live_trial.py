"""A live trial: what may begin, and what ends it."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from features.history import FOLD_VERSION
from sensei import ab_test_state
from sensei.app_state import TRIAL
from sensei.bundle.bundle_format import Bundle
from sensei.errors import IncompatibleBundle, InvalidInput
from training.release import promote, start_ab_test
from training.release.ledger import PlannedPromotion

MODEL = "recommendation"
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def start(kept, version=None, share=0.1, control=0.05, model=MODEL):
    return start_ab_test.start(
        kept.log, kept.registry, kept.folder, model, version, share, control, NOW
    )


@pytest.fixture
def champion(kept):
    """One version of each model answers."""
    first = kept.version(MODEL)
    kept.promote(None, first)
    kept.promote(None, kept.version("difficulty"), "difficulty")
    return first


def test_the_waiting_challenger_is_on_trial_with_the_other_champion(kept, champion):
    second = kept.version(MODEL)
    trial = start(kept)
    assert ab_test_state.current(kept.log) == trial
    assert (trial.version, trial.against, trial.share) == (second, champion, 0.1)
    models = Bundle.load(kept.folder / trial.bundle, FOLD_VERSION).manifest.models
    assert {name: entry.version for name, entry in models.items()} == kept.serves() | {
        MODEL: second
    }
    assert kept.log.get_fact(TRIAL)["bundle"] != kept.log.pointer()


def test_any_version_can_be_named(kept, champion):
    second, _ = kept.version(MODEL), kept.version(MODEL)
    assert start(kept, second).version == second


def test_only_one_trial_runs_until_it_is_stopped(kept, champion):
    kept.version(MODEL)
    trial = start(kept)
    with pytest.raises(InvalidInput, match="sensei trial stop"):
        start(kept)
    assert ab_test_state.stop(kept.log) == trial
    assert ab_test_state.current(kept.log) is None
    with pytest.raises(InvalidInput, match="sensei trial start"):
        ab_test_state.stop(kept.log)


def test_without_a_challenger_there_is_nothing_to_try(kept, champion):
    with pytest.raises(InvalidInput, match="expected a challenger of recommendation, got none"):
        start(kept)
    with pytest.raises(InvalidInput, match="sensei models"):
        start(kept, "999999")
    with pytest.raises(InvalidInput, match="another one than the champion"):
        start(kept, champion)
    assert ab_test_state.current(kept.log) is None


@pytest.mark.parametrize(("share", "control"), [(0.0, 0.05), (0.96, 0.0), (0.6, 0.5), (10, 0.05)])
def test_a_share_that_leaves_nobody_to_compare_with_is_refused(kept, champion, share, control):
    kept.version(MODEL)
    with pytest.raises(InvalidInput, match=r"% of learners"):
        start(kept, share=share, control=control)
    assert ab_test_state.current(kept.log) is None


def test_a_version_without_a_bundle_is_refused(kept, champion):
    kept.version(MODEL, packaged=False)
    with pytest.raises(IncompatibleBundle, match="expected its bundle"):
        start(kept)
    assert ab_test_state.current(kept.log) is None


def test_a_promotion_ends_the_trial(kept, champion):
    second = kept.version(MODEL)
    start(kept)
    kept.promote(champion, second)
    assert ab_test_state.current(kept.log) is None


def test_a_trial_that_begins_during_a_promotion_waits_and_meets_the_new_champion(kept, champion):
    """Otherwise its bundle and `against` would be those of the champion that has just gone."""
    second, third = kept.version(MODEL), kept.version(MODEL)
    with ThreadPoolExecutor(1) as pool:
        with promote.one_at_a_time(kept.log):
            pending = pool.submit(start, kept, third)
            assert not wait([pending], timeout=0.5).done
            assert ab_test_state.current(kept.log) is None
            moves = [PlannedPromotion(MODEL, champion, second, {})]
            promote.promote_alone(kept.log, kept.registry, kept.folder, moves, "gate", NOW)
        running = pending.result()
    assert (running.version, running.against) == (third, second)
    assert ab_test_state.current(kept.log) == running


def test_a_trial_of_the_version_that_a_promotion_makes_champion_meanwhile_is_refused(
    kept, champion
):
    second = kept.version(MODEL)
    with ThreadPoolExecutor(1) as pool:
        with promote.one_at_a_time(kept.log):
            pending = pool.submit(start, kept, second)
            assert not wait([pending], timeout=0.5).done
            moves = [PlannedPromotion(MODEL, champion, second, {})]
            promote.promote_alone(kept.log, kept.registry, kept.folder, moves, "gate", NOW)
        with pytest.raises(InvalidInput, match="another one than the champion"):
            pending.result()
    assert ab_test_state.current(kept.log) is None


def test_a_fact_written_by_hand_is_a_trial_too(kept):
    kept.log.set_fact(TRIAL, {"bundle": "b" * 64, "share": 0.2, "more": 1})
    by_hand = ab_test_state.current(kept.log)
    assert by_hand == replace(by_hand, bundle="b" * 64, share=0.2)
    assert ab_test_state.end(kept.log) == by_hand
    assert ab_test_state.end(kept.log) is None
