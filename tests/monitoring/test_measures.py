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
    usual = {
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
    frame = pd.DataFrame([usual | row for row in rows], columns=list(usual))
    return frame.astype(dict.fromkeys(MEASURED, float))


def taken(day: int, arm: str, *accepted: int, users: str = "") -> list[dict[str, Any]]:
    """Recommendations of a day, one a learner, accepted or not."""
    return [
        {
            "user_id": f"{arm}{place}{users}",
            "arm": arm,
            "day": f"2026-01-{day:02d}",
            "accepted": each,
            "shown": (1,),
        }
        for place, each in enumerate(accepted)
    ]


def test_figures_are_means_over_what_is_known() -> None:
    found = summarise(
        outcomes(
            {"accepted": 1, "hit": 1, "told": 1, "rating": 5, "helpful": 1, "shown": (1, 2)},
            {"accepted": 0, "told": 0, "shown": (2, 3), "user_id": "bob"},
            {"open": True, "shown": (4,), "user_id": "bob", "fallback": "no_model"},
            {"kind": "difficulty", "probability": 0.9, "passed": 0},
            {"kind": "difficulty", "probability": 0.4, "passed": 0, "user_id": "bob"},
        ),
        seed=0,
    )
    value = {name: row["value"] for name, row in found.items()}
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
    assert {name: (row["n"], row["learners"]) for name, row in found.items()} == {
        **dict.fromkeys(value, (2, 2)),
        **dict.fromkeys(("hit_rate_at_k", "helpful_share", "user_satisfaction"), (1, 1)),
        "fallback_share": (5, 2),
        "catalogue_coverage": (3, 2),
    }


def test_of_nothing_every_figure_is_null_and_counts_none() -> None:
    found = summarise(outcomes(), seed=0)
    assert set(found) == set(FIGURES)
    nothing = {"value": None, "low": None, "high": None, "n": 0, "learners": 0}
    assert all(row == nothing for row in found.values())
    assert by_day(outcomes()) == []
    assert lift(outcomes(), seed=0) is None


def test_no_figure_is_ever_nan() -> None:
    frame = outcomes({"accepted": 1, "shown": (1,)}, {"kind": "difficulty", "arm": "control"})
    json.dumps([summarise(frame, 0), by_day(frame)], allow_nan=False)


def test_an_interval_comes_from_learners_not_from_answers() -> None:
    rng = np.random.default_rng(0)
    often = [
        {"user_id": f"{learner}", "accepted": float(taste)}
        for learner, taste in enumerate(rng.random(50) < 0.5)
        for _ in range(20)
    ]
    row = summarise(outcomes(*often), seed=0)["recommendation_acceptance"]
    half = 1.96 * math.sqrt(0.25 / 50)  # as of fifty answers, not of a thousand
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.15)
    assert (row["n"], row["learners"]) == (1000, 50)


def test_one_learner_gives_no_interval() -> None:
    row = summarise(outcomes({"accepted": 1}, {"accepted": 0}), seed=0)["recommendation_acceptance"]
    assert (row["value"], row["low"], row["high"]) == (0.5, None, None)


def test_each_day_arm_and_version_has_a_row() -> None:
    frame = outcomes(
        *taken(5, "champion", 1, 0),
        *taken(6, "champion", 1),
        *taken(5, "control", 0),
        {"kind": "difficulty", "probability": 0.9, "passed": 1},
        {"version": None, "model": "most_popular", "fallback": "unknown_learner"},
    )
    found = {
        (row["day"][-2:], row["kind"], row["model"], row["version"], row["arm"]): row["answers"]
        for row in by_day(frame)
    }
    assert found == {
        ("05", "recommendation", "sequence", "3", "champion"): 2,
        ("06", "recommendation", "sequence", "3", "champion"): 1,
        ("05", "recommendation", "sequence", "3", "control"): 1,
        ("05", "difficulty", "sequence", "3", "champion"): 1,
        ("05", "recommendation", "most_popular", None, "champion"): 1,
    }
    (judged,) = (row for row in by_day(frame) if row["kind"] == "difficulty")
    assert judged["log_loss"]["n"] == 1
    assert "recommendation_acceptance" not in judged  # nothing was counted


def test_lift_compares_the_same_days_only() -> None:
    frame = outcomes(
        *taken(5, "champion", 1, 1, 1, 0),  # 3/4 - 1/2, weight 4 * 2 / 6
        *taken(5, "control", 1, 0),
        *taken(6, "champion", 1, 0),  # 1/2 - 0, weight 2 * 2 / 4
        *taken(6, "control", 0, 0),
        *taken(7, "champion", 0, 0, 0, 0, 0),  # no control: no weight
    )
    found = lift(frame, seed=0)
    assert found is not None
    assert found.value == pytest.approx((1 / 4 * 4 / 3 + 1 / 2 * 1) / (4 / 3 + 1))
    assert (found.n, found.learners) == (10, 6)
    assert found.low is not None
    assert found.low < found.value < found.high  # type: ignore[operator]


def test_no_day_in_common_is_no_lift() -> None:
    frame = outcomes(*taken(5, "champion", 1), *taken(6, "control", 0))
    assert lift(frame, seed=0) is None


def test_the_order_of_rows_changes_nothing() -> None:
    frame = outcomes(*taken(5, "champion", 1, 0, 1), *taken(5, "control", 0, 1, 0))
    shuffled = frame.sample(frac=1.0, random_state=1)
    assert lift(shuffled, 0).value == lift(frame, 0).value  # type: ignore[union-attr]
    before, after = summarise(frame, 0), summarise(shuffled, 0)
    assert {n: (r["value"], r["n"]) for n, r in after.items()} == {
        n: (r["value"], r["n"]) for n, r in before.items()
    }
