"""The protocol end to end, on planted logs, and on slices of real ones where they are at hand."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sensei.errors import InvalidInput
from training.candidates import Candidates
from training.evaluation.protocol import (
    ModelScores,
    Result,
    choose,
    evaluate,
)
from training.evaluation.score_cache import ScoreCache
from training.evaluation.seed_runs import DifficultyRuns, RecommendationRuns
from training.fitting.keras_fit import FAST
from training.recipes import NEXT_TOPIC, QUICK, SUCCESS, Budget
from training.scores import DifficultyScores, Floats, RecommendationScores

RANKING = {"hr_at_1", "hr_at_3", "hr_at_5", "ndcg_at_5", "mrr", "n"}
PROBABILITY = {"auc", "accuracy", "log_loss", "brier", "ece", "n"}


def budget_of(epochs: int, seeds: int = 1) -> Budget:
    return replace(QUICK, epochs=epochs, setting=replace(FAST, epochs=epochs), seeds=seeds)


@pytest.fixture(scope="module")
def result(planted: pd.DataFrame) -> Result:
    return evaluate(planted, "column:metadata.split", seed=0, budget=budget_of(15))


def test_json_has_the_agreed_form(result: Result) -> None:
    document = json.loads(result.to_json())
    assert {"next_topic", "success", "data"} <= document.keys()
    assert document["next_topic"].keys() == {"all", "new"}
    models = {recipe.name for recipe in NEXT_TOPIC if not recipe.slow}
    for table in document["next_topic"].values():
        assert table.keys() == models
        assert all(figures.keys() == RANKING for figures in table.values())
    assert document["success"].keys() == {recipe.name for recipe in SUCCESS if not recipe.slow}
    assert all(figures.keys() == PROBABILITY for figures in document["success"].values())


def test_planted_circle_is_found(result: Result) -> None:
    new = result.next_topic["new"]
    assert new["markov_1"]["hr_at_1"] > 0.9
    assert new["reference"]["hr_at_1"] > 0.6
    assert new["most_popular"]["hr_at_1"] < 0.5
    assert result.next_topic["all"]["repeat_last"]["hr_at_1"] < 0.1


def test_planted_ease_of_topics_is_found(result: Result) -> None:
    assert result.success["topic_mean"]["auc"] > 0.7
    assert result.success["reference"]["auc"] > 0.6
    assert result.success["global_mean"]["auc"] == 0.5


def test_every_model_answers_the_same_targets(result: Result) -> None:
    assert len({figures["n"] for figures in result.next_topic["all"].values()}) == 1
    assert result.next_topic["all"]["reference"]["n"] == 10 * 24


def test_selected_model_has_no_gain_over_itself(result: Result) -> None:
    selected = result.data["selected"]["recommendation"]
    gain = result.intervals["next_topic"]["new"][selected]["gain"]
    assert (gain["low"], gain["high"]) == (0.0, 0.0)


def test_choice_is_the_best_on_validation(candidates: Candidates, validated: ModelScores) -> None:
    chosen = choose(validated)
    best = {
        n: validated.recommendation[n].table("new")["ndcg_at_5"]
        for n in candidates["recommendation"]
    }
    loss = {n: s.table()["log_loss"] for n, s in validated.level_only.items()}
    assert best[chosen["recommendation"]] == max(best.values())
    assert chosen["difficulty"] is not None
    assert loss[chosen["difficulty"]] == min(loss.values())


def test_the_test_part_does_not_affect_the_choice(planted: pd.DataFrame) -> None:
    """Turn the rows of the test part into noise: figures change, the choice does not."""
    rng, noise = np.random.default_rng(2), planted.copy()
    test = planted["metadata"].str.contains("test")
    for column in ("topic_id", "score"):
        noise.loc[test, column] = rng.permutation(planted.loc[test, column])
    names = ["most_popular", "markov_1", "global_mean", "topic_mean"]
    honest, blind = (
        evaluate(frame, "column:metadata.split", models=names) for frame in (planted, noise)
    )
    assert blind.data["selected"] == honest.data["selected"]
    assert blind.data["validation"] == honest.data["validation"]
    ahead = {n: figures["hr_at_1"] for n, figures in blind.next_topic["new"].items()}
    assert ahead["markov_1"] < 0.5 < honest.next_topic["new"]["markov_1"]["hr_at_1"]


NO_SEQUENCES = [
    "most_popular", "recently_popular", "repeat_last", "most_frequent", "habits", "markov_1",
    "markov_2", "reference", "global_mean", "topic_mean", "proficiency",
]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [NO_SEQUENCES, pytest.param(None, marks=pytest.mark.slow)],
    ids=["without networks over sequences", "all"],
)
def test_shuffled_targets_score_at_chance(planted: pd.DataFrame, names: list[str] | None) -> None:
    """The canary: what the protocol finds where there is nothing to find."""
    rng = np.random.default_rng(5)
    shuffled = pd.concat([planted.assign(user_id=planted["user_id"].astype(str) + c) for c in "ab"])
    shuffled = shuffled.assign(
        event_id=[f"{i:08d}" for i in range(len(shuffled))],
        user_id=pd.Categorical(shuffled["user_id"]),
        topic_id=rng.permutation(shuffled["topic_id"].to_numpy()),
        score=rng.permutation(shuffled["score"].to_numpy()),
    )
    result = evaluate(shuffled, "learner", seed=0, budget=budget_of(2), models=names)
    for name, figures in result.next_topic["all"].items():
        # all events are of one day: those that look at days see ties, which count against them
        by_day = name in ("recently_popular", "most_frequent", "habits")
        least = 0.0 if by_day else 1 / 6 - 0.06
        assert least <= figures["hr_at_1"] < 1 / 6 + 0.06, name
    for name, figures in result.success.items():
        assert figures["auc"] == pytest.approx(0.5, abs=0.08), name


def test_log_without_scores_has_no_success_table_but_a_reason(planted: pd.DataFrame) -> None:
    names = ["most_popular", "markov_1", "topic_mean"]
    result = evaluate(planted.assign(score=np.nan), "time", models=names)
    assert result.success == {}
    assert result.data["no_success"] == "no attempt carries a score"
    assert json.loads(result.to_json())["data"]["selected"]["difficulty"] is None


def test_figures_are_means_over_seeds_and_counting_models_are_made_once(
    planted: pd.DataFrame,
) -> None:
    messages: list[str] = []
    names = ["markov_1", "reference"]
    result = evaluate(planted, "learner", 0, budget_of(2), names, seeds=2, say=messages.append)
    of_seeds = [scores["ndcg_at_5"] for scores in result.seeds["next_topic"]["new"]["reference"]]
    mean = result.next_topic["new"]["reference"]["ndcg_at_5"]
    assert len(set(of_seeds)) == 2
    assert mean == pytest.approx(sum(of_seeds) / 2)
    assert result.intervals["next_topic"]["new"]["reference"]["ndcg_at_5"]["value"] == (
        pytest.approx(mean)
    )
    assert len(result.seeds["next_topic"]["new"]["markov_1"]) == 1
    assert messages.count("Train: markov_1 recommendation, seed 0") == 1
    assert result.data["budget"]["seeds"] == 2


def test_architecture_is_chosen_by_its_mean_not_by_a_lucky_seed() -> None:
    learner, new = np.arange(4, dtype=np.int32), np.ones(4, bool)

    def of(*ranks: float) -> RecommendationRuns:
        return RecommendationRuns(
            tuple(RecommendationScores(np.full(4, r), np.full(4, r), new, learner) for r in ranks)
        )

    assert choose(ModelScores({"lucky": of(1.0, 9.0), "steady": of(2.0, 2.0)}, {})) == {
        "recommendation": "steady"
    }


def test_success_is_chosen_by_the_answers_that_serving_gives() -> None:
    """A model that is good only if the item is known loses to one that is good without."""
    passed, learner = np.array([1, 0, 1, 0], np.int8), np.arange(4, dtype=np.int32)
    good, poor = np.array([0.9, 0.1, 0.9, 0.1]), np.array([0.5, 0.5, 0.4, 0.6])

    def of(with_item: Floats, without: Floats) -> DifficultyRuns:
        return DifficultyRuns((DifficultyScores(passed, with_item, learner, without, without),))

    success = {"by item": of(good, poor), "by learner": of(poor, good)}
    ranks = RecommendationRuns(
        (RecommendationScores(np.ones(4), np.ones(4), np.ones(4, bool), learner),)
    )
    assert choose(ModelScores({"any": ranks}, success)) == {
        "recommendation": "any",
        "difficulty": "by learner",
    }


@pytest.mark.slow
def test_models_are_chosen_by_name_and_what_they_need_is_trained_unseen(
    planted: pd.DataFrame,
) -> None:
    fitted: set[str] = set()
    result = evaluate(
        planted, "learner", 0, budget_of(1), ["blend", "markov_1"],
        progress=lambda name, epoch, logs: fitted.add(name),
    )  # fmt: skip
    assert list(result.next_topic["new"]) == ["markov_1", "blend"]
    assert "sequence recommendation" in fitted
    assert "sequence" in result.data["left_out"]["recommendation"]


def test_unknown_model_is_refused_with_the_known_ones(planted: pd.DataFrame) -> None:
    with pytest.raises(InvalidInput, match=r"most_popular.*got 'markov_9'"):
        evaluate(planted, "learner", models=["markov_9"])


def test_models_of_one_job_only_leave_the_other_out(planted: pd.DataFrame) -> None:
    result = evaluate(planted, "learner", models=["topic_mean"])
    assert result.data["selected"] == {"recommendation": None, "difficulty": "topic_mean"}
    assert result.next_topic == {"all": {}, "new": {}}
    json.loads(result.to_json())
    with pytest.raises(InvalidInput, match="no attempt carries a score"):
        evaluate(planted.assign(score=np.nan), "learner", models=["topic_mean"])


def test_a_stopped_evaluation_continues_where_it_stopped(
    planted: pd.DataFrame, tmp_path: Path
) -> None:
    names = ["markov_1", "reference", "topic_mean"]

    def run(messages: list[str]) -> Result:
        return evaluate(
            planted,
            "learner",
            0,
            budget_of(2),
            names,
            cache=lambda digest: ScoreCache(tmp_path, digest),
            say=messages.append,
        )

    first, again, after_loss = [], [], []
    whole = run(first).to_json()
    assert not any(line.startswith("Cached") for line in first)
    assert run(again).to_json() == whole
    assert not any(line.startswith("Train") for line in again)
    next(tmp_path.rglob("recommendation-reference-0.npz")).unlink()
    assert run(after_loss).to_json() == whole
    assert "Cached: markov_1 recommendation" in after_loss
    assert "Train: reference recommendation" in after_loss
    assert b"u0001" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*.npz"))


def test_topic_only_is_a_table_of_its_own_without_models_that_need_a_level(result: Result) -> None:
    assert {"global_mean", "topic_mean", "history"} <= result.topic_only.keys()
    assert "reference" not in result.topic_only
    assert result.topic_only["topic_mean"] == result.success["topic_mean"]


def test_slices_hold_every_model_and_add_up(result: Result) -> None:
    by_length = result.slices["next_topic"]["history_length"]
    counts = [tables["all"]["markov_1"]["n"] for tables in by_length.values()]
    assert sum(counts) == result.next_topic["all"]["markov_1"]["n"]
    assert by_length["0"]["all"].keys() == result.next_topic["all"].keys()
    assert result.slices["next_topic"]["cold"]["unseen_topic"]["all"]["markov_1"]["n"] == 0
    assert result.intervals["slices"]["success"]["history_length"]["5-19"]["value"] > 0


@pytest.mark.parametrize("split", ["tme", "column:absent", "column:metadata.absent"])
def test_unknown_split_is_refused(planted: pd.DataFrame, split: str) -> None:
    with pytest.raises(InvalidInput, match="split"):
        evaluate(planted, split)


def real_log(name: str) -> Path:
    folder = Path(os.environ.get("SENSEI_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / name).exists():
        pytest.skip(f"{name} is not in {folder}; set SENSEI_TEST_DATA to the folder that has it")
    return folder / name


@pytest.mark.slow
def test_on_a_real_log_markov_beats_most_popular(planted: pd.DataFrame) -> None:
    frame = pd.read_parquet(real_log("assist09_skillbuilder.parquet"))
    frame = frame[frame["user_id"].isin(frame["user_id"].unique()[:150])].reset_index(drop=True)
    kinds = planted["interaction_type"].cat.categories
    frame = frame.assign(
        event_id=[f"{i:08d}" for i in range(len(frame))],
        user_id=frame["user_id"].astype("category"),
        interaction_type=pd.Categorical(frame["interaction_type"], categories=kinds),
        timestamp=pd.to_datetime(frame["timestamp"], utc=True).astype("datetime64[us, UTC]"),
    )
    result = evaluate(frame, "column:metadata.split", budget=budget_of(2))
    new = result.next_topic["new"]
    assert new["markov_2"]["ndcg_at_5"] > 2 * new["most_popular"]["ndcg_at_5"]
    assert result.success["reference"]["auc"] > 0.6
