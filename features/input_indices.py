"""Indices of the topic inputs that code writes one by one."""

from sensei.contracts import TOPIC_INPUTS, place

WEIGHT, FAST = (place(TOPIC_INPUTS, name) for name in ("log_weight", "log_fast"))
SEEN, LAST, NEW = (place(TOPIC_INPUTS, name) for name in ("seen", "last", "new"))
TODAY, LOG_SINCE = (place(TOPIC_INPUTS, name) for name in ("today", "log_since"))
PRIORS = tuple(place(TOPIC_INPUTS, name) for name in ("prior_1", "prior_2"))
RECENT = slice(place(TOPIC_INPUTS, "recent_2"), NEW + 1)
DOMAIN_WEIGHT, DOMAIN_FAST, PREREQUISITES = (
    place(TOPIC_INPUTS, name) for name in ("domain_weight", "domain_fast", "prerequisites")
)
