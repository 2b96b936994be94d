"""Figures of outcomes worked by hand."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.measures import FIGURES, by_day, lift, summarise
from monitoring.outcomes import MEASURED, SOURCE


def outcomes(*rows: dict[str, Any]) -> pd.DataFrame:
    """Rows as `read_outcomes` gives them; what is not named is unknown."""
    defaults = {
        **dict.fromkeys((*SOURCE, *MEASURED)),
        "user_id": "ann",
        "kind": "recommendation",
        "model": "sequence",
        "version": "3",
        "arm": "champion",
        "day": "2026-01-05",
        "shown": (),
        "open": False,
        "catalogue": 8,
    }
    frame = pd.DataFrame([defaults | row for row in rows], columns=list(defaults))
    return frame.astype(dict.fromkeys(MEASURED, float))


def recommendations_of_day(
    day: int, arm: str, *accepted: int, users: str = ""
) -> list[dict[str, Any]]:
    """Recommendations of a day, one a learner, accepted or not."""
    return [
        {
            "user_id": f"{arm}{number}{users}",
            "arm": arm,
            "day": f"2026-01-{day:02d}",
            "accepted": value,
            "shown": (1,),
        }
        for number, value in enumerate(accepted)
    ]


def test_figures_are_means_over_known_values() -> None:
    figures = summarise(
        outcomes(
            {"accepted": 1, "hit": 1, "told": 1, "rating": 5, "helpful": 1, "shown": (1, 2)},
            {"accepted": 0, "told": 0, "shown": (2, 3), "user_id": "bob"},
            {"open": True, "shown": (4,), "user_id": "bob", "fallback": "no_model"},
            {"kind": "difficulty", "probability": 0.9, "passed": 0},
            {"kind": "difficulty", "probability": 0.4, "passed": 0, "user_id": "bob"},
        ),
        seed=0,
    )
    value = {name: row["value"] for name, row in figures.items()}
    assert value == pytest.approx(
        {
            "recommendation_acceptance": 1 / 2,
            "hit_rate_at_k": 1,
            "told_acceptance": 1 / 2,
            "helpful_share": 1,
            "user_satisfaction": 5,
            "accuracy": 1 / 2,
            "log_loss": -(math.log(0.1) + math.log(0.6)) / 2,
            "fallback_share": 1 / 5,
            "calibration_error": (0.9 + 0.4) / 2,
            "catalogue_coverage": 4 / 8,
        }
    )
    assert {name: (row["n"], row["learners"]) for name, row in figures.items()} == {
        **dict.fromkeys(value, (2, 2)),
        **dict.fromkeys(("hit_rate_at_k", "helpful_share", "user_satisfaction"), (1, 1)),
        "fallback_share": (5, 2),
        "catalogue_coverage": (3, 2),
    }


def test_without_outcomes_every_figure_is_null() -> None:
    figures = summarise(outcomes(), seed=0)
    assert set(figures) == set(FIGURES)
    empty_figure = {"value": None, "low": None, "high": None, "n": 0, "learners": 0}
    assert all(row == empty_figure for row in figures.values())
    assert by_day(outcomes()) == []
    assert lift(outcomes(), seed=0) is None


def test_no_figure_is_ever_nan() -> None:
    frame = outcomes({"accepted": 1, "shown": (1,)}, {"kind": "difficulty", "arm": "control"})
    json.dumps([summarise(frame, 0), by_day(frame)], allow_nan=False)


def test_an_interval_resamples_learners_not_answers() -> None:
    rng = np.random.default_rng(0)
    repeated_answers = [
        {"user_id": f"{learner}", "accepted": float(taste)}
        for learner, taste in enumerate(rng.random(50) < 0.5)
        for _ in range(20)
    ]
    row = summarise(outcomes(*repeated_answers), seed=0)["recommendation_acceptance"]
    half = 1.96 * math.sqrt(0.25 / 50)  # as of fifty answers, not of a thousand
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.15)
    assert (row["n"], row["learners"]) == (1000, 50)


def test_one_learner_gives_no_interval() -> None:
    row = summarise(outcomes({"accepted": 1}, {"accepted": 0}), seed=0)["recommendation_acceptance"]
    assert (row["value"], row["low"], row["high"]) == (0.5, None, None)


def test_each_day_arm_and_version_has_a_row() -> None:
    frame = outcomes(
        *recommendations_of_day(5, "champion", 1, 0),
        *recommendations_of_day(6, "champion", 1),
        *recommendations_of_day(5, "control", 0),
        {"kind": "difficulty", "probability": 0.9, "passed": 1},
        {"version": None, "model": "most_popular", "fallback": "unknown_learner"},
    )
    answers_by_row = {
        (row["day"][-2:], row["kind"], row["model"], row["version"], row["arm"]): row["answers"]
        for row in by_day(frame)
    }
    assert answers_by_row == {
        ("05", "recommendation", "sequence", "3", "champion"): 2,
        ("06", "recommendation", "sequence", "3", "champion"): 1,
        ("05", "recommendation", "sequence", "3", "control"): 1,
        ("05", "difficulty", "sequence", "3", "champion"): 1,
        ("05", "recommendation", "most_popular", None, "champion"): 1,
    }
    (difficulty_row,) = (row for row in by_day(frame) if row["kind"] == "difficulty")
    assert difficulty_row["log_loss"]["n"] == 1
    assert "recommendation_acceptance" not in difficulty_row  # nothing was counted


def test_lift_compares_the_same_days_only() -> None:
    frame = outcomes(
        *recommendations_of_day(5, "champion", 1, 1, 1, 0),  # 3/4 - 1/2, weight 4 * 2 / 6
        *recommendations_of_day(5, "control", 1, 0),
        *recommendations_of_day(6, "champion", 1, 0),  # 1/2 - 0, weight 2 * 2 / 4
        *recommendations_of_day(6, "control", 0, 0),
        *recommendations_of_day(7, "champion", 0, 0, 0, 0, 0),  # no control: no weight
    )
    estimate = lift(frame, seed=0)
    assert estimate is not None
    assert estimate.value == pytest.approx((1 / 4 * 4 / 3 + 1 / 2 * 1) / (4 / 3 + 1))
    assert (estimate.n, estimate.learners) == (10, 6)
    assert estimate.low is not None
    assert estimate.low < estimate.value < estimate.high  # type: ignore[operator]


def test_no_day_in_common_is_no_lift() -> None:
    frame = outcomes(
        *recommendations_of_day(5, "champion", 1), *recommendations_of_day(6, "control", 0)
    )
    assert lift(frame, seed=0) is None


def test_the_order_of_rows_changes_nothing() -> None:
    frame = outcomes(
        *recommendations_of_day(5, "champion", 1, 0, 1),
        *recommendations_of_day(5, "control", 0, 1, 0),
    )
    shuffled = frame.sample(frac=1.0, random_state=1)
    assert lift(shuffled, 0).value == lift(frame, 0).value  # type: ignore[union-attr]
    before, after = summarise(frame, 0), summarise(shuffled, 0)
    assert {n: (r["value"], r["n"]) for n, r in after.items()} == {
        n: (r["value"], r["n"]) for n, r in before.items()
    }
