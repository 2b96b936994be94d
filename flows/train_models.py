"""Main flow: from the log to promoted models, packaged, with a drift report."""

from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.local.run_lock import one_at_a_time
from flows.presentation.run_summary import RunSummary
from flows.tasks import champion_tasks, release_tasks, report_tasks, training_tasks
from flows.tasks.artifacts import drift_in_words, publish
from flows.tasks.description_task import describe_versions
from flows.tasks.drift_windows import ObservedLog
from flows.tasks.gate_task import gate, serving_bundle
from flows.tasks.package_task import package_bundle
from flows.tasks.run_folders import run_folder
from sensei.app_state import DEMO
from sensei.events.log import open_log
from sensei.private_files import keep_files_private
from sensei.settings import Settings
from training.candidates import check_run


@flow(name="train-models", description="Log -> validated features -> models -> gate -> Bento.")
def train_models(
    window_days: Annotated[int, Field(ge=1)] = 90,
    as_of: datetime | None = None,
    split: Literal["time", "learner"] = "time",
    seed: int = 0,
    promotion: Literal["auto", "review"] = "auto",
    effort: Literal["quick", "full"] = "quick",
    models: list[str] | None = None,
) -> RunSummary:
    """Train on the log, promote what is better, package it, report drift.

    Args:
        window_days: Length of the window of targets, in days; history is never cut.
        as_of: End of the window, UTC; empty for the log's last event.
        split: `time`, or `learner` for logs without real times.
        seed: Seed of every random choice.
        promotion: `auto`, or `review`: a person decides, the version waits as challenger.
        effort: `quick`: few networks, one seed; `full`: all, three seeds: hours on a long log.
        models: Names of the candidates, such as `reference`; empty for those of the effort.

    Returns:
        Summary of the run, in figures and words.
    """
    models = models or None  # a form may send an empty list
    check_run(models)
    keep_files_private()
    settings = Settings()
    with one_at_a_time(open_log(settings.log_url).engine), ExitStack() as in_use:
        champion_tasks.reconcile_champions(settings)
        moment = training_tasks.read_moment(settings, as_of)
        in_use.enter_context(run_folder(moment.folder(settings)))
        extracted = training_tasks.cached(training_tasks.extract, settings, moment)
        validation = training_tasks.cached(training_tasks.validate, settings, moment, extracted)
        features = training_tasks.build_features(settings, moment, validation, window_days, split)
        trained = training_tasks.train(features, seed, effort, models)
        evidence, result = training_tasks.evaluate(features, trained, split, seed, effort)
        candidates = trained.candidates
        chosen = release_tasks.chosen(candidates, evidence)
        exported = release_tasks.export(features, chosen)
        parameters = {
            "window_days": window_days,
            "as_of": moment.as_of,
            "split": split,
            "seed": seed,
            "effort": effort,
            "models": ", ".join(models) if models else "those of the effort",
        }
        registered = release_tasks.register(
            settings, validation, features, candidates, evidence, result, exported, parameters
        )
        report_tasks.keep_references(settings, features, chosen, registered)
        release_tasks.keep_bundles(settings, features, chosen, exported, registered)
        against, served = champion_tasks.read_champions(settings), serving_bundle(settings)
        decisions = gate(settings, features, evidence, exported, seed)
        describe_versions(settings, validation, features, result, registered, decisions, against)
        digest = (
            release_tasks.promote_versions(settings, registered, decisions, against)
            if promotion == "auto"
            else None
        )
        bento = package_bundle(settings, digest) if digest else None
        observed = ObservedLog.prepared(features.prepared)
        # Not with the new champion: its reference covers the same days.
        drift = report_tasks.report_drift(settings, served, observed, moment.as_of)
        reports = report_tasks.keep_reports(
            settings, registered, validation, features, drift.report
        )
    summary = RunSummary(
        demo=bool(open_log(settings.log_url).get_fact(DEMO)),
        as_of=moment.as_of,
        window_days=window_days,
        read=validation.read,
        quarantined=validation.bad,
        reasons=validation.reasons,
        learners=features.prepared.census.learners,
        topics=features.prepared.census.topics,
        targets=features.prepared.counts,
        result=result,
        no_success=features.prepared.no_success,
        versions=registered.versions,
        promoted={
            name: digest is not None and decision.promote for name, decision in decisions.items()
        },
        decisions=decisions,
        bundle=digest,
        bento=bento,
        drift=drift_in_words(drift.drift, settings.drift_days, drift.against),
        reports=reports,
        page=registered.page(settings.mlflow_port),
        scored_share=features.prepared.scored_share,
        review=promotion == "review",
    )
    publish(settings, summary)
    return summary
