"""MLflow's application behind our guard; `mlflow server --app-name sensei` runs it.

MLflow itself lets in pages of every other port of this machine, and hosts such as
`10.evil.example`.
"""

from flows.local.loopback_guard import LoopbackGuard


def create_app() -> LoopbackGuard:
    """Build it; named by the entry point `mlflow.app` in `pyproject.toml`."""
    from mlflow.server.fastapi_app import app

    return LoopbackGuard(app)
