"""Simulated learners: rows meet the contract, and behave as docs/simulation.md says."""

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sensei import contracts, curriculum, simulation
from sensei.event_fields import CONTRACT_COLUMNS
from sensei.events.rules_arrow import check_table
from sensei.simulation import Cohort, choices, memory, responses, traits

END = datetime(2026, 11, 1, tzinfo=UTC)
TOPICS = curriculum.load_file().plain()
LEARNERS, DAYS, SEED = 60, 40, 3


@pytest.fixture(scope="module")
def world() -> Cohort:
    cohort = Cohort(LEARNERS, DAYS, SEED, TOPICS, END)
    while len(cohort.step(cohort.next_in_curriculum()).learner):
        pass
    return cohort


@pytest.fixture(scope="module")
def log(world: Cohort) -> pd.DataFrame:
    return world.table().to_pandas()


@pytest.fixture(scope="module")
def learning(log: pd.DataFrame) -> pd.DataFrame:
    return log[log.interaction_type.isin(contracts.LEARNING_KINDS)]


def test_the_same_seed_repeats_exactly_and_another_does_not(world: Cohort) -> None:
    again = simulation.simulate(LEARNERS, DAYS, SEED, TOPICS, END)
    assert again.equals(world.table())
    assert not simulation.simulate(LEARNERS, DAYS, SEED + 1, TOPICS, END).equals(again)


def test_the_first_learners_act_the_same_in_a_smaller_cohort(log: pd.DataFrame) -> None:
    few = simulation.simulate(10, DAYS, SEED, TOPICS, END).to_pandas()
    same = log[log.user_id.isin(few.user_id.unique())].reset_index(drop=True)
    pd.testing.assert_frame_equal(few, same)


def test_stopping_in_between_changes_nothing(world: Cohort) -> None:
    cohort = Cohort(LEARNERS, DAYS, SEED, TOPICS, END)
    for until in (END - timedelta(days=DAYS // 2), END):
        while len(cohort.step(cohort.next_in_curriculum(), until).learner):
            pass
    assert cohort.table().equals(world.table())


def test_nobody_due_gives_an_empty_table_of_the_same_columns(world: Cohort) -> None:
    assert Cohort(1, 1, 0, TOPICS, END).table().schema.equals(world.table().schema)


def test_it_imports_nothing_of_ours() -> None:
    ours = {"sensei", "features", "training", "serving", "monitoring", "expectations", "flows"}
    for path in Path(simulation.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] not in ours or name.startswith("sensei.simulation"), name


def test_its_own_kinds_levels_and_columns_are_the_contracts(world: Cohort) -> None:
    assert choices.KINDS == contracts.KINDS
    assert traits.LEVELS == contracts.LEVELS
    assert responses.PASSES / responses.QUESTIONS == contracts.PASS_SCORE
    assert tuple(world.table().column_names) == CONTRACT_COLUMNS


def test_every_row_meets_the_contract(world: Cohort) -> None:
    good, bad = check_table(world.table(), END)
    assert not bad
    assert good.num_rows == world.table().num_rows


def test_every_kind_occurs_and_event_ids_are_unique(log: pd.DataFrame) -> None:
    assert set(log.interaction_type) == set(contracts.KINDS)
    assert log.event_id.is_unique
    assert log.timestamp.is_monotonic_increasing
    assert not log.duplicated(["user_id", "timestamp"]).any()


def test_a_learner_does_one_thing_at_a_time(learning: pd.DataFrame) -> None:
    timed = learning.dropna(subset=["duration_seconds"]).sort_values(["user_id", "timestamp"])
    begin = timed.timestamp - pd.to_timedelta(timed.duration_seconds, unit="s")
    previous = timed.groupby("user_id").timestamp.shift()
    assert (begin > previous)[previous.notna()].all()


def test_an_accepted_topic_is_studied_next(log: pd.DataFrame) -> None:
    rows = log.sort_values(["user_id", "timestamp"])
    following = rows.groupby("user_id")[["topic_id", "interaction_type"]].shift(-1)
    accepted = (rows.interaction_type == "recommendation_accepted") & following.topic_id.notna()
    assert accepted.sum() > 50
    assert (rows.topic_id == following.topic_id)[accepted].all()


def test_nights_are_quiet(learning: pd.DataFrame) -> None:
    hour = learning.timestamp.dt.hour
    assert hour.between(2, 5).mean() < 0.1
    assert hour.between(18, 21).mean() > 0.3


def test_activity_comes_in_bursts(learning: pd.DataFrame) -> None:
    gaps = learning.sort_values(["user_id", "timestamp"]).groupby("user_id").timestamp.diff()
    seconds = gaps.dropna().dt.total_seconds()
    burstiness = (seconds.std() - seconds.mean()) / (seconds.std() + seconds.mean())
    assert burstiness > 0.3  # 0 for a Poisson process (Goh & Barabási 2008)


def test_learners_drop_out_and_others_go_on(learning: pd.DataFrame) -> None:
    gone = (learning.groupby("user_id").timestamp.max() < END - timedelta(days=10)).mean()
    assert 0.1 < gone < 0.8


def test_scores_follow_ability(world: Cohort, learning: pd.DataFrame) -> None:
    mean = learning.groupby("user_id").score.mean().reindex(world.user_ids)
    counted = (learning.groupby("user_id").score.count().reindex(world.user_ids) >= 15).to_numpy()
    ability = world.learners.ability.mean(axis=1)
    assert np.corrcoef(mean[counted], ability[counted])[0, 1] > 0.6


def test_the_preferred_format_is_seen_in_the_log(world: Cohort, learning: pd.DataFrame) -> None:
    kinds = learning.groupby(["user_id", "interaction_type"]).size().unstack(fill_value=0)
    views = kinds.reindex(world.user_ids)
    many = (views.video_view + views.text_read >= 10).to_numpy()
    share = (views.video_view / (views.video_view + views.text_read)).to_numpy()
    preference = world.learners.formats[:, 3] - world.learners.formats[:, 4]
    assert np.corrcoef(share[many], preference[many])[0, 1] > 0.7


def test_the_truth_is_calibrated_with_what_happened(world: Cohort, learning: pd.DataFrame) -> None:
    quizzes = learning[learning.interaction_type == "quiz_complete"]
    level = quizzes.metadata.str.extract(r'"difficulty":"(\w+)"')[0]
    begin = quizzes.timestamp - pd.to_timedelta(quizzes.duration_seconds, unit="s")
    truth = np.array(
        [
            simulation.success_probability(world, *row)
            for row in zip(quizzes.user_id, quizzes.topic_id, level, begin, strict=True)
        ]
    )
    passed = (quizzes.score >= contracts.PASS_SCORE).to_numpy()
    assert abs(truth.mean() - passed.mean()) < 0.02
    low, high = truth < np.quantile(truth, 0.3), truth > np.quantile(truth, 0.7)
    for part in (low, high):
        assert abs(truth[part].mean() - passed[part].mean()) < 0.05
    assert truth[high].mean() - truth[low].mean() > 0.2


def studied(world: Cohort) -> tuple[str, int, datetime]:
    """Return a learner, the topic they studied most, and the moment after."""
    (who, place), taught = max(world.taught.items(), key=lambda entry: len(entry[1]))
    at = datetime.fromtimestamp(taught[-1][1], UTC)
    return world.user_ids[who], int(world.topics.ids[place]), at


def test_practice_raises_success_and_forgetting_lowers_it(world: Cohort) -> None:
    learner, topic, at = studied(world)
    later = [at + timedelta(days=days) for days in (0, 1, 7, 30, 120)]
    chances = [simulation.success_probability(world, learner, topic, "hard", t) for t in later]
    assert chances == sorted(chances, reverse=True)
    before = END - timedelta(days=DAYS + 1)
    never = simulation.success_probability(world, learner, topic, "hard", before)
    assert chances[0] - never > 0.1
    assert chances[0] - chances[3] > 0.02


def test_a_harder_level_is_passed_less_often(world: Cohort) -> None:
    for learner in world.user_ids[:10]:
        easy, medium, hard = (
            np.mean(
                [simulation.success_probability(world, learner, t, level, END) for t in (1, 9, 30)]
            )
            for level in contracts.LEVELS
        )
        assert easy > medium > hard


def test_forgetting_falls_like_a_power_of_time() -> None:
    days = np.array([0.25, 1, 4, 16, 64])
    traces = memory.learn(np.zeros(4), np.array(0.5))
    left = np.array([memory.strength(memory.fade(traces, np.array(day * 86400))) for day in days])
    line = np.polyfit(np.log(days), np.log(left), 1)
    assert -1 < line[0] < -0.1
    assert np.corrcoef(np.log(days), np.log(left))[0, 1] < -0.95


def test_spaced_practice_lasts_longer_than_massed() -> None:
    def after_30_days(gap: float) -> float:
        traces = np.zeros(4)
        for _ in range(3):
            traces = memory.learn(memory.fade(traces, np.array(gap)), np.array(0.5))
        return float(memory.strength(memory.fade(traces, np.array(30 * 86400.0))))

    assert after_30_days(3 * 86400) > 1.1 * after_30_days(60)


def test_missing_prerequisites_hinder_learning_and_success() -> None:
    one, none = np.array([1.0]), np.array([0.0])
    teaches, rate = np.array([0.5]), np.array([1.0])
    assert memory.gain(teaches, rate, one) > 2 * memory.gain(teaches, rate, none)
    with_them = responses.proficiency(none, none, one)
    assert with_them > responses.proficiency(none, none, none) + 0.5


def test_known_prerequisites_are_seen_in_the_log(world: Cohort) -> None:
    """First looks at a topic come after most of its prerequisites, more than order explains."""
    begun = {key: taught[0][0] for key, taught in world.taught.items()}
    met = [
        begun.get((who, before), np.inf) < moment
        for (who, place), moment in begun.items()
        for before in np.flatnonzero(world.topics.requires[place])
    ]
    generator = np.random.default_rng(0)
    chance = [
        begun.get((who, int(other)), np.inf) < moment
        for (who, place), moment in begun.items()
        for other in generator.integers(0, len(TOPICS), int(world.topics.requires[place].sum()))
    ]
    assert np.mean(met) > np.mean(chance) + 0.2


@pytest.mark.parametrize("latent", ["taste", "ability"])
def test_offers_that_suit_are_taken_more_often(latent: str) -> None:
    taken = {}
    for name, direction in (("best", -1), ("worst", 1)):
        cohort = Cohort(80, 10, 0, TOPICS, END)
        off_level = np.abs(cohort.learners.ability - 0.7 - cohort.topics.difficulty)
        suits = cohort.learners.interest if latent == "taste" else -off_level
        order = np.argsort(direction * suits, axis=1, kind="stable")
        looked = accepted = 0
        while len((acts := cohort.step(order[:, :3])).learner):
            looked, accepted = looked + acts.looked.sum(), accepted + acts.accepted.sum()
        taken[name] = accepted / looked
    assert taken["best"] > taken["worst"] + 0.05


def test_nothing_is_accepted_where_nothing_is_offered() -> None:
    cohort = Cohort(20, 10, 0, TOPICS, END)
    while len((acts := cohort.step()).learner):
        assert not acts.accepted.any()


@pytest.mark.parametrize("broken", [{"learners": 0}, {"days": 0}, {"end": datetime(2026, 1, 1)}])
def test_senseless_arguments_are_refused(broken: dict[str, object]) -> None:
    given = {"learners": 1, "days": 1, "seed": 0, "topics": TOPICS, "end": END} | broken
    with pytest.raises(ValueError, match="expected"):
        Cohort(**given)
