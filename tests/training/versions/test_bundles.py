"""The bundle of a version: found again, joined with others, kept as long as it may be needed."""

import os

import pytest

from sensei.app_state import TRIAL
from sensei.errors import IncompatibleBundle
from training.release.bundles import bundle_with, prune, used


@pytest.fixture
def log_url(sqlite_url):
    return sqlite_url


def test_a_challenger_is_bundled_with_the_champion_and_nothing_changes(kept):
    first, quiz = kept.version("recommendation"), kept.version("difficulty")
    kept.promote(None, first)
    kept.promote(None, quiz, "difficulty")
    challenger = kept.version("recommendation")
    trial_version = {"recommendation": challenger}
    digest = bundle_with(kept.log, kept.registry, kept.folder, trial_version)
    assert bundle_with(kept.log, kept.registry, kept.folder, trial_version) == digest
    assert kept.agree() == {"recommendation": first, "difficulty": quiz}
    kept.log.set_pointer(digest)
    assert kept.serves() == {"recommendation": challenger, "difficulty": quiz}


def test_a_damaged_bundle_is_passed_over_for_another_that_holds_the_version(kept):
    first, quiz = kept.version("recommendation"), kept.version("difficulty")
    kept.promote(None, first)
    digest = kept.promote(None, quiz, "difficulty")
    own = kept.folder / kept.registry.bundle("difficulty", quiz)
    (own / "difficulty.npz").write_bytes(b"")
    assert bundle_with(kept.log, kept.registry, kept.folder, {}) == digest
    (kept.folder / digest / "difficulty.npz").write_bytes(b"")
    with pytest.raises(IncompatibleBundle, match=r"no usable one \(.*digest"):
        bundle_with(kept.log, kept.registry, kept.folder, {})


def test_what_served_is_on_trial_or_waits_is_never_removed(kept):
    predecessor, trial = kept.version("recommendation"), kept.version("recommendation")
    unused, waiting = kept.version("difficulty"), kept.version("difficulty")
    kept.promote(None, predecessor)
    kept.promote(predecessor, trial)
    digest = kept.registry.bundle("recommendation", trial)
    kept.log.set_fact(TRIAL, {"bundle": digest, "share": 0.1})
    bundles = {
        version: kept.registry.bundle("difficulty", version) for version in (unused, waiting)
    }
    (kept.folder / "by-hand").mkdir()
    removed = prune(kept.folder, used(kept.log, kept.registry), newest=0)
    assert removed == [bundles[unused]]
    assert not (kept.folder / bundles[unused]).exists()
    assert (kept.folder / "by-hand").exists()
    assert kept.agree() == {"recommendation": trial}


def test_of_what_nothing_refers_to_the_newest_remain(kept):
    versions = [kept.version("difficulty") for _ in range(4)]
    digests = [kept.registry.bundle("difficulty", version) for version in versions]
    for age, digest in enumerate(digests):
        os.utime(kept.folder / digest, (age, age))
    assert sorted(prune(kept.folder, {digests[0]}, newest=2)) == [digests[1]]
    assert {path.name for path in kept.folder.iterdir()} == {digests[0], *digests[2:]}
