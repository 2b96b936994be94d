"""Table of the model versions with their ledger entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.presentation.run_summary import command
from training.release import ledger
from training.release.ledger import LedgerEntry
from training.reports.metric_tables import label
from training.tracking.model_version import Version
from training.tracking.registry import CHALLENGER, CHAMPION

SHOWN = 10
"""Number of newest versions per model that are listed; champion and challenger always are."""

WORDS = 90
"""Maximum length of a displayed reason, in characters; the ledger keeps the full text."""


@dataclass(frozen=True)
class VersionRow:
    """Row of the version table.

    Attributes:
        model: `recommendation` or `difficulty`.
        version: its number.
        candidate: description of its candidate.
        state: `champion`, `challenger`, `former`, `pending` for an unfinished promotion, or `-`
            for a version that never served learners.
        since: time of its last promotion, otherwise of its creation, UTC.
        decided_by: who made it champion; empty if it never was.
        measured: its leading figure on its test part.
        reason: why it became champion, in short; for others the gate's finding.
        alias: true if it has the alias `champion` but is not champion: moved by hand.
    """

    model: str
    version: str
    candidate: str
    state: str
    since: datetime
    decided_by: str
    measured: str
    reason: str
    alias: bool = False


def rows_of(versions: Sequence[Version], lines: Sequence[LedgerEntry]) -> list[VersionRow]:
    """Join the registry with the ledger; by model, the newest first."""
    champions = ledger.champions(lines)
    latest = {(line.model, line.to_version): line for line in lines}
    rows = [
        _row(version, latest.get((version.model, version.version)), champions.get(version.model))
        for version in versions
    ]
    return sorted(rows, key=lambda row: (row.model != "recommendation", -int(row.version)))


def _row(version: Version, line: LedgerEntry | None, champion: str | None) -> VersionRow:
    state = CHALLENGER if CHALLENGER in version.aliases else "former" if line else "-"
    if version.version == champion:
        state = CHAMPION if line and line.finished_at else "pending"
    return VersionRow(
        version.model,
        version.version,
        label(version.candidate),
        state,
        line.created_at if line else version.created_at,
        line.decided_by if line else "",
        version.measured,
        _short(line) if line else version.judged,
        CHAMPION in version.aliases and version.version != champion,
    )


def _short(line: LedgerEntry) -> str:
    """Shorten the reason; for a decision of the gate, show the gain and its interval."""
    gain, low, high = (line.reason.get(name) for name in ("gain", "low", "high"))
    if gain is not None and low is not None and high is not None:
        return f"gain {gain:+.4f} ({low:+.4f} to {high:+.4f})"
    words = str(line.reason.get("reason", ""))
    words = f"rollback: {words}".removesuffix(": ") if line.is_rollback else words
    return words if len(words) <= WORDS else words[: WORDS - 1] + "…"


def show_versions(console: Console, rows: Sequence[VersionRow]) -> None:
    """Show the versions; older ones that never served learners are only counted."""
    if not rows:
        console.print(f"No version yet. Next: {command()} run", soft_wrap=True)
        return
    visible = [
        row for model in dict.fromkeys(r.model for r in rows) for row in _newest(rows, model)
    ]
    table = Table(title="Versions", title_justify="left", show_lines=True)
    table.add_column("version", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("candidate, figures on its test part, reason")
    for row in visible:
        table.add_row(f"{row.model} {row.version}", _state(row), _words(row))
    console.print(table)
    if len(visible) < len(rows):
        console.print(f"and {len(rows) - len(visible)} older ones, in MLflow")
    for row in visible:
        if row.alias:
            console.print(
                f"{row.model}: the alias `champion` was moved by hand to version {row.version}; "
                f"the next run, promotion or rollback applies it, or now: {command()} reconcile"
            )


def _newest(rows: Sequence[VersionRow], model: str) -> list[VersionRow]:
    of_model = [row for row in rows if row.model == model]
    return [
        row
        for position, row in enumerate(of_model)
        if position < SHOWN or row.state in (CHAMPION, CHALLENGER)
    ]


def _state(row: VersionRow) -> str:
    colour = {CHAMPION: "bold green", CHALLENGER: "yellow"}.get(row.state)
    state = f"[{colour}]{row.state}[/{colour}]" if colour else row.state
    by = f"\nby {escape(row.decided_by[:20])}" if row.decided_by else ""
    word = " since" if row.state in (CHAMPION, CHALLENGER) else ""
    return f"{state}{word}\n{row.since:%Y-%m-%d %H:%M}{by}"


def _words(row: VersionRow) -> str:
    return "\n".join(escape(text) for text in (row.candidate, row.measured, row.reason) if text)
