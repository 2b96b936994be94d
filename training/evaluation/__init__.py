"""The evaluation protocol: scores, intervals, slices, results."""
