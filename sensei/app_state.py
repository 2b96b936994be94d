"""Names of the values in the table `facts` that several packages share; see `Log.get_fact`."""

DEMO = "demo"
"""Fact name; its value is true if the learners of this database are simulated."""

TRIAL = "trial"
"""Fact name of the A/B test.

Its value has at least `{"bundle": digest, "share": in (0, 1]}`; null or absent without a test.
"""

CATALOGUE = "catalogue"
"""Fact name of the catalogue; its value changes with every loading of a curriculum."""

MONITORED = "monitored"
"""Fact name of the monitor's last result, as `GET /api/monitoring/metrics` returns it."""

ALARMED = "alarmed"
"""Fact name of the alarms.

Its value maps an event's name to the time it was last emitted (ISO 8601, UTC). The cooldown starts
at that time.
"""

RETRAINING_DUE = "retraining_due"
"""Fact name of a due retraining: a learner in the training data was erased afterwards.

Its value is `{"bundle": digest, "since": ..., "reason": ...}`.
"""
