"""Flow that reads and validates the log without training."""

from datetime import datetime

from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.tasks import training_tasks
from flows.tasks.run_folders import run_folder
from flows.tasks.training_tasks import Validation
from sensei.private_files import keep_files_private
from sensei.settings import Settings


@flow(name="check-data", description="Log -> expectations -> quarantine and Data Docs.")
def check_data(as_of: datetime | None = None) -> dict[str, int]:
    """Validate every interaction against the expectations and quarantine the bad rows.

    Args:
        as_of: Read only interactions before this time, UTC; empty for the whole log.

    Returns:
        Expectation -> rows refused.
    """
    keep_files_private()
    settings = Settings()
    moment = training_tasks.read_moment(settings, as_of)
    with run_folder(moment.folder(settings)):
        extracted = training_tasks.cached(training_tasks.extract, settings, moment)
        validation = training_tasks.cached(training_tasks.validate, settings, moment, extracted)
    _publish(validation)
    return validation.reasons


def _publish(validation: Validation) -> None:
    """Publish the row counts and the link to the Data Docs."""
    counts = {"good": validation.read - validation.bad, **validation.reasons}
    create_table_artifact(
        key="checked-data",
        table=[{"rows": f"{count:,}", "of": what} for what, count in counts.items()],
        description=f"{validation.read:,} interactions: valid, and quarantined by expectation",
    )
    create_link_artifact(
        key="data-docs",
        link=validation.docs.as_uri(),
        link_text=str(validation.docs),
        description="Data Docs: every expectation with the rows that failed it",
    )
