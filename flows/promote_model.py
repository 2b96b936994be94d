"""Flow for the manual promotion of a version to champion."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.tasks import champion_tasks
from sensei.model_name import ModelName
from sensei.private_files import keep_files_private
from sensei.settings import Settings
from training.release.manual_promotion import ManualDecision

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
    decision = ManualDecision(reviewer, reason, (model.value,), version)
    champion_tasks.decide(Settings(), decision)
