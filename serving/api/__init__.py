"""Endpoints by subject, with the schemas of requests and responses."""
