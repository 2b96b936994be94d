"""Learning tasks of the networks: next-topic prediction and success prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from features.batch import Examples
from features.input_indices import LAST, NEW, PRIORS
from features.inputs import logit
from sensei import metrics
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    RECOMMENDATION_INPUTS,
    SUCCESS_INPUTS,
    TOPIC_INPUTS,
    place,
)
from sensei.model_name import ModelName
from training.architectures import columns
from training.data.batching import Batch, BatchFeed
from training.data.dataset import Splits
from training.fitting.train_loop import LearningTask, Lesson
from training.scores import Answers, level_taken, score_difficulty, score_recommendation

NEW_SHARE = 0.1
"""Share of topics masked as new, in the batches that have masked topics."""

NEW_BATCHES = 0.5
"""Share of batches in which some topics are masked as new."""

MASKED_WEIGHT = 0.3
"""Weight of the loss with the last topic masked, on rows whose target is another topic."""

TOPIC_HIDDEN = 0.1
"""Share of attempts whose topic is masked as unknown: without its statistics."""

UNKNOWN = -1  # id of no topic

NEVER = -1e9  # score of a topic that cannot be the target

PROFICIENCY = place(DIFFICULTY_INPUTS, "proficiency_logit")
TOPIC_LOGIT, TOPIC_ATTEMPTS = (
    place(SUCCESS_INPUTS, name) for name in ("topic_logit", "log_topic_attempts")
)

AT_LEVELS = ("success", "levels")
"""Answers with one column per level."""

LAST_TOPIC = place(RECOMMENDATION_INPUTS, "last_topic_1")

_IDS = columns(RECOMMENDATION_INPUTS, "topic slot")


def next_topic(parts: Splits) -> LearningTask:
    """Build the task of next-topic prediction, validated by NDCG@5 where the topic changes.

    The loss leaves out topics without a training target: that they never occurred says nothing
    about them. Some of the others are masked as new. So the network learns to score later topics
    from their known inputs.

    Source: Volkovs et al. 2017 (NIPS, DropoutNet).
    """
    validate = _with_slot(parts.validate, parts.topics)
    width = parts.statistics.width
    trained = np.zeros(width, bool)
    trained[: parts.topics] = parts.learned > 0

    nothing, some = np.zeros(1, np.int64), np.ones(1, np.int64)
    after_new = parts.statistics.continuations.log_ratios(nothing, nothing, some)

    def lesson(rows: Examples) -> Lesson:
        return BatchFeed(rows, ModelName.RECOMMENDATION), {"target": rows.target - 1}

    def hide(batch: Batch, rng: np.random.Generator) -> None:
        if rng.random() < NEW_BATCHES:
            hidden = np.append(False, rng.random(width) < NEW_SHARE)
            _show_as_new(batch, hidden, after_new)

    return LearningTask(
        train=parts.training.map(lesson),
        loss=_ranking_loss(trained),
        judge=lambda answers: _missed_gain(answers, validate),
        validate=BatchFeed(validate, ModelName.RECOMMENDATION),
        hide=hide,
    )


def success(attempts: Splits) -> LearningTask:
    """Build the task of success prediction, validated by the mean log loss of three answers.

    The outcome at the two other levels is unknown, so only the level taken enters the loss. The
    three answers are: with the item known, with the level alone, and with neither.
    """
    usual = logit(attempts.statistics.pass_rate(UNKNOWN))

    def lesson(rows: Examples) -> Lesson:
        level, passed = level_taken(rows).astype(np.int32), rows.passed.astype(np.float32)
        return BatchFeed(rows, ModelName.DIFFICULTY), {"level": level, "passed": passed}

    def hide(batch: Batch, rng: np.random.Generator) -> None:
        unknown = rng.random(len(batch["item"])) < TOPIC_HIDDEN
        lacking = usual - batch["free"][unknown, TOPIC_LOGIT]
        batch["inputs"] = batch["inputs"].copy()
        batch["inputs"][unknown, PROFICIENCY] += lacking
        batch["free"][unknown, TOPIC_LOGIT] = usual
        batch["free"][unknown, TOPIC_ATTEMPTS] = 0.0
        if "topic" in batch:
            batch["topic"] = batch["topic"] * ~unknown[:, None]
        batch["item"][unknown] = 0.0

    return LearningTask(
        train=attempts.training.map(lesson),
        loss=_success_loss,
        judge=lambda answers: _loss(answers, attempts.validate),
        validate=BatchFeed(attempts.validate, ModelName.DIFFICULTY),
        hide=hide,
    )


def _with_slot(rows: Examples, topics: int) -> Examples:
    return rows.take((rows.target > 0) & (rows.target <= topics))


def _show_as_new(
    batch: Batch,
    hidden: np.ndarray[Any, np.dtype[np.bool_]],
    after_new: Sequence[np.ndarray[Any, np.dtype[np.float32]]],
) -> None:
    """Mask some topics as new everywhere in a batch, by removing what was learned of them.

    Args:
        batch: changed in place.
        hidden: (width + 1,) bool by slot.
        after_new: (1, width) per prior: its values if the last topic has no counts.
    """
    rows = len(batch["topics"])
    topics = batch["topics"].reshape(rows, len(hidden) - 1, len(TOPIC_INPUTS))
    topics[:, hidden[1:], NEW] = np.maximum(topics[:, hidden[1:], NEW], 1.0)  # keep 2 (unused)
    inputs = batch["inputs"].copy()
    from_new = hidden[inputs[:, LAST_TOPIC].astype(np.int64)]
    for column, usual in zip(PRIORS, after_new, strict=True):
        topics[from_new, :, column] = usual
        topics[:, hidden[1:], column] = 0.0
    inputs[:, _IDS] *= ~hidden[inputs[:, _IDS].astype(np.int64)]
    batch["inputs"] = inputs
    if "events" in batch:
        batch["events"][..., 0] *= ~hidden[batch["events"][..., 0].astype(np.int64)]


def _ranking_loss(trained: np.ndarray[Any, np.dtype[np.bool_]]) -> Any:
    """Return the loss: cross-entropy over all topics, plus a weighted one without the last one."""
    possible = np.where(trained, 0.0, NEVER).astype(np.float32)
    width = len(trained)

    def loss(scores: dict[str, Any], batch: dict[str, Any]) -> Any:
        import tensorflow as tf

        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
        score = scores["probability"] + possible
        last = tf.reshape(batch["topics"], (-1, width, len(TOPIC_INPUTS)))[:, :, LAST]
        is_new = 1.0 - tf.gather(last, batch["target"], batch_dims=1)
        others = cross_entropy(batch["target"], score + NEVER * last * is_new[:, None])
        return cross_entropy(batch["target"], score) + MASKED_WEIGHT * is_new * others

    return loss


def _success_loss(scores: dict[str, Any], batch: dict[str, Any]) -> Any:
    import tensorflow as tf

    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits
    answers = [tf.gather(scores[name], batch["level"], batch_dims=1) for name in AT_LEVELS]
    answers.append(scores["overall"][:, 0])
    return tf.add_n([cross_entropy(batch["passed"], answer) for answer in answers])


def _missed_gain(answers: Answers, rows: Examples) -> float:
    """Return 1 - NDCG@5 where the topic changes; on all targets if it never does."""
    scores = score_recommendation(lambda _: answers, rows)
    mode = "new" if scores.is_new.any() else "all"
    return 1.0 - scores.table(mode)["ndcg_at_5"]


def _loss(answers: Answers, rows: Examples) -> float:
    """Return the mean log loss over three answers: item known, level alone, neither known."""
    scores = score_difficulty(lambda _: answers, rows)
    answers_of_success = (scores.probability, scores.any_item, scores.overall)
    return float(
        np.mean(
            [metrics.log_loss(scores.passed, probability) for probability in answers_of_success]
        )
    )
