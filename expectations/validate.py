"""Validation of a frame of interactions and of model inputs against the suites.

The whole suite runs once for its verdicts alone; rows are looked for only where an expectation
failed. Data Docs get counts, the quarantine gets rows.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expectations.data_docs import DataDocsPage
from expectations.outcome import EXAMPLES, RunBaseline, ValidationOutcome, bad_rows
from expectations.suites import Rule, Suite, describe, load, raised, run, sentence, with_roles
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    KINDS,
    LEVELS,
    MAX_FUTURE_MINUTES,
    RECOMMENDATION_INPUTS,
)
from sensei.errors import DataRefused

COLLAPSED_VOLUME = 0.5
"""A log with fewer rows than this share of the previous run's is warned about."""

_HEAD = 1_000  # rows that show a column's type
_NO_CATALOGUE = "topic_id: no catalogue is loaded; load one with `sensei curriculum load FILE`"
_VIEW = (
    "user_id",
    "interaction_type",
    "topic_id",
    "score",
    "duration_seconds",
    "timestamp",
    "difficulty",
)


def validate_interactions(
    frame: pd.DataFrame,
    known_topics: Collection[int] | None,
    previous: RunBaseline | None,
    as_of: datetime,
    docs_folder: Path,
    kept: int = 20,
) -> ValidationOutcome:
    """Hold a frame of interactions against the suite `interactions`.

    Args:
        frame: interactions read up to `as_of`, in any order; never changed.
        known_topics: ids of the catalogue; none or None means there is no catalogue.
        previous: what the previous run saw; None for the first.
        as_of: moment the log was read for; events over 5 minutes later are bad.
        docs_folder: where the HTML page goes.
        kept: pages that remain there.

    Returns:
        Good rows, bad rows with reasons, warnings, the page and the facts for the next run.

    Raises:
        DataRefused: a column is missing, of a wrong type, or empty although required.
    """
    parameters = _parameters(known_topics, previous, as_of)
    suite = load("interactions")
    page = DataDocsPage("interactions", as_of, docs_folder, kept)
    columns = with_roles(suite, {"column"})
    shapes = run(columns, frame.head(_HEAD), parameters)
    _refuse_broken(columns, shapes, page, frame)

    rules, view = with_roles(suite, {"row"}), _view(frame)
    results = _judge(rules, view, parameters)
    _refuse_empty(rules, results, page, shapes + results)
    bad = bad_rows(frame, _failures(frame, rules, results), parameters)
    good = _good(frame, bad["row"].to_numpy())

    seen = previous is not None and previous.newest is not None
    roles = {"run"} if seen else set()
    roles |= {"topics"} if known_topics else set()
    rules = with_roles(suite, roles)
    whole = _judge(rules, good[["topic_id", "timestamp"]], parameters)
    warnings = _warnings(rules, whole, parameters) + ([] if known_topics else [_NO_CATALOGUE])
    notes = [*warnings, f"{len(frame):,} rows read, {len(bad):,} of them quarantined"]
    newest = good["timestamp"].max() if len(good) else None
    facts = RunBaseline(len(frame), newest.to_pydatetime() if newest is not None else None)
    return ValidationOutcome(
        good, bad, tuple(warnings), page.write(shapes + results + whole, notes), facts
    )


def validate_features(
    matrices: Mapping[str, np.ndarray],
    as_of: datetime,
    docs_folder: Path,
    kept: int = 20,
    rows: int | None = None,
) -> Path:
    """Hold model inputs against the suite `features`: every value a number within its range.

    All rows are reduced to each input's lowest and highest value first (NaN wins), so the suite
    reads two rows, however many there are.

    Args:
        matrices: `recommendation` (n, 20) and/or `difficulty` (m, 4), float, as in the contract.
        as_of: moment the log was read for.
        docs_folder: where the HTML page goes.
        kept: pages that remain there.
        rows: how many rows these are the extremes of; by default they are all.

    Returns:
        The page.

    Raises:
        DataRefused: an input is no number or out of range; with share and examples. A feature is
            computed by this software, so it is a fault to mend and no row to quarantine.
    """
    names = {"recommendation": RECOMMENDATION_INPUTS, "difficulty": DIFFICULTY_INPUTS}
    columns = {
        given.name: matrix[:, i]
        for model, matrix in matrices.items()
        for i, given in enumerate(names[model])
        if len(matrix)
    }
    # float64: the suite's ranges are compared element by element, in Python, for float32.
    extremes = pd.DataFrame({name: [x.min(), x.max()] for name, x in columns.items()}, dtype=float)
    rules = Suite([r for r in load("features") if r["kwargs"]["column"] in columns])
    results = run(rules, extremes, {})
    broken = [rule for rule, result in zip(rules, results, strict=True) if not result.success]
    notes = [_broken_input(rule, columns[rule["kwargs"]["column"]]) for rule in broken]
    read = ", ".join(
        f"{len(matrix) if rows is None else rows:,} rows of {model}"
        for model, matrix in matrices.items()
    )
    page = DataDocsPage("features", as_of, docs_folder, kept).write(
        results, [*notes, f"{read} read"]
    )
    if notes:
        raise DataRefused(f"{notes[0]}; all expectations: {page}")
    return page


def _parameters(
    known_topics: Collection[int] | None, previous: RunBaseline | None, as_of: datetime
) -> dict[str, Any]:
    """Give the suite's `$PARAMETER`s their values for this run."""
    latest = as_of.astimezone(UTC) + timedelta(minutes=MAX_FUTURE_MINUTES)
    newest = previous.newest if previous else None
    return {
        "latest": latest.isoformat(),
        "known_topics": sorted(int(topic) for topic in known_topics or ()),
        "fewest_rows": int(previous.rows * COLLAPSED_VOLUME) if previous else 0,
        "previous_newest": newest and newest.astimezone(UTC).isoformat(),
    }


def _view(frame: pd.DataFrame) -> pd.DataFrame:
    """Show the suite what it needs, cheaply: no copy, and one hash in place of two id columns.

    Great Expectations hashes every frame it is given; text costs most of that. `user_id+event_id`
    is a 64-bit hash of the pair, null where either is: two events in 1 M collide by chance with
    p = 3e-8, and what looks repeated is compared in full afterwards.
    """
    columns = {name: frame[name].array for name in _VIEW}
    view = pd.DataFrame(columns, index=pd.RangeIndex(len(frame)), copy=False)
    learners = frame["user_id"].cat
    names = pd.util.hash_array(learners.categories.to_numpy(dtype=object), categorize=False)
    codes = learners.codes.to_numpy()
    events = pd.util.hash_array(frame["event_id"].to_numpy(dtype=object), categorize=False)
    odd = np.uint64(0x9E3779B97F4A7C15)  # an odd factor keeps (a, b) and (b, a) apart
    key = pd.Series(events ^ (names[codes] * odd) if len(names) else events, view.index)
    absent = frame["event_id"].isna().to_numpy() | (codes < 0)
    view["user_id+event_id"] = key.astype("UInt64").mask(absent) if absent.any() else key
    return view


def _refuse_broken(
    rules: Suite, results: Sequence[Any], page: DataDocsPage, head: pd.DataFrame
) -> None:
    """Raise DataRefused for the first column that is missing or of another type."""
    for rule, result in zip(rules, results, strict=True):
        if result.success:
            continue
        column = rule["kwargs"].get("column")
        if column is None:
            missing = [c for c in rule["kwargs"]["column_set"] if c not in head]
            got = f"none named {', '.join(missing)}"
        else:
            got = f"values of type {head[column].dtype}"
        said = sentence(rule, got, {})
        raise DataRefused(f"{said}; {describe(rule)} in {page.write(results, [said])}")


def _refuse_empty(
    rules: Suite, results: Sequence[Any], page: DataDocsPage, shown: Sequence[Any]
) -> None:
    """Raise DataRefused where a required column holds nothing, or a rule could not be applied."""
    for rule, result in zip(rules, results, strict=True):
        found = result.result or {}
        rows = found.get("element_count", 0)
        empty = rule["type"].endswith("not_be_null") and 0 < rows == found.get("unexpected_count")
        if empty or raised(result):
            got = "nothing in any row" if empty else "values that cannot be compared"
            said = sentence(rule, got, {"latest": "now"})
            raise DataRefused(f"{said}; {describe(rule)} in {page.write(shown, [said])}")


def _judge(rules: Suite, view: pd.DataFrame, parameters: dict[str, Any]) -> list[Any]:
    """Run rules for their verdicts, then only those that failed again for their details."""
    results = run(rules, view, parameters)
    failed = [i for i, result in enumerate(results) if not result.success]
    details = run(Suite([rules[i] for i in failed]), view, parameters, "COMPLETE")
    for i, detail in zip(failed, details, strict=True):
        results[i] = detail
    return results


def _failures(
    frame: pd.DataFrame, rules: Suite, results: Sequence[Any]
) -> list[tuple[Rule, np.ndarray]]:
    """Find the positions of the rows that fail each row rule."""
    failures = []
    for rule, result in zip(rules, results, strict=True):
        if result.success:
            continue
        rows = np.sort(np.array(result.result["unexpected_index_list"], dtype=np.int64))
        if rule["type"].endswith("be_unique"):
            pairs = frame[["user_id", "event_id"]].iloc[rows]
            rows = rows[pairs.duplicated().to_numpy()]  # the first of equals is kept
        failures.append((rule, rows))
    return failures


def _warnings(rules: Suite, results: Sequence[Any], parameters: dict[str, Any]) -> list[str]:
    """Put failed expectations about the log as a whole in words."""
    said = []
    for rule, result in zip(rules, results, strict=True):
        if result.success:
            continue
        found = result.result
        got = str(found.get("observed_value"))
        if rule["meta"]["role"] == "topics":
            topics = sorted(set(found["unexpected_list"]))
            some = ", ".join(map(str, topics[:EXAMPLES])) + ", ..." * (len(topics) > EXAMPLES)
            got = f"{found['unexpected_percent']:.1f} % of rows on others ({some})"
        said.append(sentence(rule, got, parameters))
    return said


def _good(frame: pd.DataFrame, bad: np.ndarray) -> pd.DataFrame:
    """Leave the bad rows out, and kinds and levels that only they had."""
    if not len(bad):
        return frame
    keep = np.ones(len(frame), dtype=bool)
    keep[bad] = False
    good = frame[keep].copy()
    for name, categories in (("interaction_type", KINDS), ("difficulty", LEVELS)):
        good[name] = good[name].cat.set_categories(categories)
    return good


def _broken_input(rule: Rule, values: np.ndarray) -> str:
    """Say which share of an input's values breaks a rule, with examples."""
    low, high = rule["kwargs"].get("min_value"), rule["kwargs"].get("max_value")
    wrong = np.isnan(values) if low is None else (values < low) | (values > high)
    some = ", ".join(f"{value:g}" for value in values[wrong][:EXAMPLES])
    return sentence(rule, f"{some} ({wrong.mean():.1%} of {len(values):,} rows)", {})
