"""The expectation suites as files: Great Expectations' JSON with the wording of failures.

`expectations.suite_definitions` writes the files.

Each expectation's `meta` holds its role and the wording of its failure:

- `role`: `column` (a failure stops a run at once), `row` (a failing row is quarantined),
  `run` and `topics` (warnings about the log as a whole), `input` (model inputs);
- `field`, `expected`, `got` (replaces a value that must not be shown), `next`: the parts of the
  sentence `field: expected X, got Y; do Z`.
"""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NewType

import pandas as pd

Rule = dict[str, Any]
"""One expectation of a suite file: `type`, `kwargs`, `severity`, `meta`."""

Suite = NewType("Suite", list[Rule])

FOLDER = Path(__file__).parent


def load(name: str) -> Suite:
    """Read one suite file.

    Args:
        name: `interactions` or `features`.

    Returns:
        The suite's rules, in the order of the file.
    """
    return Suite(json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["expectations"])


def with_roles(suite: Suite, roles: Collection[str]) -> Suite:
    """Keep the rules whose role is one of `roles`."""
    return Suite([rule for rule in suite if rule["meta"]["role"] in roles])


def describe(rule: Rule) -> str:
    """Return a rule's name for looking it up in the suite: type and column."""
    column = rule["kwargs"].get("column")
    return f"{rule['type']}({column})" if column else str(rule["type"])


def sentence(rule: Rule, got: str, parameters: dict[str, Any], advice: str = "") -> str:
    """Return one sentence: the expected value, the value received and the next step.

    Args:
        rule: the rule that failed.
        got: the value received, in words.
        parameters: the run's values for `$PARAMETER` in the rule's kwargs and words.
        advice: the next step, if the value allows a better one than the rule's own.
    """
    meta = rule["meta"]
    expected = meta["expected"].format(**parameters)
    return f"{meta['field']}: expected {expected}, got {got}; {advice or meta['next']}"


def run(
    rules: Suite, frame: pd.DataFrame, parameters: dict[str, Any], detail: str = "BOOLEAN_ONLY"
) -> list[Any]:
    """Run rules as one suite of Great Expectations, silently and in memory.

    Args:
        rules: expectations, each (type, column) at most once.
        frame: the data to validate.
        parameters: values of the rules' `$PARAMETER`s.
        detail: result format; `BOOLEAN_ONLY` searches for no rows and takes a third of the time of
            `COMPLETE`.

    Returns:
        One validation result per rule, in order.
    """
    if not rules:
        return []
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # Without this configuration each context leaves a temporary folder for its own site.
    in_memory = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    quiet = DataContextConfig(
        store_backend_defaults=in_memory,
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=quiet)
    suite = gx.ExpectationSuite(name="suite", expectations=[dict(rule) for rule in rules])
    asset = context.data_sources.add_pandas("log").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    validated = batch.validate(suite, result_format=detail, expectation_parameters=parameters)
    by_rule = {
        (result.expectation_config.type, result.expectation_config.kwargs.get("column")): result
        for result in validated.results
    }
    return [by_rule[rule["type"], rule["kwargs"].get("column")] for rule in rules]


def raised(result: Any) -> bool:
    """Tell if an expectation raised an error instead of failing."""
    info = result.exception_info or {}
    nested = [value for value in info.values() if isinstance(value, dict)]
    return any(i.get("raised_exception") for i in (info, *nested))
