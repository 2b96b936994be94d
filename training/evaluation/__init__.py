"""Evaluation protocol: scores, intervals, slices, results."""
