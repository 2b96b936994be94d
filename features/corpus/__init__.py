"""Statistics over all learners, up to the training cutoff."""
