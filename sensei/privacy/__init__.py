"""Privacy: erasure, tombstones and the preferences of a learner."""
