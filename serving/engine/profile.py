"""Profile of one learner, for a person."""

from typing import Any

from features.learner_state import ATTEMPTS, DAYS, EVENTS, LAST_TIME, PASSES, SCORE_SUM
from sensei.storage.tables import to_datetime
from serving.engine.mastery import finished, mastered
from serving.engine.request_context import RequestContext


def profile(context: RequestContext) -> dict[str, Any]:
    """Return counts of a learner's activity, and the topics met, finished and mastered.

    Returns:
        `user_id`; the counts `events`, `active_days`, `attempts` and `passes`. `mean_score` in
        [0, 1] and `last_event` (UTC), both None without one. The topic ids `met`, `finished` and
        `mastered`. `fallback`: None, or the reason why the history is missing or stale.
    """
    history = context.learner.history
    numbers, attempts = history.learner, int(history.learner[ATTEMPTS])
    return {
        "user_id": context.user_id,
        "events": int(numbers[EVENTS]),
        "active_days": int(numbers[DAYS]),
        "attempts": attempts,
        "passes": int(numbers[PASSES]),
        "mean_score": numbers[SCORE_SUM] / attempts if attempts else None,
        "last_event": to_datetime(int(numbers[LAST_TIME])) if history.events else None,
        "met": sorted(history.topics),
        "finished": sorted(each for each, row in history.topics.items() if finished(row)),
        "mastered": sorted(each for each, row in history.topics.items() if mastered(row)),
        "fallback": context.unknown,
    }
