"""`sensei models`, `promote`, `rollback`, `reconcile`: champions and manual promotion."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.presentation.terminal import console, run_progress
from sensei.model_name import ModelName
from sensei.settings import Settings

if TYPE_CHECKING:
    from training.release.manual_promotion import ManualDecision

Reviewer = Annotated[str, typer.Option(help="Your name, for the ledger.")]
Reason = Annotated[str, typer.Option(help="Reason, for the ledger.")]


def models() -> None:
    """List every version: its state, its figures, who decided and why."""
    from flows.local.local_log import open_own_log
    from flows.presentation.version_table import rows_of, show_versions
    from training.release import ledger
    from training.tracking.registry import Registry

    settings = Settings()
    registry = Registry(settings.tracking_uri, settings.artifacts)
    rows = rows_of(registry.versions(), ledger.read(open_own_log(settings)))
    show_versions(console, rows)


def promote(
    reviewer: Reviewer,
    model: Annotated[
        ModelName, typer.Option(help="Model; the other one is unchanged.")
    ] = ModelName.RECOMMENDATION,
    version: Annotated[
        str, typer.Option(help="Version number, or challenger: the newest waiting version.")
    ] = "challenger",
    reason: Reason = "",
) -> None:
    """Make a version champion: serving follows within two seconds, a Bento is packed."""
    from training.release.manual_promotion import ManualDecision

    _decide(ManualDecision(reviewer, reason, (model.value,), version))


def rollback(
    reviewer: Reviewer,
    model: Annotated[
        ModelName | None,
        typer.Option(help="Model; by default those that the last promotion changed."),
    ] = None,
    reason: Reason = "",
) -> None:
    """Make the previous champion champion again; serving follows at once."""
    from training.release.manual_promotion import ManualDecision

    _decide(ManualDecision(reviewer, reason, (model.value,) if model else ()))


def reconcile() -> None:
    """Make ledger, serving and MLflow's aliases agree, as every run does first."""
    from flows.local.local_log import open_own_log
    from training.release.reconcile import reconcile
    from training.tracking.registry import Registry

    settings = Settings()
    log, now = open_own_log(settings), datetime.now(UTC)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    done = reconcile(log, registry, settings.bundles, now)
    for sentence in done or ["Ledger, serving and aliases agree."]:
        console.print(escape(sentence), soft_wrap=True)


def _decide(decision: "ManualDecision") -> None:
    """Reconcile, carry out a reviewer's decision and package the service.

    No Prefect engine is started, because the change may be urgent.
    """
    from flows.local.bento_build import package
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import command
    from training.release.manual_promotion import change_champions
    from training.release.reconcile import reconcile
    from training.tracking.registry import Registry

    settings = Settings()
    with run_progress() as say:
        say("MLflow: opening the registry")
        log = open_own_log(settings)
        registry = Registry(settings.tracking_uri, settings.artifacts)
        for sentence in reconcile(log, registry, settings.bundles, datetime.now(UTC)):
            say(f"Reconcile: {sentence}")
        changed = change_champions(log, registry, settings.bundles, decision, datetime.now(UTC))
        say(f"{changed}; serving follows within two seconds")
        say("Package: bentoml build")
        bento = package(settings.bundles / changed.bundle, settings.bentos)
    summary = f"Bundle {changed.bundle[:12]}, Bento {bento}. See {command()} models"
    console.print(summary, soft_wrap=True)
