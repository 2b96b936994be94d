"""Where inputs that code fills in one by one stand in their vectors."""

from sensei.contracts import TOPIC_INPUTS, place

SEEN, LAST, NEW = (place(TOPIC_INPUTS, name) for name in ("seen", "last", "new"))
PRIORS = tuple(place(TOPIC_INPUTS, name) for name in ("prior_1", "prior_2"))
RECENT = slice(place(TOPIC_INPUTS, "recent_2"), NEW + 1)
