"""Suggested difficulty of the next quiz, from the expected success at each level."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from features.learner_state import ROW_WIDTH, T_ATTEMPTS, T_LAST_ATTEMPT, T_PASSES, Numbers
from sensei.contracts import DIFFICULTY_INPUTS, LEVELS, SUGGESTED_SUCCESS, place
from serving.engine.request_context import NO_MODEL, UNKNOWN_TOPIC, EngineResult, RequestContext

PROFICIENCY, TREND = (
    place(DIFFICULTY_INPUTS, name) for name in ("proficiency_logit", "score_trend")
)

Output = TypeVar("Output")

SHARPNESS = 0.05
"""Scale of the decay in `level_probabilities`, as a distance in expected success.

A level at this distance from the suggested range weighs 1/e of a level inside it."""


def distances(success: Sequence[float]) -> list[float]:
    """Return the distance of each expected success from `SUGGESTED_SUCCESS`; 0 inside the range."""
    low, high = SUGGESTED_SUCCESS
    return [max(low - share, share - high, 0.0) for share in success]


def suggest_levels(success: Sequence[Sequence[float]]) -> list[int]:
    """Return the level of difficulty to test a learner at, for each of n topics.

    Args:
        success: (n, 3) expected success at easy, medium and hard, each in [0, 1].

    Returns:
        The index of the hardest level whose expected success lies in `SUGGESTED_SUCCESS`. If none
        does, the nearest level to that range. Of equally near levels, the hardest that is not
        too hard, else the easiest.
    """
    low, high = SUGGESTED_SUCCESS
    levels = []
    for shares in success:
        least, suggested_level = math.inf, 0
        for level, share in enumerate(shares):
            distance = max(low - share, share - high, 0.0)
            if distance < least or (distance == least and share >= low):
                least, suggested_level = distance, level
        levels.append(suggested_level)
    return levels


def suggest_level(success: Sequence[float]) -> int:
    """Return the level for one topic; see `suggest_levels`."""
    return suggest_levels([success])[0]


def level_probabilities(success: Sequence[float]) -> list[float]:
    """Return the suitability of each level for the next quiz, by exp(-distance / `SHARPNESS`).

    The values sum to 1. They are used if the model has no output for them; the reference has one.
    """
    weights = [math.exp(-distance / SHARPNESS) for distance in distances(success)]
    total = sum(weights)
    return [weight / total for weight in weights]


def at_levels(outputs: Mapping[str, Output]) -> Output:
    """Return the expected success at each level from a model's outputs, independent of the item."""
    return outputs["levels"] if "levels" in outputs else outputs["success"]


def by_level(values: Sequence[float]) -> dict[str, float]:
    """Return the values by level name."""
    return dict(zip(LEVELS, map(float, values), strict=True))


def evidence(inputs: Sequence[float], row: Numbers | None, now_us: int) -> dict[str, Any]:
    """Return the learner's record on the topic.

    Args:
        inputs: (4,) inputs of the difficulty model.
        row: numbers of the topic; None if the learner never touched the topic.
        now_us: microseconds since 1970.

    Returns:
        `attempts`, `passes`, `proficiency` in (0, 1), `trend` in [-1, 1], and
        `seconds_since_last_attempt`, which is None without an attempt.
    """
    numbers = row or [0.0] * ROW_WIDTH
    attempts = int(numbers[T_ATTEMPTS])
    since = max(0.0, (now_us - numbers[T_LAST_ATTEMPT]) / 1e6) if attempts else None
    return {
        "attempts": attempts,
        "passes": int(numbers[T_PASSES]),
        "proficiency": 1 / (1 + math.exp(-float(inputs[PROFICIENCY]))),
        "trend": float(inputs[TREND]),
        "seconds_since_last_attempt": since,
    }


def suggested(context: RequestContext, topic_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Suggest a level for each topic, with the expected success at that level now.

    Returns:
        `difficulty` and `expected_success` of each topic; both None without a difficulty model.
    """
    model = context.able("difficulty")
    if model is None or not topic_ids:
        return [{"difficulty": None, "expected_success": None} for _ in topic_ids]
    success = model.success(context.learner, topic_ids, context.now_us).tolist()
    return [
        {"difficulty": LEVELS[level], "expected_success": shares[level]}
        for level, shares in zip(suggest_levels(success), success, strict=True)
    ]


def suggest(context: RequestContext, topic_id: int) -> EngineResult:
    """Suggest the level of the next quiz on a topic; the easiest without a difficulty model.

    The replacement answers for a replaced topic. A topic outside the catalogue is unknown, even if
    the model was trained on it.
    """
    topic_id = context.catalogue.current(topic_id)
    model = context.able("difficulty")
    topic = {"topic_id": topic_id, "title": context.catalogue.title(topic_id)}
    if model is None:
        content: dict[str, Any] = {
            "difficulty": LEVELS[0],  # no estimate: the level most likely to be passed
            "success_probability": None,
            "levels": dict.fromkeys(LEVELS),
            "level_probabilities": dict.fromkeys(LEVELS),
            "evidence": None,
            **{"model": "easiest_first", "version": None, "fallback": NO_MODEL},
        }
        return EngineResult(topic | content, LEVELS[0], topic_id)
    inputs = model.success_inputs(context.learner, [topic_id], context.now_us)
    outputs = {name: values[0].tolist() for name, values in model.difficulty(inputs).items()}
    success = at_levels(outputs)
    level = suggest_level(success)
    row = context.learner.history.topics.get(topic_id)
    slot = model.corpora["difficulty"].statistics.slot_of(topic_id)
    is_known = slot and context.catalogue.has(topic_id)
    content = {
        "difficulty": LEVELS[level],
        "success_probability": success[level],
        "levels": by_level(success),
        "level_probabilities": by_level(outputs.get("difficulty") or level_probabilities(success)),
        "evidence": evidence(inputs["inputs"][0].tolist(), row, context.now_us),
        **model.source("difficulty"),
        "fallback": context.unknown or (None if is_known else UNKNOWN_TOPIC),
    }
    shown = {"difficulty": LEVELS[level], "levels": success}
    return EngineResult(topic | content, shown, topic_id, inputs={"inputs": inputs["inputs"][0]})
