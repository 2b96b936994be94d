"""Decisions per request: ranking, difficulty, reasons and learning path."""
