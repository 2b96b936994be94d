"""The service and what it decides per request."""
