"""Findings of the monitor as a document."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from monitoring.alarms import DRIFT, QUALITY, SKEW
from training.reports.document import (
    Heading,
    Paragraph,
    ResultDocument,
    Table,
    bullets,
    document,
    facts,
)

Findings = Mapping[str, Any]


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _plain(value: float) -> str:
    return f"{value:.3f}"


FIGURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("recommendation_acceptance", "Recommendations accepted", _share),
    ("hit_rate_at_k", "Next topic among the first three", _share),
    ("user_satisfaction", "Satisfaction, 1 to 5", lambda value: f"{value:.2f}"),
    ("accuracy", "Success predicted correctly", _share),
    ("log_loss", "Log loss of success", _plain),
    ("calibration_error", "Calibration error of success", _plain),
    ("catalogue_coverage", "Topics of the catalogue shown", _share),
    ("fallback_share", "Answers without a model", _share),
)

OPEN = "each is judged SENSEI_ACCEPTANCE_HOURS after it was given"

HELD_BACK = "no reason to train while events are missing"


def rows(findings: Findings) -> list[tuple[str, str, str]]:
    """Return the rows of the table: title, value, and interval or explanation."""
    table_rows = [
        (title, *_figure(findings["figures"][name], format_)) for name, title, format_ in FIGURES
    ]
    table_rows.insert(1, ("Lift over the control arm", *_lift(findings["lift"])))
    if findings.get("open"):
        table_rows.append(("Answers not judged yet", f"{findings['open']:,}", OPEN))
    table_rows.append(("Drift, 0 to 1", *_drift(findings["drift"])))
    table_rows.append(("Answers with training-serving skew", *_skew(findings["skew"])))
    table_rows += [
        (guard.capitalize(), "ALARM" if verdict["fires"] else "ok", verdict["sentence"])
        for guard, verdict in findings.get("guards", {}).items()
    ]
    outside = findings.get("outside_catalogue") or {"events": 0}
    if outside["events"]:
        topic_ids = ", ".join(map(str, outside["topics"]))
        table_rows.append(("Events outside the catalogue", f"{outside['events']:,}", topic_ids))
    if findings.get("trial"):
        trial = findings["trial"]
        table_rows.append(("A/B test", "decided" if trial["enough"] else "open", trial["said"]))
    return table_rows


def _figure(row: Mapping[str, Any], format_: Callable[[float], str]) -> tuple[str, str]:
    if row["value"] is None:
        return "-", "nothing to count yet"
    interval = "" if row["low"] is None else f"{format_(row['low'])} to {format_(row['high'])}, "
    return format_(row["value"]), f"{interval}{row['n']:,} answers, {row['learners']:,} learners"


def _lift(lift: Mapping[str, Any] | None) -> tuple[str, str]:
    if lift is None or lift["value"] is None:
        return "-", "no day with outcomes in both arms"
    return _figure(lift, lambda share: f"{100 * share:+.1f} points")


def _drift(drift: Mapping[str, Any] | None) -> tuple[str, str]:
    if drift is None:
        return "-", "the log is empty"
    sizes = f"{drift['n_current']:,} learners against {drift['against']}"
    if drift["small"]:
        return "not judged", f"{sizes} ({drift['n_reference']:,}): too few"
    return f"{drift['score']:.2f}", f"{', '.join(drift['drifted']) or 'no drift'}; {sizes}"


def _skew(skew: Mapping[str, Any] | None) -> tuple[str, str]:
    if skew is None or not skew["compared"]:
        return "-", "no logged inputs yet"
    inputs = ", ".join(skew.get("inputs", {}))
    return f"{skew['different']:,}", f"of {skew['compared']:,} answers" + (inputs and f": {inputs}")


def follows(alarming: Collection[str], emitted: Collection[str] | None, hours: int) -> str:
    """Describe the next step after the alarms in one sentence; empty without alarms.

    Args:
        alarming: names of the events that the alarms are.
        emitted: those of them that were emitted now; None without a Prefect server.
        hours: cooldown during which the same event is not emitted again.
    """
    training = {DRIFT, QUALITY}.intersection(alarming)
    if not alarming:
        return ""
    if not training and SKEW not in alarming:
        return "Check the feed and the runs named: `sensei doctor`. None of it starts a training."
    if not training:
        return "Serving and training must read the same inputs: check those named; do not train."
    if emitted is None:
        return "No Prefect server received it, so no run starts automatically: `sensei train`."
    if not training.intersection(emitted):
        return f"Emitted before: the same alarm starts no other training within {hours} hours."
    return "The deployment `on-drift` trains now; a better model replaces the champion."


def findings_document(findings: Findings) -> ResultDocument:
    """Return the findings as a document: figures, alarms and the next step."""
    start, end = (findings["window"][name][:16].replace("T", " ") for name in ("start", "end"))
    report = (findings["drift"] or {}).get("report")
    follows_text, held_back = findings.get("follows"), findings.get("held_back")
    return document(
        Heading(f"From {start} to {end} UTC", 1),
        Table(("figure", "value", "interval and number, or note"), tuple(rows(findings))),
        bullets((f"**alarm:** {sentence}" for sentence in findings["alarms"]), "No alarm."),
        [bullets(f"{HELD_BACK}: {sentence}" for sentence in held_back)] if held_back else (),
        [Paragraph(follows_text)] if follows_text else (),
        facts({"Drift report": report or ""}) if report else (),
    )
