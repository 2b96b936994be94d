"""Writes and reads of the service in the database."""
