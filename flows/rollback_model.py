"""Flow for the manual rollback to the previous champion."""

from typing import Literal

from prefect import flow

from flows.promote_model import Reviewer
from flows.tasks import champion_tasks
from sensei.private_files import keep_files_private
from sensei.settings import Settings
from training.release.manual_promotion import ManualDecision


@flow(name="rollback-model", description="The champion before -> champion again -> Bento.")
def rollback_model(
    reviewer: Reviewer,
    model: Literal["changed last", "recommendation", "difficulty"] = "changed last",
    reason: str = "",
) -> None:
    """Make the previous champion champion again: serving follows within two seconds.

    Args:
        reviewer: Your name, for the ledger.
        model: Model to roll back; by default those that the last promotion changed.
        reason: Reason, for the ledger.
    """
    keep_files_private()
    model_names = () if model == "changed last" else (model,)
    champion_tasks.decide(Settings(), ManualDecision(reviewer, reason, model_names))
