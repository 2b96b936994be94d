"""The Prefect tasks that flows consist of."""
