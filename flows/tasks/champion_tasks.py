"""Tasks for the champions: reconcile, promote, roll back."""

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
    """Make ledger, serving pointer and aliases agree; log and publish each correction."""
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
    """Read the current champion of each model from the ledger."""
    return ledger.champions(ledger.read(open_log(settings.log_url)))


def number_of(settings: Settings, model: str, version: str) -> str:
    """Return the number of a version.

    Resolve it before the promotion, because a promotion removes the alias `challenger`.
    """
    registry = Registry(settings.tracking_uri, settings.artifacts)
    return manual_promotion.number_of(registry, model, version)


@task(name="promote version", **IO)
def promote_version(
    settings: Settings, model: str, version: str, name: str, reason: str
) -> ManualPromotion:
    """Make a version champion by a person's decision."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    now = datetime.now(UTC)
    return manual_promotion.promote_version(
        log, registry, settings.bundles, model, version, name, reason, now
    )


@task(name="roll back", **IO)
def roll_back(settings: Settings, models: Sequence[str], name: str, reason: str) -> ManualPromotion:
    """Make the previous champions champions again."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    now = datetime.now(UTC)
    return manual_promotion.roll_back(log, registry, settings.bundles, models, name, reason, now)


def publish(changed: ManualPromotion, name: str, reason: str, bento: str) -> None:
    """Publish a person's change in the Prefect UI."""
    lines = [str(changed) + ".", f"Decided by {name}" + (f": {reason}" if reason else ".")]
    lines.append(f"Bundle `{changed.bundle}`, Bento `{bento}`.")
    create_markdown_artifact(
        key="champion", markdown="\n\n".join(lines), description="Version that answers learners"
    )
    get_run_logger().info("Champion: %s", changed)
