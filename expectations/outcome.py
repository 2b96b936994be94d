"""What becomes of bad rows: a reason in words for each, and the refusal when there are too many."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expectations.suites import Rule, describe, sentence
from sensei.errors import DataRefused

EXAMPLES = 3
"""Reasons that an error quotes."""


@dataclass(frozen=True)
class RunBaseline:
    """What one run saw of the log; the next run's volume and freshness are held against it.

    Attributes:
        rows: rows read, bad ones included.
        newest: time of the newest good event; None without one.
    """

    rows: int
    newest: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a JSON value."""
        return {"rows": self.rows, "newest": self.newest and self.newest.isoformat()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunBaseline":
        """Read what `to_json` gave."""
        newest = value["newest"]
        return cls(int(value["rows"]), datetime.fromisoformat(newest) if newest else None)


@dataclass(frozen=True)
class ValidationOutcome:
    """The outcome of validating interactions.

    Attributes:
        good: rows that met every row rule, in the input's order; the input itself when all did.
        bad: one line per bad row: `row` (position in the input), `interaction_id` (the log's key,
            <NA> where unknown), `column`, `reason`, `expectation`.
        warnings: sentences about the log as a whole; none stops a run.
        docs: the HTML page.
        statistics: what the next run compares itself with.
    """

    good: pd.DataFrame
    bad: pd.DataFrame
    warnings: tuple[str, ...]
    docs: Path
    statistics: RunBaseline

    @property
    def bad_share(self) -> float:
        """Bad rows over all rows, in [0, 1]; 0 for an empty log."""
        return len(self.bad) / max(self.statistics.rows, 1)


def reasons(rule: Rule, values: "pd.Series[Any]", parameters: dict[str, Any]) -> np.ndarray:
    """Say for each value why it was refused.

    Args:
        rule: the rule that the values fail.
        values: the failing values, (n,).
        parameters: the run's values for `$PARAMETER`.

    Returns:
        (n,) sentences as objects; each distinct value is put in words once.
    """
    if "got" in rule["meta"]:
        return np.full(len(values), sentence(rule, rule["meta"]["got"], parameters), dtype=object)
    codes, distinct = pd.factorize(values.astype(object), use_na_sentinel=False)
    said = [sentence(rule, _words(v), parameters, _advice(rule, v)) for v in distinct]
    return np.array(said, dtype=object)[codes]


def bad_rows(
    frame: pd.DataFrame, failures: list[tuple[Rule, np.ndarray]], parameters: dict[str, Any]
) -> pd.DataFrame:
    """Gather failing rows, each once, with the first reason in the suite's order.

    Args:
        frame: the interactions.
        failures: a rule and the positions of the rows that fail it.
        parameters: the run's values for `$PARAMETER`.

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
    known = "interaction_id" in frame
    ids = frame["interaction_id"].to_numpy()[bad["row"]] if known else [pd.NA] * len(bad)
    bad.insert(1, "interaction_id", pd.Series(ids, dtype="Int64"))
    return bad


def by_expectation(bad: pd.DataFrame) -> Iterator[tuple[str, dict[int, str]]]:
    """Group bad rows of the log for its quarantine.

    Args:
        bad: `ValidationOutcome.bad`.

    Yields:
        An expectation, and the reason by the log's key; rows without a key are left out.
    """
    known = bad[bad["interaction_id"].notna()]
    for expectation, rows in known.groupby("expectation", sort=False):
        keys = rows["interaction_id"].astype(int)
        yield str(expectation), dict(zip(keys, rows["reason"], strict=True))


def refuse(validated: ValidationOutcome, max_share: float) -> None:
    """Stop a run whose share of bad rows is too large.

    Args:
        validated: the outcome of validation.
        max_share: largest share that is quarantined without stopping the run, in [0, 1].

    Raises:
        DataRefused: naming the commonest expectation, the share, three examples and the next step.
    """
    share = validated.bad_share
    if share <= max_share:
        return
    counts = validated.bad["expectation"].value_counts()
    worst = validated.bad[validated.bad["expectation"] == counts.index[0]]
    examples = " | ".join(worst["reason"].drop_duplicates().head(EXAMPLES))
    raise DataRefused(
        f"interactions: expected at most {max_share:.1%} bad rows, got {share:.1%} "
        f"({len(validated.bad):,} of {validated.statistics.rows:,}), {len(worst):,} of them by "
        f"{counts.index[0]}, such as {examples}; mend the source and import it again, or raise "
        f"SENSEI_MAX_QUARANTINED_SHARE; all expectations: {validated.docs}"
    )


def _words(value: Any) -> str:
    """Show a value as a person would write it."""
    if pd.isna(value):
        return "nothing"
    if isinstance(value, pd.Timestamp):
        return value.isoformat(timespec="seconds")
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _advice(rule: Rule, value: Any) -> str:
    """Turn a percentage into the fraction to send; empty where the rule's own words do."""
    return f"send {value / 100:g}" if rule["meta"].get("percent") and 1 < value <= 100 else ""
