"""The data contract: event kinds, levels and model inputs, defined once.

The fields of an event are in `sensei.event_fields`. The expectation suites, the model signatures
and the API schema derive from both.
"""

from dataclasses import dataclass
from typing import Literal

LEARNING_KINDS = (
    "quiz_complete",
    "practice_attempt",
    "resource_view",
    "video_view",
    "text_read",
)
"""Event kinds that may be targets and that fill topic slots."""

RESPONSE_KINDS = ("recommendation_accepted", "feedback_recommendation")
"""Event kinds that answer a recommendation: never targets, never in topic slots."""

KINDS = LEARNING_KINDS + RESPONSE_KINDS
"""All event kinds; the code of a kind is its position here."""

ATTEMPT_KINDS = ("quiz_complete", "practice_attempt")
"""Event kinds whose score tells if the learner succeeded."""

LEVELS = ("easy", "medium", "hard")
"""Quiz difficulty levels; the code of a level is its position here."""

PASS_SCORE = 0.6
"""Lowest score that counts as a success."""

STRONG_SCORE = 0.7
"""Lowest score that counts in the input `topic_pass_share_last_3`, and nowhere else.

It differs from `PASS_SCORE` in spite of the input's name: the twenty inputs were evaluated with
this threshold, and the name is part of the contract.
"""

WELL_PASSED_SCORE = 0.85
"""Lowest score that moves the staircase label one level up."""

SUGGESTED_SUCCESS = (0.70, 0.85)
"""Range of expected success in which a quiz is neither dull nor discouraging."""

Format = Literal["text", "video", "lab"]
"""Formats of resources."""

DAY = 86_400_000_000
"""Microseconds per day; times are counted in microseconds since 1970, UTC."""

LOG_UNREACHABLE = "log_unreachable"
"""Fallback code of an answer given while the log was unreachable; the learner may be known."""

STALE_LEARNER = "stale_learner"
"""Fallback code of an answer from a learner's last known state while the log is unreachable."""

MAX_ROWS = 100
"""Maximum number of input rows per prediction request."""

MAX_FUTURE_MINUTES = 5
"""Maximum minutes by which an event may lie in the future; later ones are refused."""


@dataclass(frozen=True)
class Input:
    """One model input: its name, unit, range and formula."""

    name: str
    unit: str
    low: float
    high: float
    formula: str

    @property
    def is_id(self) -> bool:
        """True if the value is a code that the model embeds."""
        return self.unit in ("topic slot", "kind code")


_LOG = 30.0  # log1p of any count or of any number of seconds stays below it

RECOMMENDATION_INPUTS = (
    Input("last_topic_1", "topic slot", 0, 1e6, "slot of the last learning event's topic; 0 none"),
    Input("last_topic_2", "topic slot", 0, 1e6, "slot of the topic one learning event earlier"),
    Input("last_topic_3", "topic slot", 0, 1e6, "slot of the topic two learning events earlier"),
    Input("last_topic_4", "topic slot", 0, 1e6, "slot of the topic three learning events earlier"),
    Input("last_topic_5", "topic slot", 0, 1e6, "slot of the topic four learning events earlier"),
    Input(
        "most_frequent_topic",
        "topic slot",
        0,
        1e6,
        "topic with the most learning events; a tie: the first to reach it",
    ),
    Input("last_kind", "kind code", 0, len(KINDS), "1 + kind of the last learning event; 0 none"),
    Input("log_events", "log events", 0, _LOG, "log1p(learning events)"),
    Input("mean_score", "fraction", 0, 1, "mean score of all attempts; 0.5 without one"),
    Input("mean_score_last_5", "fraction", 0, 1, "mean of the last five scores; 0.5 without one"),
    Input("log_topic_events", "log events", 0, _LOG, "log1p(learning events on the last topic)"),
    Input(
        "topic_mean_score_last_5",
        "fraction",
        0,
        1,
        "mean of the last topic's last five scores; 0.5 without one",
    ),
    Input("topic_last_score", "fraction", 0, 1, "last score on the last topic; 0.5 without one"),
    Input(
        "log_topic_streak",
        "log events",
        0,
        _LOG,
        "log1p(learning events in a row on the last topic)",
    ),
    Input("log_topics", "log topics", 0, _LOG, "log1p(distinct topics touched)"),
    Input(
        "log_events_per_active_day",
        "log events/day",
        0,
        _LOG,
        "log1p(learning events / UTC days with one)",
    ),
    Input(
        "topic_pass_share_last_3",
        "fraction",
        0,
        1,
        f"share of the last topic's last three scores at or above {STRONG_SCORE:g}, more than a "
        f"pass ({PASS_SCORE:g}); 0 without one",
    ),
    Input(
        "log_seconds_since_last",
        "log s",
        0,
        _LOG,
        "log1p(now - last learning event); 0 without one",
    ),
    Input("log_topic_seconds", "log s", 0, _LOG, "log1p(known durations on the last topic)"),
    Input("log_accepted", "log events", 0, _LOG, "log1p(accepted recommendations)"),
)
"""The twenty inputs of the recommendation model, in the order of the vector."""

DIFFICULTY_INPUTS = (
    Input(
        "proficiency_logit",
        "logit",
        -8,
        8,
        "logit((passes + 4 p) / (attempts + 4)), within ±8; p = the topic's pass rate "
        "shrunk by 4 attempts + the learner's passes above expectation / (their attempts + 4)",
    ),
    Input("log_attempts", "log attempts", 0, _LOG, "log1p(scored attempts on the topic)"),
    Input(
        "score_trend",
        "fraction",
        -1,
        1,
        "recent weighted mean score on the topic - its long-run mean; 0 below two attempts",
    ),
    Input(
        "log_seconds_since_attempt",
        "log s",
        -1,
        _LOG,
        "log1p(now - last scored attempt on the topic); -1 never",
    ),
)
"""The four inputs of the difficulty model, in the order of the vector."""

EVENT_INPUTS = (
    Input("topic", "topic slot", 0, 1e6, "slot of the event's topic; 0 unknown"),
    Input("kind", "kind code", 0, len(KINDS), "1 + kind of the event"),
    Input("score", "fraction", -0.5, 0.5, "score - 0.5 of an attempt; 0 without one"),
    Input("scored", "flag", 0, 1, "1 if the event is a scored attempt"),
    Input("log_gap", "log s", 0, _LOG, "log1p(seconds since the last learning event); 0 first"),
    Input("topic_logit", "logit", -8, 8, "logit of the topic's shrunk pass rate"),
    Input(
        "item_logit",
        "logit",
        -8,
        8,
        "logit of the item's pass rate, shrunk by 4 attempts to its topic's, - topic_logit; "
        "0 without an item",
    ),
    Input("log_item_attempts", "log attempts", 0, _LOG, "log1p(scored attempts on the item)"),
    Input("level", "level", -1, 1, "-1 an easy attempt, 1 a hard one; 0 medium or unknown"),
)
"""Inputs of a sequence network per learning event; one event advances its state once."""

TOPIC_INPUTS = (
    Input("log_weight", "log events", 0, _LOG, "log1p(events on it, each decayed by exp(-0.1 k))"),
    Input("log_fast", "log events", 0, _LOG, "log1p(events on it, each decayed by exp(-0.5 k))"),
    Input("log_count", "log events", 0, _LOG, "log1p(events on it)"),
    Input("seen", "flag", 0, 1, "1 if the learner has an event on it"),
    Input("today", "flag", 0, 1, "1 if one is on this UTC day"),
    Input("log_since", "log s / 10", 0, _LOG / 10, "log1p(now - last event on it) / 10; 0 never"),
    Input("last", "flag", 0, 1, "1 for the topic of the last learning event"),
    Input("prior_1", "log ratio", -_LOG, _LOG, "log(P(topic | last topic) * slots); 0 if new"),
    Input("prior_2", "log ratio", -_LOG, _LOG, "log(P(topic | last two topics) * slots); 0 if new"),
    Input("recent_2", "log ratio", -_LOG, _LOG, "log share of all recent events, half-life 2 d"),
    Input("recent_7", "log ratio", -_LOG, _LOG, "log share of all recent events, half-life 7 d"),
    Input("age", "log days / 4", 0, 1, "log1p(days since its first event in 28 days) / 4"),
    Input("new", "flag", 0, 2, "1 for a topic added after training, 2 for a free slot"),
    Input("domain_weight", "log events", 0, _LOG, "log_weight over all topics of its domain"),
    Input("domain_fast", "log events", 0, _LOG, "log_fast over all topics of its domain"),
    Input("prerequisites", "share", -1, 1, "2 (share of them with an event) - 1; 0 without any"),
)
"""Inputs of a network per scored topic; k is the number of events since."""

SUCCESS_INPUTS = (
    Input("topic_logit", "logit", -8, 8, "logit of the topic's shrunk pass rate"),
    Input("log_topic_attempts", "log attempts", 0, _LOG, "log1p(all learners' scored attempts)"),
    Input("log_gap", "log s", 0, _LOG, "log1p(now - last learning event); 0 without one"),
    Input("same_topic", "flag", 0, 1, "1 if the last learning event was on the topic"),
    Input("log_topic_events", "log events", 0, _LOG, "log1p(own learning events on the topic)"),
    Input("log_topic_gap", "log s", -1, _LOG, "log1p(now - own last event on it); -1 never"),
    Input("topic_streak", "log attempts", -_LOG, _LOG, "±log1p(passes or fails in a row on it)"),
    Input("topic_score_1", "fraction", -0.5, 0.5, "last score on the topic - 0.5; 0 without one"),
    Input("topic_score_2", "fraction", -0.5, 0.5, "the score before it - 0.5"),
    Input("topic_score_3", "fraction", -0.5, 0.5, "the score before that - 0.5"),
    Input("score_1", "fraction", -0.5, 0.5, "last score on any topic - 0.5; 0 without one"),
    Input("score_2", "fraction", -0.5, 0.5, "the score before it - 0.5"),
    Input("score_3", "fraction", -0.5, 0.5, "the score before that - 0.5"),
    Input("ability", "logit", -8, 8, "log odds of own scores above the usual at a level"),
    Input("domain_ability", "logit", -8, 8, "the same in the topic's domain, above `ability`"),
    Input("log_domain_attempts", "log attempts", 0, _LOG, "log1p(scored attempts in the domain)"),
    Input("topic_ability", "logit", -8, 8, "the same on the topic, above `ability`"),
    Input("practice", "flag", 0, 1, "1 for practice, 0 for a quiz"),
)
"""Inputs of a success network in addition to the four inputs, for an unknown item."""

ITEM_INPUTS = (
    Input("known", "flag", 0, 1, "1 if the item is given and has attempts"),
    Input("item_logit", "logit", -8, 8, "as in `EVENT_INPUTS`; 0 unknown"),
    Input("log_item_attempts", "log attempts", 0, _LOG, "as in `EVENT_INPUTS`; 0 unknown"),
)
"""Inputs of a success network for the item to be attempted; zeros if the item is unknown."""


def place(inputs: tuple[Input, ...], name: str) -> int:
    """Return the index of an input in its vector."""
    return [declared.name for declared in inputs].index(name)
