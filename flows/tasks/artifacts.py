"""Artifacts of a training run in the Prefect UI: figures, decisions and links."""

from pathlib import Path

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.presentation.result_tables import Figures
from flows.presentation.run_summary import RunSummary
from monitoring.drift.drift_score import Drift
from sensei.model_name import ModelName
from training.evaluation.metric_specs import CANDIDATE_LABELS, METRICS, PRECISE_DIGITS


def publish(run: RunSummary) -> None:
    """Create the artifacts of a training run."""
    for mode, figures in run.tables.next_topic.items():
        create_table_artifact(
            key=f"next-topic-{mode}",
            table=_rows(figures, ModelName.RECOMMENDATION),
            description=f"Next topic, {mode} targets of the test part; every topic ranked",
        )
    for key, figures, condition in (
        ("success-as-served", run.tables.level_only, "level known and no item, as served"),
        ("success", run.tables.success, "item and level known"),
        ("success-topic-only", run.tables.topic_only, "neither item nor level known"),
    ):
        if figures:
            create_table_artifact(
                key=key,
                table=_rows(figures, ModelName.DIFFICULTY),
                description=f"Success of scored attempts of the test part, {condition}",
            )
    create_markdown_artifact(key="run", markdown=_markdown(run), description="Results of this run")
    pages = {
        title: f"{run.page}/artifacts/reports/{Path(p).name}" for title, p in run.reports.items()
    }
    for title, address in {"MLflow run": run.page, **pages}.items():
        key = title.lower().replace(" ", "-")
        create_link_artifact(key=key, link=address, link_text=title, description=title)


def _rows(figures: Figures, model_name: ModelName) -> list[dict[str, str]]:
    return [
        {"model": CANDIDATE_LABELS.get(candidate, candidate)}
        | {m.label: m.text(values[m.name], PRECISE_DIGITS) for m in METRICS[model_name]}
        for candidate, values in figures.items()
    ]


def _markdown(run: RunSummary) -> str:
    lines = [
        f"# Training up to {run.as_of:%Y-%m-%d %H:%M} UTC",
        f"{run.read:,} rows read, {run.quarantined:,} quarantined; "
        f"{run.learners:,} learners, {run.topics:,} topics.",
    ]
    for model_name, version in run.versions.items():
        label = CANDIDATE_LABELS.get(run.chosen[model_name], run.chosen[model_name])
        lines.append(f"**{model_name}** version {version} ({label}), {run.verdict(model_name)}")
    if run.review:
        lines.append(_how_to_promote(run))
    if run.no_success:
        lines.append(f"No difficulty model: {run.no_success}.")
    lines.append(run.drift)
    if run.bundle:
        lines.append(f"Bundle `{run.bundle}`, Bento `{run.bento}`.")
    return "\n\n".join(lines)


def _how_to_promote(run: RunSummary) -> str:
    """Tell the reviewer where to look, and three ways to decide."""
    commands = "\n".join(f"  - `{command}`" for command in run.promoting().values())
    return (
        f"## Decision\n\nLook at the [MLflow run]({run.page}) (model card, figures, plots; "
        "`make mlflow`) and the reports. Then, for each model:\n\n"
        "- run the deployment `promote-model` here (Deployments, Quick run or Custom run), or\n"
        f"- in a terminal\n{commands}\n"
        "- or give the version the alias `champion` in MLflow: the next run of any flow that "
        "reconciles updates serving, and the ledger records `unknown`.\n\n"
        "To change nothing, do nothing."
    )


def drift_in_words(drift: Drift, days: int, against: str) -> str:
    """Describe the drift of the last days, and its reference, in one sentence."""
    windows = f"the last {days} days ({drift.n_current:,} learners) against {against}"
    if drift.small:
        return f"Drift     not judged: {windows} ({drift.n_reference:,}) are too few learners."
    moved = ", ".join(drift.drifted) or "no drift"
    return f"Drift     {drift.score:.2f} of 1, {windows}: {moved}."
