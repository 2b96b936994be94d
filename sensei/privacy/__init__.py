"""Erasure, tombstones and the preferences of a learner."""
