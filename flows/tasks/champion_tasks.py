"""Tasks for the champions: reconcile, promote, roll back."""

from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from flows.tasks.package_task import package_bundle
from flows.tasks.training_tasks import IO
from sensei.events.log import open_log
from sensei.settings import Settings
from training.release import ledger, manual_promotion
from training.release.manual_promotion import ManualDecision, ManualPromotion
from training.release.reconcile import reconcile
from training.tracking.registry import Registry


@task(name="reconcile", **IO)
def reconcile_champions(settings: Settings) -> None:
    """Make ledger, serving pointer and aliases agree; log and publish each correction."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    changes = reconcile(log, registry, settings.bundles, datetime.now(UTC))
    for sentence in changes:
        get_run_logger().warning("Reconcile: %s", sentence)
    if changes:
        create_markdown_artifact(
            key="reconciled",
            markdown="\n".join(f"- {sentence}" for sentence in changes),
            description="Ledger, serving and MLflow's aliases did not agree",
        )


def read_champions(settings: Settings) -> dict[str, str]:
    """Read the current champion of each model from the ledger."""
    return ledger.champions(ledger.read(open_log(settings.log_url)))


@task(name="change champions", **IO)
def change_champions(settings: Settings, decision: ManualDecision) -> ManualPromotion:
    """Carry out a reviewer's decision; it names a version by number, because a retry repeats it."""
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    now = datetime.now(UTC)
    return manual_promotion.change_champions(log, registry, settings.bundles, decision, now)


def decide(settings: Settings, decision: ManualDecision) -> None:
    """Reconcile, carry out a reviewer's decision, package the service and publish the change."""
    reconcile_champions(settings)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    promotion = change_champions(settings, decision.numbered(registry))
    bento = package_bundle(settings, promotion.bundle)
    _publish(promotion, decision, bento)


def _publish(promotion: ManualPromotion, decision: ManualDecision, bento: str) -> None:
    """Publish a reviewer's change in the Prefect UI."""
    reason = f": {decision.reason}" if decision.reason else "."
    lines = [
        f"{promotion}.",
        f"Decided by {decision.reviewer}{reason}",
        f"Bundle `{promotion.bundle}`, Bento `{bento}`.",
    ]
    create_markdown_artifact(
        key="champion", markdown="\n\n".join(lines), description="Version that answers learners"
    )
    get_run_logger().info("Champion: %s", promotion)
