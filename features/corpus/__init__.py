"""Corpus features: statistics over all learners, recent popularity and the catalogue."""
