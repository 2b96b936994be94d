"""Flow for the manual promotion of a version to champion."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.package_service import package_bundle
from flows.tasks import champion_tasks
from sensei.model_name import ModelName
from sensei.private_files import keep_files_private
from sensei.settings import Settings

Reviewer = Annotated[str, Field(pattern=r"\S")]
"""Reviewer's name: not empty, not blank."""


@flow(name="promote-model", description="A version that waits -> champion -> Bento.")
def promote_model(
    reviewer: Reviewer,
    model: ModelName = ModelName.RECOMMENDATION,
    version: Annotated[str, Field(pattern=r"^(challenger|[1-9]\d*)$")] = "challenger",
    reason: str = "",
) -> None:
    """Make a version champion: serving follows within two seconds.

    Args:
        reviewer: Your name, for the ledger.
        model: Model to change; the other one is unchanged.
        version: Version in the registry, or `challenger` for the waiting one.
        reason: Reason, for the ledger.
    """
    keep_files_private()
    settings = Settings()
    champion_tasks.reconcile(settings)
    number = champion_tasks.number_of(settings, model, version)
    changed = champion_tasks.promote_version(settings, model, number, reviewer, reason)
    champion_tasks.publish(changed, reviewer, reason, package_bundle(settings, changed.bundle))
