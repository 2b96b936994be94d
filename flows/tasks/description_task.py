"""Task that writes the MLflow pages of new versions, for the person who decides on them."""

from collections.abc import Mapping

from prefect import get_run_logger, task

from flows.tasks.release_tasks import Registered
from flows.tasks.training_tasks import IO, Features, Validation
from sensei.settings import Settings
from training.evaluation.result import Result
from training.release.gate import Decision
from training.reports import version_page
from training.tracking.registry import Registry


@task(name="version pages", **IO)
def describe_versions(
    settings: Settings,
    validation: Validation,
    features: Features,
    result: Result,
    registered: Registered,
    decisions: Mapping[str, Decision],
    champions: Mapping[str, str],
) -> None:
    """Describe each new version on its page: origin, gate's finding, and how to promote it."""
    registry = Registry(settings.tracking_uri, settings.artifacts)
    reports = {
        "validation of its interactions (Data Docs)": f"reports/{validation.docs.name}",
        "validation of its inputs (Data Docs)": f"reports/{features.docs.name}",
        "all reports": "reports",
    }
    for model_name, decision in decisions.items():
        version, provenance = registered.versions[model_name], registered.made[model_name]
        location = version_page.VersionLocation(
            version,
            champions.get(model_name),
            registered.run_id,
            registered.experiment_id,
            reports,
        )
        registry.describe(
            model_name, version, version_page.page(result, provenance, decision, location)
        )
        registry.tag(model_name, version, version_page.tags(provenance, decision, location))
        registry.measure(registered.run_id, version_page.figures(model_name, decision))
        get_run_logger().info("Page: %s version %s", model_name, version)
    registry.note(registered.run_id, version_page.verdicts(registered.versions, decisions))
