"""Start of an A/B test of a challenger against the champion."""

from datetime import datetime
from pathlib import Path

from sensei.ab_test_state import AbTest, current, put_before_learners
from sensei.errors import InvalidInput
from sensei.events.log import Log
from training.release import ledger, promote
from training.release.bundles import bundle_with
from training.tracking.registry import Registry

LEAST, MOST = 0.01, 0.95
"""Limits of the challenger's share of learners: each side needs enough to measure."""


def start(
    log: Log,
    registry: Registry,
    bundles: Path,
    model_name: str,
    version: str | None,
    share: float,
    control: float,
    now: datetime,
) -> AbTest:
    """Start an A/B test of a version on a share of learners; waits for a promotion in progress.

    Args:
        log: its database holds the ledger and the A/B test.
        registry: holds the versions.
        bundles: folder of the bundles.
        model_name: `recommendation` or `difficulty`.
        version: its number; None for the current challenger.
        share: share of learners, in [0.01, 0.95].
        control: share of learners served by a counting policy, in [0, 1].
        now: start time.

    Raises:
        InvalidInput: an A/B test runs already, the share is out of range, or there is no such
            version.
        IncompatibleBundle: no bundle of the version can serve; nothing was changed.
        StorageUnavailable: a promotion in progress takes too long; nothing was changed.
    """
    max_share = min(MOST, 1 - control)
    if not LEAST <= share <= max_share:
        raise InvalidInput(
            f"--share: expected {100 * LEAST:g} to {100 * max_share:g} % of learners, got "
            f"{100 * share:g}; the control arm and the champion need the rest"
        )
    with promote.one_at_a_time(log):
        _refuse_second(log)
        promote.finish(log, registry, now)
        against = ledger.champions(ledger.read(log)).get(model_name)
        number = version or _waiting(registry, model_name)
        _refuse_useless(registry, model_name, number, against)
        bundle = bundle_with(log, registry, bundles, {model_name: number})
        trial = AbTest(
            bundle, share, model_name, number, against, now.isoformat(timespec="seconds")
        )
        put_before_learners(log, trial)
    return trial


def _refuse_second(log: Log) -> None:
    if running := current(log):
        raise InvalidInput(
            f"trial: expected no running one, got {running.name} since {running.since}; "
            "end it with `sensei trial stop`"
        )


def _waiting(registry: Registry, model_name: str) -> str:
    challenger = registry.challenger(model_name)
    if challenger is None:
        raise InvalidInput(
            f"version: expected a challenger of {model_name}, got none; "
            "train one with `sensei train`, or name a version with --version"
        )
    return challenger


def _refuse_useless(
    registry: Registry, model_name: str, version: str, champion: str | None
) -> None:
    if not registry.exists(model_name, version):
        raise InvalidInput(
            f"version: expected one of {model_name} in the registry, got {version}; "
            "list them with `sensei models`"
        )
    if version == champion:
        raise InvalidInput(
            f"version: expected another one than the champion, got {model_name} {version}; "
            "list the others with `sensei models`"
        )
