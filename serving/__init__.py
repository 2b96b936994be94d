"""HTTP service and the decisions it makes per request."""
