"""MLflow's application behind our guard; `mlflow server --app-name sensei` runs it.

MLflow itself accepts pages of every other port of this machine, and hosts such as
`10.evil.example`. Its assistant runs shell commands for anyone who reaches the port, including
other users of this machine. It cannot be switched off, so its routes are closed.
"""

from flows.local.loopback_guard import App, LoopbackGuard, Receive, Refusal, Scope, Send, refuse

ASSISTANT = "/mlflow/assistant"
CLOSED = Refusal(403, "assistant: it would run commands on this machine, so it is disabled")


class WithoutAssistant:
    """Middleware that refuses the routes of MLflow's assistant."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward requests for MLflow's other routes."""
        if ASSISTANT in scope.get("path", ""):
            await refuse(scope, send, CLOSED)
        else:
            await self._app(scope, receive, send)


def create_app() -> LoopbackGuard:
    """Build the application; the entry point `mlflow.app` in `pyproject.toml` names it."""
    from mlflow.server.fastapi_app import app

    return LoopbackGuard(WithoutAssistant(app))
