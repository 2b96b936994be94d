"""Drift: windows, score, Evidently reports and workspace."""
