"""Validation of interactions and of model inputs against the expectation suites.

The whole suite runs once for its verdicts only. Failing rows are searched only for the
expectations that failed. Data Docs receive counts; the quarantine receives rows.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expectations.data_docs import DataDocsPage
from expectations.outcome import EXAMPLES, RunBaseline, ValidationOutcome, bad_rows
from expectations.suite_definitions import EVENT_KEY, TYPED
from expectations.suites import Rule, Suite, describe, load, raised, run, sentence, with_roles
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    KINDS,
    LEVELS,
    MAX_FUTURE_MINUTES,
    RECOMMENDATION_INPUTS,
)
from sensei.errors import DataRefused
from sensei.events.refusals import ARRIVALS, NO_REFUSALS, Refusals

COLLAPSED_VOLUME = 0.5
"""Share of the previous run's rows below which the log's volume causes a warning."""

_HEAD = 1_000  # rows that show a column's type
_NO_CATALOGUE = "topic_id: no catalogue is loaded; load one with `sensei curriculum load FILE`"


def validate_interactions(
    frame: pd.DataFrame,
    known_topics: Collection[int] | None,
    previous: RunBaseline | None,
    as_of: datetime,
    docs_folder: Path,
    kept: int = 20,
    refusals: Refusals = NO_REFUSALS,
) -> ValidationOutcome:
    """Validate a frame of interactions against the suite `interactions`.

    Args:
        frame: interactions read up to `as_of`, in any order; never changed.
        known_topics: topic ids of the catalogue; None or empty if no catalogue is loaded.
        previous: facts of the previous run; None for the first run.
        as_of: moment up to which the log was read; events more than 5 minutes later are bad.
        docs_folder: folder of the HTML pages.
        kept: number of pages to keep there.
        refusals: rows of the last arrivals that were refused at any door, for the page.

    Returns:
        Good rows, bad rows with reasons, warnings, the page and the facts for the next run.

    Raises:
        DataRefused: a column is missing, has a wrong type, or is required and empty.
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
    if refusals.bad:
        notes.append(f"of the last {ARRIVALS.days} days of arrivals, {refusals.sentence()}")
    newest = good["timestamp"].max() if len(good) else None
    facts = RunBaseline(len(frame), newest.to_pydatetime() if newest is not None else None)
    docs = page.write(shapes + results + whole, notes)
    return ValidationOutcome(good, bad, tuple(warnings), docs, facts, refusals)


def validate_features(
    matrices: Mapping[str, np.ndarray],
    as_of: datetime,
    docs_folder: Path,
    kept: int = 20,
    rows: int | None = None,
) -> Path:
    """Validate model inputs against the suite `features`: every value a number within its range.

    All rows are first reduced to each input's lowest and highest value (NaN wins). The suite
    therefore reads two rows, however many rows there are.

    Args:
        matrices: `recommendation` (n, 20) and/or `difficulty` (m, 4), float, as in the contract.
        as_of: moment up to which the log was read.
        docs_folder: folder of the HTML pages.
        kept: number of pages to keep there.
        rows: number of rows that `matrices` summarises by their extremes; by default its own
            length.

    Returns:
        The path of the page.

    Raises:
        DataRefused: an input is not a number or out of range; the message has the share and
            examples. This software computes the inputs, so the cause is a defect to fix, not a row
            to quarantine.
    """
    names = {"recommendation": RECOMMENDATION_INPUTS, "difficulty": DIFFICULTY_INPUTS}
    columns = {
        declared.name: matrix[:, i]
        for model, matrix in matrices.items()
        for i, declared in enumerate(names[model])
        if len(matrix)
    }
    # float64: for float32, Great Expectations compares the ranges element by element in Python.
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
    """Return this run's values of the suite's `$PARAMETER`s."""
    latest = as_of.astimezone(UTC) + timedelta(minutes=MAX_FUTURE_MINUTES)
    newest = previous.newest if previous else None
    return {
        "latest": latest.isoformat(),
        "known_topics": sorted(int(topic) for topic in known_topics or ()),
        "fewest_rows": int(previous.rows * COLLAPSED_VOLUME) if previous else 0,
        "previous_newest": newest and newest.astimezone(UTC).isoformat(),
    }


def _view(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns the suite needs, uncopied, with one hash in place of two id columns.

    Great Expectations hashes every frame it receives, and text takes most of that time.
    `user_id+event_id` is a 64-bit hash of the pair, null if either is null. Among 1 M events, two
    collide by chance with p = 3e-8. Apparent duplicates are compared in full afterwards.
    """
    columns = {field.name: frame[field.name].array for field in TYPED}
    view = pd.DataFrame(columns, index=pd.RangeIndex(len(frame)), copy=False)
    learners = frame["user_id"].cat
    names = pd.util.hash_array(learners.categories.to_numpy(dtype=object), categorize=False)
    codes = learners.codes.to_numpy()
    events = pd.util.hash_array(frame["event_id"].to_numpy(dtype=object), categorize=False)
    odd = np.uint64(0x9E3779B97F4A7C15)  # an odd factor keeps (a, b) and (b, a) apart
    key = pd.Series(events ^ (names[codes] * odd) if len(names) else events, view.index)
    absent = frame["event_id"].isna().to_numpy() | (codes < 0)
    view[EVENT_KEY] = key.astype("UInt64").mask(absent) if absent.any() else key
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
        message = sentence(rule, got, {})
        raise DataRefused(f"{message}; {describe(rule)} in {page.write(results, [message])}")


def _refuse_empty(
    rules: Suite, results: Sequence[Any], page: DataDocsPage, shown: Sequence[Any]
) -> None:
    """Raise DataRefused if a required column is empty or a rule could not be applied."""
    for rule, result in zip(rules, results, strict=True):
        details = result.result or {}
        rows = details.get("element_count", 0)
        empty = rule["type"].endswith("not_be_null") and 0 < rows == details.get("unexpected_count")
        if empty or raised(result):
            got = "no value in any row" if empty else "values that cannot be compared"
            message = sentence(rule, got, {"latest": "now"})
            raise DataRefused(f"{message}; {describe(rule)} in {page.write(shown, [message])}")


def _judge(rules: Suite, view: pd.DataFrame, parameters: dict[str, Any]) -> list[Any]:
    """Run rules for their verdicts, then run the failed ones again for their details."""
    results = run(rules, view, parameters)
    failed = [i for i, result in enumerate(results) if not result.success]
    details = run(Suite([rules[i] for i in failed]), view, parameters, "COMPLETE")
    for i, detail in zip(failed, details, strict=True):
        results[i] = detail
    return results


def _failures(
    frame: pd.DataFrame, rules: Suite, results: Sequence[Any]
) -> list[tuple[Rule, np.ndarray]]:
    """Return each failed row rule with the positions of its failing rows."""
    failures = []
    for rule, result in zip(rules, results, strict=True):
        if result.success:
            continue
        rows = np.sort(np.array(result.result["unexpected_index_list"], dtype=np.int64))
        if rule["type"].endswith("be_unique"):
            pairs = frame[["user_id", "event_id"]].iloc[rows]
            rows = rows[pairs.duplicated().to_numpy()]  # the first of equal events is kept
        failures.append((rule, rows))
    return failures


def _warnings(rules: Suite, results: Sequence[Any], parameters: dict[str, Any]) -> list[str]:
    """Return failed expectations about the log as a whole as sentences."""
    messages = []
    for rule, result in zip(rules, results, strict=True):
        if result.success:
            continue
        details = result.result
        got = str(details.get("observed_value"))
        if rule["meta"]["role"] == "topics":
            topics = sorted(set(details["unexpected_list"]))
            some = ", ".join(map(str, topics[:EXAMPLES])) + ", ..." * (len(topics) > EXAMPLES)
            got = f"{details['unexpected_percent']:.1f} % of rows on others ({some})"
        messages.append(sentence(rule, got, parameters))
    return messages


def _good(frame: pd.DataFrame, bad: np.ndarray) -> pd.DataFrame:
    """Return the frame without bad rows, with the contract's categories only."""
    if not len(bad):
        return frame
    keep = np.ones(len(frame), dtype=bool)
    keep[bad] = False
    good = frame[keep].copy()
    for name, categories in (("interaction_type", KINDS), ("difficulty", LEVELS)):
        good[name] = good[name].cat.set_categories(categories)
    return good


def _broken_input(rule: Rule, values: np.ndarray) -> str:
    """Return a sentence with examples and the share of an input's values that break a rule."""
    low, high = rule["kwargs"].get("min_value"), rule["kwargs"].get("max_value")
    wrong = np.isnan(values) if low is None else (values < low) | (values > high)
    some = ", ".join(f"{value:g}" for value in values[wrong][:EXAMPLES])
    return sentence(rule, f"{some} ({wrong.mean():.1%} of {len(values):,} rows)", {})
