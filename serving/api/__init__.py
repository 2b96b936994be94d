"""Endpoints by subject, with their request and response schemas."""
