"""Candidates, evidence, versions."""
