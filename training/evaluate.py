"""The protocol: split, train, choose on validation, open the test part once, for any log."""

import json
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from features.batch import Events, Examples, encode
from sensei.errors import InvalidInput
from training.candidates import Candidates, ModelProgress, train_candidates
from training.intervals import recommendation_intervals, success_intervals
from training.preparation import Prepared, prepare
from training.recipes import QUICK, Budget
from training.scores import (
    MODES,
    RecommendationScores,
    SuccessScores,
    score_recommendation,
    score_success,
)
from training.splits import Split, split_by_column, split_by_learner, split_by_time

COLUMN = "column:"
METADATA = "metadata."


@dataclass(frozen=True)
class Measured:
    """Scores of every model on the same rows; `success` is empty where no attempt is scored."""

    next_topic: dict[str, RecommendationScores]
    success: dict[str, SuccessScores]


@dataclass(frozen=True)
class Chosen:
    """Names of the best candidates on validation; `difficulty` is None where none was trained."""

    recommendation: str
    difficulty: str | None


@dataclass(frozen=True)
class Result:
    """What an evaluation found, ready for JSON.

    Attributes:
        next_topic: mode -> model -> hr_at_1, hr_at_3, hr_at_5, ndcg_at_5, mrr, n.
        success: model -> auc, accuracy, log_loss, brier, ece, n.
        data: rows, learners, topics, parts, the choice and its validation figures.
        intervals: 95 % intervals of learners resampled, and the chosen models' gains, paired.
    """

    next_topic: dict[str, dict[str, dict[str, float]]]
    success: dict[str, dict[str, float]]
    data: dict[str, Any]
    intervals: dict[str, Any]

    def to_json(self) -> str:
        """The result as JSON; what is undefined (an AUC of one side) is null."""
        return json.dumps(_plain(asdict(self)), indent=2, allow_nan=False)


def evaluate(
    frame: pd.DataFrame,
    split: str = "time",
    seed: int = 0,
    budget: Budget = QUICK,
    models: Collection[str] | None = None,
    progress: ModelProgress | None = None,
) -> Result:
    """Run the protocol on a frame of interactions.

    Args:
        frame: interactions in any row order.
        split: `time`, `learner`, `column:NAME` or `column:metadata.NAME`.
        seed: seed of training and resampling.
        budget: how much time it may take.
        models: names of those wanted; by default all that the budget allows.
        progress: called after each epoch with model name, epoch and metrics.

    Raises:
        InvalidInput: the split is unknown, or its column is missing or has no train or no test.
        NotEnoughData: the log is too small or too one-sided.
    """
    events = encode(frame)
    parts = split_events(events, split, frame)
    prepared = prepare(events, parts)
    candidates = train_candidates(prepared, seed, budget, models, progress)
    validated = measure(candidates, prepared, "validate")
    chosen = choose(candidates, validated)
    tested = measure(candidates, prepared, "test")
    return Result(
        next_topic=next_topic_table(tested),
        success=success_table(tested),
        data=_data(events, split, seed, prepared, chosen, validated, tested),
        intervals=intervals(tested, chosen, seed),
    )


def split_events(events: Events, split: str, frame: pd.DataFrame) -> Split:
    """Make the parts that `--split` names.

    Raises:
        InvalidInput: the split is unknown, or the frame lacks its column.
    """
    if split == "time":
        return split_by_time(events)
    if split == "learner":
        return split_by_learner(events)
    if not split.startswith(COLUMN):
        raise InvalidInput(
            f"split: expected time, learner, column:NAME or column:metadata.NAME, got {split!r}; "
            "choose one of them"
        )
    return split_by_column(events, _column(frame, split.removeprefix(COLUMN)))


def measure(candidates: Candidates, prepared: Prepared, part: str) -> Measured:
    """Score every candidate.

    Args:
        candidates: what was trained.
        prepared: the targets.
        part: `validate`, or `test` once the choice is made.
    """
    rows: Examples = getattr(prepared, part)
    next_topic = {
        name: score_recommendation(each.predict, rows)
        for name, each in candidates.recommendation.items()
    }
    success = {
        name: score_success(each.predict, getattr(prepared.attempts, part))
        for name, each in candidates.difficulty.items()
    }
    return Measured(next_topic, success)


def choose(candidates: Candidates, validated: Measured) -> Chosen:
    """The best on validation: NDCG@5 on new topics (on all where none is new), and log loss.

    Equal figures go to the candidate that was named first: counting models come before networks.
    """
    scores = {n: validated.next_topic[n] for n in candidates.recommendation}
    mode = "new" if next(iter(scores.values())).is_new.any() else "all"
    recommendation = max(scores, key=lambda n: scores[n].table(mode)["ndcg_at_5"])
    losses = {n: s.table()["log_loss"] for n, s in validated.success.items()}
    return Chosen(recommendation, min(losses, key=lambda n: losses[n]) if losses else None)


def next_topic_table(measured: Measured) -> dict[str, dict[str, dict[str, float]]]:
    """Mode -> model -> figures."""
    return {m: {n: s.table(m) for n, s in measured.next_topic.items()} for m in MODES}


def success_table(measured: Measured) -> dict[str, dict[str, float]]:
    """Model -> figures."""
    return {name: scores.table() for name, scores in measured.success.items()}


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    if name in frame.columns:
        return frame[name].to_numpy(object)
    if name.startswith(METADATA) and "metadata" in frame.columns:
        key = name.removeprefix(METADATA)
        codes, texts = pd.factorize(frame["metadata"])
        found = np.array([orjson.loads(text).get(key) for text in texts] + [None], dtype=object)
        return found[codes]
    raise InvalidInput(
        f"split: expected a column of the file or a key of its metadata, got {name!r}; "
        f"the file has {', '.join(map(str, frame.columns))}"
    )


def _data(
    events: Events,
    split: str,
    seed: int,
    prepared: Prepared,
    chosen: Chosen,
    validated: Measured,
    tested: Measured,
) -> dict[str, Any]:
    test = prepared.test
    best = tested.next_topic[chosen.recommendation]
    slices = {"no_history": test.previous == 0, "unseen_topic": test.target == 0}
    return {
        "rows": len(events.time),
        "learners": len(events.user_ids),
        "topics": len(events.topic_ids),
        "topics_with_slot": prepared.topics,
        "split": split,
        "seed": seed,
        "targets": prepared.counts,
        "attempts": prepared.attempts.counts if prepared.attempts else {},
        "selected": asdict(chosen),
        "no_success": prepared.no_success,
        "slices": {
            name: {mode: best.table(mode, rows) for mode in MODES} for name, rows in slices.items()
        },
        "validation": {
            "next_topic": next_topic_table(validated),
            "success": success_table(validated),
        },
    }


def intervals(tested: Measured, chosen: Chosen, seed: int) -> dict[str, Any]:
    """95 % intervals of every model's figures, and of what the chosen ones gain over the others."""
    success = {}
    if chosen.difficulty and tested.success:
        success = success_intervals(tested.success, chosen.difficulty, seed)
    return {
        "next_topic": recommendation_intervals(tested.next_topic, chosen.recommendation, seed),
        "success": success,
    }


def _plain(value: Any) -> Any:
    """The same structure with NaN as null, for JSON has none."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value
