"""Names of the values in the table `facts` that several packages share; see `Log.get_fact`."""

DEMO = "demo"
"""True where the learners of this database are simulated."""

TRIAL = "trial"
"""The live trial: `{"bundle": digest, "share": in (0, 1]}`; null or absent without one."""

MONITORED = "monitored"
"""What the monitor last found, as `GET /api/monitoring/metrics` answers it."""

ALARMED = "alarmed"
"""Name of an event -> when it was last emitted (ISO 8601, UTC): the cooldown counts from there."""

RETRAINING_DUE = "retraining_due"
"""`{"bundle": digest, "since": ..., "reason": ...}`: it learnt from somebody erased since."""
