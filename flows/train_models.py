"""The main flow: from the log to promoted models, packaged, with a drift report."""

from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows import champions, release, reports, steps
from flows.artifacts import drift_in_words, publish
from flows.describing import describe_versions
from flows.gating import gate, serving_bundle
from flows.one_at_a_time import one_at_a_time
from flows.package_service import package_bundle
from flows.run_folders import run_folder
from flows.summary import RunSummary, tables_of
from flows.windows import Observed
from sensei.facts import DEMO
from sensei.log import open_log
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
        window_days: Targets of the last so many days; history is never cut.
        as_of: End of the window, UTC; empty for the log's last event.
        split: `time`, or `learner` for logs that know only order.
        seed: Seed of every random choice.
        promotion: `auto`, or `review`: a person decides, the version waits as challenger.
        effort: `quick`: few networks, once; `full`: every one, three times: hours on a long log.
        models: Names of those that compete, such as `reference`; empty for those of the effort.

    Returns:
        What the run did, in figures and words.
    """
    models = models or None  # a form may send an empty list
    check_run(models)
    keep_files_private()
    settings = Settings()
    with one_at_a_time(open_log(settings.log_url).engine), ExitStack() as held:
        champions.reconcile(settings)
        moment = steps.read_moment(settings, as_of)
        held.enter_context(run_folder(moment.folder(settings)))
        extracted = steps.cached(steps.extract, settings, moment)
        validation = steps.cached(steps.validate, settings, moment, extracted)
        features = steps.build_features(settings, moment, validation, window_days, split)
        trained = steps.train(features, seed, effort, models)
        evidence, result = steps.evaluate(features, trained, split, seed, effort)
        candidates = trained.candidates
        chosen = release.chosen(candidates, evidence)
        exported = release.export(features, chosen)
        parameters = {
            "window_days": window_days,
            "as_of": moment.as_of,
            "split": split,
            "seed": seed,
            "effort": effort,
            "models": ", ".join(models) if models else "those of the effort",
        }
        registered = release.register(
            settings, validation, features, candidates, evidence, result, exported, parameters
        )
        reports.keep_references(settings, features, chosen, registered)
        release.keep_bundles(settings, features, chosen, exported, registered)
        against, served = champions.read_champions(settings), serving_bundle(settings)
        decisions = gate(settings, features, evidence, exported, seed)
        describe_versions(settings, validation, features, result, registered, decisions, against)
        digest = (
            release.promote_versions(settings, registered, decisions, against)
            if promotion == "auto"
            else None
        )
        bento = package_bundle(settings, digest) if digest else None
        observed = Observed.prepared(features.prepared)
        # Not with the new champion: its reference is of these very days.
        drift = reports.report_drift(settings, served, observed, moment.as_of)
        kept = reports.keep_reports(settings, registered, validation, features, drift.report)
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
        tables=tables_of(result),
        no_success=features.prepared.no_success,
        chosen={model: candidate.name for model, candidate in chosen.items()},
        versions=registered.versions,
        promoted={
            model: digest is not None and decision.promote for model, decision in decisions.items()
        },
        decisions={model: decision.reason for model, decision in decisions.items()},
        checks={model: decision.summary for model, decision in decisions.items()},
        bundle=digest,
        bento=bento,
        drift=drift_in_words(drift.drift, settings.drift_days, drift.against),
        reports=kept,
        page=registered.page(settings.mlflow_port),
        scored_share=features.prepared.scored_share,
        review=promotion == "review",
    )
    publish(summary)
    return summary
