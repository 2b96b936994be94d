"""Champion and challenger meet on the same events; only a better one replaces the other."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.history import FOLD_VERSION
from sensei.bundle import bundle_format
from sensei.bundle.bundle_format import Bundle, Manifest, ModelEntry
from training.candidates import Candidates
from training.data.batching import BatchFeed
from training.data.dataset import Dataset
from training.evaluation.protocol import ChosenCandidates, ModelScores
from training.evaluation.seed_runs import DifficultyRuns
from training.release.champion_comparison import decide_all
from training.release.export import export


def champion(
    folder: Path,
    candidates: Candidates,
    prepared: Dataset,
    chosen: ChosenCandidates,
    trained_until: datetime,
) -> Bundle:
    assert prepared.attempts is not None
    assert chosen["difficulty"] is not None
    models = {
        "recommendation": (candidates["recommendation"][chosen["recommendation"]], prepared),
        "difficulty": (candidates["difficulty"][chosen["difficulty"]], prepared.attempts),
    }
    entries = {
        name: ModelEntry(
            name=name,
            version="1",
            candidate=model.name,
            inputs={n: int(x.shape[-1]) for n, x in model.network.read.input.items()},
            outputs={n: int(y.shape[-1]) for n, y in model.network.read.output.items()},
            state=model.network.state,
            trained_until=trained_until,
            topic_ids=tuple(parts.statistics.topic_ids.tolist()),
        )
        for name, (model, parts) in models.items()
    }
    manifest = Manifest(fold_version=FOLD_VERSION, models=entries, created_at=trained_until)
    path = bundle_format.write(
        folder,
        manifest,
        {
            name: export(model.network, BatchFeed(parts.test, name)).network
            for name, (model, parts) in models.items()
        },
        {name: parts.statistics.to_arrays() for name, (_, parts) in models.items()},
    )
    return Bundle.load(path, FOLD_VERSION)


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
BEST = {"recommendation": "markov_1", "difficulty": "topic_mean"}
WORST = {"recommendation": "most_popular", "difficulty": "global_mean"}
NETWORKS = {"recommendation": "sequence", "difficulty": "history"}


def test_without_a_champion_the_best_candidate_is_the_first(prepared, tested):
    decisions = decide_all(None, prepared, tested, BEST, 0.0, 0)
    assert {name: d.promote for name, d in decisions.items()} == {
        "recommendation": True,
        "difficulty": True,
    }


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(BEST, id="counting"),
        pytest.param(NETWORKS, id="networks", marks=pytest.mark.slow),
    ],
)
def test_the_same_model_again_gains_nothing_and_is_kept_back(
    tmp_path, candidates, prepared, tested, chosen
):
    copy = champion(tmp_path, candidates, prepared, chosen, LONG_AGO)
    decisions = decide_all(copy, prepared, tested, chosen, 0.0, 0)
    for decision in decisions.values():
        assert decision.gain == pytest.approx(0.0, abs=1e-6)
        assert not decision.promote


def test_a_better_model_replaces_a_worse_one_and_never_the_reverse(
    tmp_path, candidates, prepared, tested
):
    worse = champion(tmp_path, candidates, prepared, WORST, LONG_AGO)
    better = champion(tmp_path, candidates, prepared, BEST, LONG_AGO)
    upgrades = decide_all(worse, prepared, tested, BEST, 0.0, 0)
    downgrades = decide_all(better, prepared, tested, WORST, 0.0, 0)
    assert all(decision.promote for decision in upgrades.values())
    assert not any(decision.promote for decision in downgrades.values())
    assert upgrades["recommendation"].gain == pytest.approx(-downgrades["recommendation"].gain)


def test_a_gain_that_needs_the_item_does_not_count(tmp_path, candidates, prepared, tested):
    """A challenger that knows every outcome with the item, and serves what the worst one does."""
    (level_scores,) = (scores.level_only for scores in tested.difficulty["global_mean"].seeds)
    clairvoyant = replace(level_scores, probability=level_scores.passed * 0.98 + 0.01)
    success = {"clairvoyant": DifficultyRuns((clairvoyant,))}
    better = champion(tmp_path, candidates, prepared, BEST, LONG_AGO)
    decision = decide_all(
        better,
        prepared,
        ModelScores(tested.recommendation, success),
        {"difficulty": "clairvoyant"},
        0.0,
        0,
    )["difficulty"]
    downgrade = decide_all(better, prepared, tested, {"difficulty": "global_mean"}, 0.0, 0)[
        "difficulty"
    ]
    assert not decision.promote
    assert decision.gain == pytest.approx(downgrade.gain)


def test_events_that_the_champion_was_trained_on_do_not_count(
    tmp_path, candidates, prepared, tested
):
    late = champion(tmp_path, candidates, prepared, WORST, datetime(2100, 1, 1, tzinfo=UTC))
    decisions = decide_all(late, prepared, tested, BEST, 0.0, 0)
    assert not any(decision.promote for decision in decisions.values())
    assert "too few" in decisions["recommendation"].reason


def test_slices_of_newcomers_are_checked_in_addition_to_the_gain(
    tmp_path, candidates, prepared, tested
):
    worse = champion(tmp_path, candidates, prepared, WORST, LONG_AGO)
    for decision in decide_all(worse, prepared, tested, BEST, 0.0, 0).values():
        named = {check.name: check.said for check in decision.checks}
        assert list(named) == ["gain", "new learners", "new topics"]
        learners = len(set(prepared.test.learner.tolist()))
        assert f"of {learners} learners" in named["new learners"]
        assert "0 targets of 0 learners are too few to judge" in named["new topics"]
