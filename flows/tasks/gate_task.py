"""Gate task: check that a challenger is fit to serve and better than the champion."""

from collections.abc import Mapping

from prefect import get_run_logger, task

from features.history import FOLD_VERSION
from flows.tasks.training_tasks import IN_MEMORY, Features
from sensei.bundle.bundle_format import Bundle
from sensei.errors import IncompatibleBundle
from sensei.events.log import open_log
from sensei.model_name import ModelName
from sensei.settings import Settings
from training.evaluation.result import EvaluationEvidence
from training.release.champion_comparison import decide_all
from training.release.export import Exported
from training.release.gate import Decision, judge
from training.release.serving_checks import fitness


@task(name="gate", **IN_MEMORY)
def gate(
    settings: Settings,
    features: Features,
    evidence: EvaluationEvidence,
    exported: Mapping[ModelName, Exported],
    seed: int,
) -> dict[str, Decision]:
    """Compare each challenger with the champion on the same later events and check its fitness."""
    serving = serving_bundle(settings)
    compared = decide_all(
        serving,
        features.prepared,
        evidence.tested,
        evidence.chosen,
        settings.promotion_margin,
        seed,
    )
    decisions = {}
    for model_name, decision in compared.items():
        statistics = features.parts(model_name).statistics
        champion = serving.networks.get(model_name) if serving else None
        size = len(statistics.topic_ids), statistics.width
        checks = fitness(model_name, exported[model_name], *size, champion)
        decisions[model_name.value] = judge(decision, checks)
        get_run_logger().info("Gate: %s: %s", model_name, decisions[model_name].reason)
    return decisions


def serving_bundle(settings: Settings) -> Bundle | None:
    """Load the serving bundle; None if there is none that this code can read."""
    digest = open_log(settings.log_url).pointer()
    if digest is None:
        return None
    try:
        return Bundle.load(settings.bundles / digest, FOLD_VERSION)
    except IncompatibleBundle as error:
        get_run_logger().warning("Gate: the champion cannot be compared: %s", error)
        return None
