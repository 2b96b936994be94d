"""MLflow: runs, the registry, and the state of a version."""
