"""The tasks of a run, one after the other, on a log that lies in many small shards."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from features.learner_state import LEARNING
from flows.local.local_log import last_midnight, open_own_log, simulate_into
from flows.tasks import release_tasks, report_tasks, training_tasks
from flows.tasks.drift_windows import ObservedLog
from flows.tasks.gate_task import gate
from flows.tasks.training_tasks import Features, RunSnapshot, Validation
from sensei.contracts import DAY
from sensei.settings import Settings
from training.data.shards import Shards, read_log
from training.fitting.keras_fit import FAST
from training.recipes import QUICK

BRIEF = replace(QUICK, epochs=2, setting=replace(FAST, epochs=2))
DAYS = 30


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose log holds some thousand interactions of forty simulated learners."""
    home_settings = Settings(home=tmp_path_factory.mktemp("long") / "home")
    simulate_into(open_own_log(home_settings), 40, DAYS, 5, last_midnight(), lambda _: None)
    return home_settings


@pytest.fixture(scope="module", autouse=True)
def tasks_without_a_server() -> Iterator[None]:
    """Tasks run as the functions they are; what is long and how long to train is made small."""
    with pytest.MonkeyPatch.context() as patch, disable_run_logger():
        patch.setattr(training_tasks, "read_log", partial(read_log, in_memory=200, shard_rows=300))
        patch.setitem(training_tasks.EFFORTS, "quick", BRIEF)
        yield


@pytest.fixture(scope="module")
def moment(settings: Settings) -> RunSnapshot:
    return training_tasks.read_moment.fn(settings, None)


@pytest.fixture(scope="module")
def validation(settings: Settings, moment: RunSnapshot) -> Validation:
    return training_tasks.validate.fn(settings, moment, training_tasks.extract.fn(settings, moment))


@pytest.fixture(scope="module")
def features(settings: Settings, moment: RunSnapshot, validation: Validation) -> Features:
    return training_tasks.build_features.fn(settings, moment, validation, DAYS, "time")


def test_every_valid_row_is_in_one_shard(validation: Validation, features: Features) -> None:
    log = features.prepared.log
    assert isinstance(log, Shards)
    assert len(log) > 5
    assert sum(map(len, log)) == validation.read - validation.bad > 1_000
    users = [user for events in log for user in events.user_ids]
    assert len(users) == len(set(users)) == features.prepared.census.learners


def test_a_run_trains_chooses_exports_and_decides(settings: Settings, features: Features) -> None:
    trained = training_tasks.train.fn(features, 0, "quick", None)
    evidence, result = training_tasks.evaluate.fn(features, trained, "time", 0, "quick")
    assert {"reference", "history", "sequence", "markov_2"} <= result.next_topic["new"].keys()
    assert {"reference", "history", "topic_mean"} <= result.success.keys()
    for table in (*result.next_topic.values(), result.success, result.topic_only):
        assert len({figures["n"] for figures in table.values()}) == 1
        assert all(np.isfinite(value) for figures in table.values() for value in figures.values())
    best = result.next_topic["all"][result.data["selected"]["recommendation"]]
    assert best["hr_at_5"] > result.next_topic["all"]["most_popular"]["hr_at_5"]
    chosen = release_tasks.chosen(trained.candidates, evidence)
    assert chosen.keys() == {"recommendation", "difficulty"}
    exported = release_tasks.export.fn(features, chosen)
    assert all(network.parity < 1e-4 for network in exported.values())
    decisions = gate.fn(settings, features, evidence, exported, 0)
    assert all(decision.promote for decision in decisions.values()), "nothing serves yet"


@pytest.mark.slow
def test_drift_is_measured_over_the_learners_of_all_shards(
    settings: Settings, moment: RunSnapshot, features: Features
) -> None:
    observed = ObservedLog.prepared(features.prepared)
    drift = report_tasks.report_drift.fn(settings, None, observed, moment.as_of).drift
    start = int(moment.as_of.timestamp() * 1e6) - settings.drift_days * DAY
    active = set()
    for events in features.prepared.log:
        learner = np.repeat(events.user_ids, np.diff(events.offsets))
        active |= set(learner[(events.time >= start) & (events.kind < LEARNING)])
    assert drift.n_current == len(active) > 10
