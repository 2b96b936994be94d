"""Decisions per request: ranking, difficulty, reasons, learning path."""
