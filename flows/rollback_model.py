"""Flow for the manual rollback to the previous champion."""

from typing import Literal

from prefect import flow

from flows.package_service import package_bundle
from flows.promote_model import Reviewer
from flows.tasks import champion_tasks
from sensei.private_files import keep_files_private
from sensei.settings import Settings


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
    settings = Settings()
    champion_tasks.reconcile(settings)
    models = [] if model == "changed last" else [model]
    changed = champion_tasks.roll_back(settings, models, reviewer, reason)
    champion_tasks.publish(changed, reviewer, reason, package_bundle(settings, changed.bundle))
