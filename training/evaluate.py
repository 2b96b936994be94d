"""The protocol: split, train, choose on validation, open the test part once, for any log."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from features.batch import Events, Examples, encode
from sensei import metrics
from sensei.errors import InvalidInput
from training.baselines import most_frequent_scores, popularity
from training.candidates import Candidates, ModelProgress, Prepared, prepare, train_candidates
from training.fit import EPOCHS
from training.scores import (
    RecommendationScores,
    SuccessScores,
    recommendation_predictor,
    score_recommendation,
    score_success,
    success_predictor,
)
from training.splits import Split, split_by_column, split_by_learner, split_by_time

MODES = ("all", "new")
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
    epochs: int = EPOCHS,
    progress: ModelProgress | None = None,
) -> Result:
    """Run the protocol on a frame of interactions.

    Args:
        frame: interactions in any row order.
        split: `time`, `learner`, `column:NAME` or `column:metadata.NAME`.
        seed: seed of training and resampling.
        epochs: at most so many for each network.
        progress: called after each epoch with model name, epoch and metrics.

    Raises:
        InvalidInput: the split is unknown, or its column is missing or has no train or no test.
        NotEnoughData: the log is too small or too one-sided.
    """
    events = encode(frame)
    parts = split_events(events, split, frame)
    prepared = prepare(events, parts)
    candidates = train_candidates(prepared, seed, epochs, progress)
    validated = measure(candidates, prepared, prepared.validate)
    chosen = choose(candidates, validated)
    tested = measure(candidates, prepared, prepared.test)
    return Result(
        next_topic=next_topic_table(tested),
        success=success_table(tested),
        data=_data(events, split, seed, prepared, chosen, validated, tested),
        intervals=_intervals(tested, chosen, seed),
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


def measure(candidates: Candidates, prepared: Prepared, rows: Examples) -> Measured:
    """Score every candidate, and each learner's most frequent topics beside them, on the rows."""
    topics = prepared.topics
    predictors = {
        n: recommendation_predictor(c.model) for n, c in candidates.recommendation.items()
    }
    popular = popularity(prepared.train.target, topics)
    predictors["most_frequent"] = lambda chunk: most_frequent_scores(chunk, popular)
    next_topic = {n: score_recommendation(p, rows, topics) for n, p in predictors.items()}
    success = {}
    if (rows.passed >= 0).any():
        success = {
            n: score_success(success_predictor(c.model), rows)
            for n, c in candidates.difficulty.items()
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
    counts = {"train": prepared.train, "validate": prepared.validate, "test": test}
    return {
        "rows": len(events.time),
        "learners": len(events.user_ids),
        "topics": len(events.topic_ids),
        "topics_with_slot": prepared.topics,
        "split": split,
        "seed": seed,
        "targets": {name: len(rows) for name, rows in counts.items()},
        "attempts": {name: int((rows.passed >= 0).sum()) for name, rows in counts.items()},
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


def _intervals(tested: Measured, chosen: Chosen, seed: int) -> dict[str, Any]:
    """Intervals of the leading figures, and of the chosen model's gain over each other one."""
    out: dict[str, Any] = {"next_topic": {}, "success": {}, "gain": {"new": {}, "log_loss": {}}}
    for mode in MODES:
        out["next_topic"][mode] = {
            name: {
                "hr_at_1": _interval(metrics.hit_rate_at_k(rank, 1), learner, seed),
                "ndcg_at_5": _interval(metrics.ndcg_at_k(rank, 5), learner, seed),
            }
            for name, (rank, learner) in ((n, s.of(mode)) for n, s in tested.next_topic.items())
        }
    for name, s in tested.success.items():
        area = metrics.auc_bootstrap(s.passed, s.probability, s.learner, seed)
        loss = metrics.log_loss(s.passed, s.probability)
        out["success"][name] = {"auc": asdict(area), "log_loss": _interval(loss, s.learner, seed)}
    gain, loss_of = _gain_functions(tested)
    for name in tested.next_topic.keys() - {chosen.recommendation}:
        out["gain"]["new"][name] = asdict(gain(chosen.recommendation, name, seed))
    if chosen.difficulty:
        for name in tested.success.keys() - {chosen.difficulty}:
            out["gain"]["log_loss"][name] = asdict(loss_of(chosen.difficulty, name, seed))
    return out


Paired = Callable[[str, str, int], metrics.Interval]


def _gain_functions(tested: Measured) -> tuple[Paired, Paired]:
    """Paired differences, above 0 where the first is better: NDCG@5 on NEW, log loss saved."""

    def ndcg(first: str, second: str, seed: int) -> metrics.Interval:
        (a, learner), (b, _) = (tested.next_topic[n].of("new") for n in (first, second))
        return metrics.paired_learner_bootstrap(
            metrics.ndcg_at_k(a, 5), metrics.ndcg_at_k(b, 5), learner, seed
        )

    def log_loss(first: str, second: str, seed: int) -> metrics.Interval:
        a, b = tested.success[first], tested.success[second]
        return metrics.paired_learner_bootstrap(
            metrics.log_loss(b.passed, b.probability),
            metrics.log_loss(a.passed, a.probability),
            a.learner,
            seed,
        )

    return ndcg, log_loss


def _interval(
    value: NDArray[np.float64], learner: NDArray[np.int32], seed: int
) -> dict[str, float]:
    return asdict(metrics.learner_bootstrap(value, learner, seed))


def _plain(value: Any) -> Any:
    """The same structure with NaN as null, for JSON has none."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value
