"""API keys of the service and their storage."""
