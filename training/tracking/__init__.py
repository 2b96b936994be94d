"""Experiment tracking with MLflow: runs, the model registry, the state of a version."""
