"""The tasks about who is champion: reconcile what drifted apart, promote, roll back."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from flows.tasks.training_tasks import IO
from sensei.events.log import open_log
from sensei.settings import Settings
from training.release import ledger, manual_promotion
from training.release import reconcile as reconciliation
from training.release.manual_promotion import ManualPromotion
from training.tracking.registry import Registry


@task(name="reconcile", **IO)
def reconcile(settings: Settings) -> None:
    """Make ledger, serving pointer and aliases agree; say what was done for it."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    done = reconciliation.reconcile(log, registry, settings.bundles, datetime.now(UTC))
    for sentence in done:
        get_run_logger().warning("Reconcile: %s", sentence)
    if done:
        create_markdown_artifact(
            key="reconciled",
            markdown="\n".join(f"- {sentence}" for sentence in done),
            description="Ledger, serving and MLflow's aliases did not agree",
        )


def read_champions(settings: Settings) -> dict[str, str]:
    """Model -> champion, as the ledger says now."""
    return ledger.champions(ledger.read(open_log(settings.log_url)))


def number_of(settings: Settings, model: str, version: str) -> str:
    """The number of a version; fixed beforehand, as a promotion ends the alias `challenger`."""
    registry = Registry(settings.tracking_uri, settings.artifacts)
    return manual_promotion.number_of(registry, model, version)


@task(name="promote version", **IO)
def promote_version(
    settings: Settings, model: str, version: str, name: str, reason: str
) -> ManualPromotion:
    """Make a version champion because a person says so."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    now = datetime.now(UTC)
    return manual_promotion.promote_version(
        log, registry, settings.bundles, model, version, name, reason, now
    )


@task(name="roll back", **IO)
def roll_back(settings: Settings, models: Sequence[str], name: str, reason: str) -> ManualPromotion:
    """Make the champions before the present ones champions again."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    now = datetime.now(UTC)
    return manual_promotion.roll_back(log, registry, settings.bundles, models, name, reason, now)


def publish(changed: ManualPromotion, name: str, reason: str, bento: str) -> None:
    """Say in the Prefect UI what a person changed."""
    lines = [str(changed) + ".", f"Decided by {name}" + (f": {reason}" if reason else ".")]
    lines.append(f"Bundle `{changed.bundle}`, Bento `{bento}`.")
    create_markdown_artifact(
        key="champion", markdown="\n\n".join(lines), description="Which version answers learners"
    )
    get_run_logger().info("Champion: %s", changed)
