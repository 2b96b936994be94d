"""Data Docs: Great Expectations' validation page, offline and without learners' data.

Great Expectations' own site loads stylesheets and scripts from other hosts and shows unexpected
values. Here its renderer fills our template. The page is self-contained and its results hold
counts only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensei.pruning import keep_newest

COUNTS = frozenset(
    {
        "element_count",
        "missing_count",
        "missing_percent",
        "observed_value",
        "unexpected_count",
        "unexpected_percent",
        "unexpected_percent_nonmissing",
        "unexpected_percent_total",
    }
)
"""Result fields that a page keeps: counts and shares only, no values and no rows."""


@dataclass(frozen=True)
class DataDocsPage:
    """Target file of one validation's report, passed or failed.

    Attributes:
        name: the suite's name; the page is `NAME-<time of writing>.html`.
        as_of: moment up to which the log was read.
        folder: folder of the pages; created if it is absent.
        kept: number of pages of this suite to keep, the new one included.
    """

    name: str
    as_of: datetime
    folder: Path
    kept: int

    def write(self, results: Sequence[Any], notes: Sequence[str]) -> Path:
        """Write the page and remove the oldest pages of its suite.

        Args:
            results: validation results of Great Expectations; everything but counts is removed from
                them.
            notes: warnings and counts as sentences, shown first; they must name no learner.

        Returns:
            The page's path.
        """
        for result in results:
            _keep_counts(result)
        self.folder.mkdir(parents=True, exist_ok=True)
        page = self.folder / f"{self.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.html"
        page.write_text(_render(results, self.name, notes, self.as_of), "utf-8")
        keep_newest(self.folder.glob(f"{self.name}-*.html"), self.kept)
        return page


def _render(results: Sequence[Any], name: str, notes: Sequence[str], as_of: datetime) -> str:
    """Render results into one self-contained page."""
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    passed = sum(bool(r.success) for r in results)
    document = ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=passed == len(results),
            suite_name=name,
            results=list(results),
            statistics={
                "evaluated_expectations": len(results),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(results) - passed,
                "success_percent": 100 * passed / max(len(results), 1),
            },
            meta={
                "run_id": {"run_name": None, "run_time": as_of.isoformat()},
                "batch_spec": {"data_asset_name": name},
            },
        )
    )
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
    page = {
        **document.to_json_dict(),
        "page_title": f"Validation of {name} up to {as_of:%Y-%m-%d %H:%M} UTC",
        "notes": list(notes),
    }
    return str(view._get_template("data_docs_page.j2").render(page))


def _keep_counts(result: Any) -> None:
    """Remove values, rows and tracebacks from a result in place."""
    counts = {k: v for k, v in (result.result or {}).items() if k in COUNTS}
    if result.success and not counts and "column_values" in result.expectation_config.type:
        counts = {"unexpected_count": 0, "unexpected_percent": 0.0}  # no details: zero failures
    result.result = counts
    result.exception_info = {
        "raised_exception": False,
        "exception_message": None,
        "exception_traceback": None,
    }
