import json
from collections.abc import Callable

import pandas as pd

from monitoring.monitor import SHOWN, figures

Given = Callable[..., None]
HOUR = 3_600_000_000


def test_figures_of_a_window_fit_json_and_stand_for_what_is_known(
    answered: Given, did: Given, outcomes: Callable[..., pd.DataFrame]
) -> None:
    for learner in ("ann", "bob"):
        answered(learner, 0, [12, 13])
        answered(f"{learner} of control", 0, [13], arm="control", version=None)
    did("ann", 5, 12)
    found = figures(outcomes().reset_index(), 0, HOUR, seed=0)
    found = json.loads(json.dumps(found, allow_nan=False))
    assert found["window"] == {
        "start": "1970-01-01T00:00:00+00:00",
        "end": "1970-01-01T01:00:00+00:00",
    }
    assert found["recommendation_acceptance"] == 1 / 4
    assert found["lift"]["value"] == 1 / 2
    assert found["lift"]["n"] == 4
    assert found["accuracy"] is None
    assert {row["arm"] for row in found["measures"]} == {"champion", "control"}


def test_without_an_answer_every_figure_is_null(outcomes: Callable[..., pd.DataFrame]) -> None:
    found = figures(outcomes().reset_index(), 0, HOUR, seed=0)
    assert all(found[name] is None for name in SHOWN)
    assert (found["lift"], found["measures"]) == (None, [])
