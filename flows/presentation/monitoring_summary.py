"""Findings of the monitor as tables and sentences."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitoring.alarms import DRIFT, QUALITY, SKEW

Found = Mapping[str, Any]


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


def rows(found: Found) -> list[tuple[str, str, str]]:
    """Return the rows of the table: title, value, and interval or explanation."""
    listed = [(title, *_figure(found["figures"][name], say)) for name, title, say in FIGURES]
    listed.insert(1, ("Lift over the control arm", *_lift(found["lift"])))
    if found.get("open"):
        listed.append(("Answers not judged yet", f"{found['open']:,}", OPEN))
    listed.append(("Drift, 0 to 1", *_drift(found["drift"])))
    listed.append(("Answers with training-serving skew", *_skew(found["skew"])))
    listed += [
        (guard.capitalize(), "ALARM" if verdict["fires"] else "ok", verdict["sentence"])
        for guard, verdict in found.get("guards", {}).items()
    ]
    if found.get("trial"):
        trial = found["trial"]
        listed.append(("A/B test", "decided" if trial["enough"] else "open", trial["said"]))
    return listed


def _figure(row: Mapping[str, Any], say: Callable[[float], str]) -> tuple[str, str]:
    if row["value"] is None:
        return "-", "nothing to count yet"
    interval = "" if row["low"] is None else f"{say(row['low'])} to {say(row['high'])}, "
    return say(row["value"]), f"{interval}{row['n']:,} answers, {row['learners']:,} learners"


def _lift(lift: Mapping[str, Any] | None) -> tuple[str, str]:
    if lift is None or lift["value"] is None:
        return "-", "no day with outcomes in both arms"
    value, sure = _figure(lift, lambda share: f"{100 * share:+.1f} points")
    return value, sure


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
    named = ", ".join(skew.get("inputs", {}))
    return f"{skew['different']:,}", f"of {skew['compared']:,} answers" + (named and f": {named}")


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


def title(found: Found) -> str:
    """Describe the window in words."""
    window = found["window"]
    start, end = (window[name][:16].replace("T", " ") for name in ("start", "end"))
    return f"From {start} to {end} UTC"


def markdown(found: Found) -> str:
    """Format the findings as Markdown for the Prefect UI."""
    lines = [f"# {title(found)}", "| | | |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {sure} |" for what, value, sure in rows(found)]
    alarms = [f"- **{sentence}**" for sentence in found["alarms"]] or ["No alarm."]
    alarms += [f"- {HELD_BACK}: {sentence}" for sentence in found.get("held_back", [])]
    return "\n".join([*lines, "", *alarms, "", found.get("follows", "")]).rstrip()


def show_monitored(console: Console, found: Found) -> None:
    """Show the findings in a terminal."""
    table = Table(title=title(found), title_justify="left", show_header=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column()
    for row in rows(found):
        table.add_row(*map(escape, row))
    console.print(table)
    for sentence in found["alarms"]:
        console.print(f"[red]alarm:[/red] {escape(sentence)}", soft_wrap=True)
    if not found["alarms"]:
        console.print("No alarm.")
    for sentence in found.get("held_back", []):
        console.print(f"{HELD_BACK}: {escape(sentence)}", soft_wrap=True)
    if found.get("follows"):
        console.print(escape(found["follows"]), soft_wrap=True)
    if found["drift"] and found["drift"]["report"]:
        console.print(f"Drift report: {escape(found['drift']['report'])}", soft_wrap=True)
