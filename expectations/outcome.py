"""Outcome of validation: a reason per bad row, and the refusal if the bad share is too large."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expectations.suites import Rule, describe, sentence
from sensei.errors import DataRefused
from sensei.events.refusals import ARRIVALS, NO_REFUSALS, Refusals

EXAMPLES = 3
"""Maximum number of example reasons in an error."""


@dataclass(frozen=True)
class RunBaseline:
    """Facts about the log in one run; the next run compares its volume and freshness with them.

    Attributes:
        rows: rows read, bad ones included.
        newest: time of the newest good event; None if there is none.
    """

    rows: int
    newest: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a JSON value."""
        return {"rows": self.rows, "newest": self.newest and self.newest.isoformat()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunBaseline":
        """Rebuild the facts from the value that `to_json` returned."""
        newest = value["newest"]
        return cls(int(value["rows"]), datetime.fromisoformat(newest) if newest else None)


@dataclass(frozen=True)
class ValidationOutcome:
    """The outcome of validating interactions.

    Attributes:
        good: rows that met every row rule, in the input's order; the input itself if all rows did.
        bad: one line per bad row: `row` (position in the input), `interaction_id` (the log's key,
            <NA> if unknown), `column`, `reason`, `expectation`.
        warnings: sentences about the log as a whole; none stops a run.
        docs: path of the HTML page.
        statistics: facts that the next run compares its own with.
        refusals: rows of the last arrivals that were refused at any door, see
            `sensei.events.refusals`.
    """

    good: pd.DataFrame
    bad: pd.DataFrame
    warnings: tuple[str, ...]
    docs: Path
    statistics: RunBaseline
    refusals: Refusals = NO_REFUSALS

    @property
    def bad_share(self) -> float:
        """Bad rows over all rows, in [0, 1]; 0 for an empty log."""
        return len(self.bad) / max(self.statistics.rows, 1)


def reasons(rule: Rule, values: "pd.Series[Any]", parameters: dict[str, Any]) -> np.ndarray:
    """Return the reason of refusal for each value.

    Args:
        rule: the rule that the values fail.
        values: the failing values, (n,).
        parameters: the run's values of the `$PARAMETER`s.

    Returns:
        (n,) sentences as objects; each distinct value is formatted once.
    """
    if "got" in rule["meta"]:
        return np.full(len(values), sentence(rule, rule["meta"]["got"], parameters), dtype=object)
    codes, distinct = pd.factorize(values.astype(object), use_na_sentinel=False)
    sentences = [
        sentence(rule, _words(value), parameters, _advice(rule, value)) for value in distinct
    ]
    return np.array(sentences, dtype=object)[codes]


def bad_rows(
    frame: pd.DataFrame, failures: list[tuple[Rule, np.ndarray]], parameters: dict[str, Any]
) -> pd.DataFrame:
    """Collect the failing rows, each once, with the first reason in the suite's order.

    Args:
        frame: the interactions.
        failures: pairs of a rule and the positions of the rows that fail it.
        parameters: the run's values of the `$PARAMETER`s.

    Returns:
        `ValidationOutcome.bad`, ordered by row.
    """
    parts = []
    for rule, rows in failures:
        field = rule["meta"]["field"]
        parts.append(
            pd.DataFrame(
                {
                    "row": rows,
                    "column": field,
                    "reason": reasons(rule, frame[field].iloc[rows], parameters),
                    "expectation": describe(rule),
                }
            )
        )
    empty = pd.DataFrame(
        {"row": np.empty(0, np.int64), "column": [], "reason": [], "expectation": []}
    )
    bad = pd.concat(parts, ignore_index=True) if parts else empty
    bad = bad.drop_duplicates("row").sort_values("row", ignore_index=True)
    has_ids = "interaction_id" in frame
    ids = frame["interaction_id"].to_numpy()[bad["row"]] if has_ids else [pd.NA] * len(bad)
    bad.insert(1, "interaction_id", pd.Series(ids, dtype="Int64"))
    return bad


def by_expectation(bad: pd.DataFrame) -> Iterator[tuple[str, dict[int, str]]]:
    """Group bad rows of the log for its quarantine.

    Args:
        bad: `ValidationOutcome.bad`.

    Yields:
        Pairs of an expectation and its reasons by the log's key; rows without a key are left out.
    """
    stored = bad[bad["interaction_id"].notna()]
    for expectation, rows in stored.groupby("expectation", sort=False):
        keys = rows["interaction_id"].astype(int)
        yield str(expectation), dict(zip(keys, rows["reason"], strict=True))


def refuse(validated: ValidationOutcome, max_share: float) -> None:
    """Stop a run whose share of bad rows is too large, in the log or among the last arrivals.

    Args:
        validated: the outcome of validation.
        max_share: largest share that is quarantined without stopping the run, in [0, 1].

    Raises:
        DataRefused: the share is larger; the message names the most frequent expectation, the
            share, up to three examples and the next step.
    """
    share = validated.bad_share
    if share <= max_share:
        _refuse_arrivals(validated, max_share)
        return
    counts = validated.bad["expectation"].value_counts()
    worst = validated.bad[validated.bad["expectation"] == counts.index[0]]
    examples = " | ".join(worst["reason"].drop_duplicates().head(EXAMPLES))
    raise DataRefused(
        f"interactions: expected at most {max_share:.1%} bad rows, got {share:.1%} "
        f"({len(validated.bad):,} of {validated.statistics.rows:,}), {len(worst):,} of them by "
        f"{counts.index[0]}, such as {examples}; correct the source and import it again, or raise "
        f"SENSEI_MAX_QUARANTINED_SHARE; all expectations: {validated.docs}"
    )


def _refuse_arrivals(validated: ValidationOutcome, max_share: float) -> None:
    if validated.refusals.exceed(max_share):
        raise DataRefused(
            f"interactions: expected at most {max_share:.1%} refused rows among those of the last "
            f"{ARRIVALS.days} days of arrivals, got: {validated.refusals.sentence()}; correct the "
            "source and send or import the rows again, or raise SENSEI_MAX_QUARANTINED_SHARE; all "
            f"expectations: {validated.docs}"
        )


def _words(value: Any) -> str:
    """Return a value formatted for a reader."""
    if pd.isna(value):
        return "nothing"
    if isinstance(value, pd.Timestamp):
        return value.isoformat(timespec="seconds")
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _advice(rule: Rule, value: Any) -> str:
    """Return advice to send a fraction instead of a percentage; empty for other values."""
    return f"send {value / 100:g}" if rule["meta"].get("percent") and 1 < value <= 100 else ""
