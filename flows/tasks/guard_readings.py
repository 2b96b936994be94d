"""Readings of the guards: counts of the log and last good runs, judged together."""

from datetime import datetime, timedelta

from monitoring.feed import read_feed
from monitoring.guards import (
    FRESHNESS,
    MONITOR,
    NIGHTLY,
    VOLUME,
    WEEK,
    GuardVerdict,
    judge_freshness,
    judge_refusals,
    judge_run,
    judge_volume,
)
from sensei.app_state import DEMO, MONITORED
from sensei.errors import StorageUnavailable
from sensei.events.log import Log
from sensei.events.refusals import recent_refusals
from sensei.model_name import ModelName
from sensei.settings import Settings
from training.release import ledger
from training.tracking.mlflow_status import read_tracked


def judge_guards(
    settings: Settings, log: Log, now: datetime, as_of: datetime | None = None
) -> list[GuardVerdict]:
    """Judge all guards; it takes seconds for ten million events.

    A demo is judged by its refused rows only: its learners are simulated, and nothing is scheduled.

    Args:
        settings: limits, and the location of MLflow.
        log: the log.
        now: the current time.
        as_of: end of the events that are judged; None for now.

    Raises:
        StorageUnavailable: the log cannot be read.
    """
    end = as_of or now
    feed = read_feed(log.engine, end)
    refused = judge_refusals(recent_refusals(log.engine), settings.max_quarantined_share)
    if log.get_fact(DEMO):
        volume, freshness, *runs = (
            GuardVerdict(guard, fires=False, sentence="not judged: simulated learners")
            for guard in (VOLUME, FRESHNESS, NIGHTLY, MONITOR)
        )
        return [volume, freshness, refused, *runs]
    if feed.newest and end - feed.newest > timedelta(days=WEEK):
        sentence = "not judged: no event in the last week, see freshness"
        volume = GuardVerdict(VOLUME, fires=False, sentence=sentence)
    else:
        volume = judge_volume(feed.daily, settings.volume_alarm)
    freshness = judge_freshness(
        feed.newest, feed.last_received, feed.daily, end, settings.max_silence_days
    )
    return [volume, freshness, refused, *judge_runs(settings, log, now)]


def judge_runs(settings: Settings, log: Log, now: datetime) -> list[GuardVerdict]:
    """Judge the ages of the last good training and of the last run of the monitor."""
    entries = ledger.read(log)
    in_use_since = entries[0].created_at if entries else None
    limit = settings.max_run_age_days
    try:
        finished = read_tracked(settings.tracking_uri, list(ModelName)).last_finished
        last_trained = finished.started_at if finished else None
        nightly_verdict = judge_run(NIGHTLY, last_trained, in_use_since, now, limit)
    except StorageUnavailable:
        sentence = "the last good run is unknown: MLflow does not answer"
        nightly_verdict = GuardVerdict(NIGHTLY, fires=False, sentence=sentence)
    monitored = log.get_fact(MONITORED)
    computed_at = monitored.get("computed_at") if isinstance(monitored, dict) else None
    last_monitored = datetime.fromisoformat(computed_at) if computed_at else None
    return [nightly_verdict, judge_run(MONITOR, last_monitored, in_use_since, now, limit)]
