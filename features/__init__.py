"""Features: model inputs computed from a learner's history by pure functions."""
