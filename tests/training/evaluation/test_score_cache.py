"""Cached scores of an evaluation: all of them or none, bounded, and no learner by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from features.batch import encode
from training.data.splits import split_by_learner
from training.data.time_split import split_by_time
from training.evaluation.score_cache import KEPT, ScoreCache, SeedRun, digest_of
from training.recipes import QUICK
from training.scores import DifficultyScores, RecommendationScores

LEARNER = np.array([0, 1], np.int32)
RANKED = RecommendationScores(np.array([1.0, np.inf]), np.array([1.0, 2.0]), LEARNER > 0, LEARNER)
PREDICTED = DifficultyScores(
    np.array([0, 1], np.int8),
    np.array([0.25, 0.5]),
    LEARNER,
    np.array([0.5, 0.25]),
    np.array([np.nan, np.nan]),
)
TRIAL = SeedRun(RANKED, RANKED, {"loss": [2.0, 1.0]})


def same(left: object, right: object) -> bool:
    pairs = zip(vars(left).values(), vars(right).values(), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def test_a_trial_is_loaded_as_it_was_stored(tmp_path: Path) -> None:
    ScoreCache(tmp_path, "a").save("recommendation", "sequence", 3, TRIAL)
    ScoreCache(tmp_path, "a").save("difficulty", "history", 3, SeedRun(PREDICTED, PREDICTED, {}))
    trial = ScoreCache(tmp_path, "a").load("recommendation", "sequence", 3)
    assert trial is not None
    assert trial.curves == TRIAL.curves
    assert same(trial.test, RANKED)
    second_trial = ScoreCache(tmp_path, "a").load("difficulty", "history", 3)
    assert second_trial is not None
    assert same(second_trial.validate, PREDICTED)


def test_another_seed_model_or_digest_is_not_cached(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "a")
    cache.save("recommendation", "sequence", 3, TRIAL)
    assert cache.load("recommendation", "sequence", 4) is None
    assert cache.load("recommendation", "history", 3) is None
    assert ScoreCache(tmp_path, "b").load("recommendation", "sequence", 3) is None


def test_a_half_written_file_is_not_cached(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "a")
    cache.save("recommendation", "sequence", 3, TRIAL)
    (path,) = (tmp_path / "a").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert cache.load("recommendation", "sequence", 3) is None


def test_fresh_forgets(tmp_path: Path) -> None:
    ScoreCache(tmp_path, "a").save("recommendation", "sequence", 3, TRIAL)
    assert ScoreCache(tmp_path, "a", fresh=True).load("recommendation", "sequence", 3) is None


def test_only_the_evaluations_used_last_are_kept(tmp_path: Path) -> None:
    for i in range(KEPT + 3):
        ScoreCache(tmp_path, f"digest-{i}")
    assert len(list(tmp_path.iterdir())) == KEPT
    assert (tmp_path / f"digest-{KEPT + 2}").exists()


def test_digest_depends_on_rows_split_and_epochs_but_not_on_order_or_seeds(
    planted: pd.DataFrame,
) -> None:
    events = encode(planted)
    split = split_by_learner(events)
    digest = digest_of(events, split, QUICK)
    shuffled = encode(planted.sample(frac=1, random_state=0).reset_index(drop=True))
    assert digest_of(shuffled, split, QUICK) == digest
    assert digest_of(events, split, replace(QUICK, seeds=9)) == digest
    assert digest_of(events, split, replace(QUICK, epochs=9)) != digest
    assert digest_of(events, split_by_time(events), QUICK) != digest
    changed = planted.assign(score=1 - planted["score"])
    assert digest_of(encode(changed), split, QUICK) != digest
