"""Data validation: expectation suites, their checkpoint and the outcome per row."""
