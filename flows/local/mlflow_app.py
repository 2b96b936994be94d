"""MLflow's application behind our guard; `mlflow server --app-name sensei` runs it.

MLflow itself lets in pages of every other port of this machine, and hosts such as
`10.evil.example`. Its assistant runs shell commands for whoever reaches the port, other users of
this machine included, and has no switch: its routes are closed.
"""

from flows.local.loopback_guard import App, LoopbackGuard, Receive, Refusal, Scope, Send, refuse

ASSISTANT = "/mlflow/assistant"
CLOSED = Refusal(403, "assistant: it would run commands on this machine, so it is closed")


class WithoutAssistant:
    """Refuse the routes of MLflow's assistant."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is for MLflow's other routes."""
        if ASSISTANT in scope.get("path", ""):
            await refuse(scope, send, CLOSED)
        else:
            await self._app(scope, receive, send)


def create_app() -> LoopbackGuard:
    """Build it; named by the entry point `mlflow.app` in `pyproject.toml`."""
    from mlflow.server.fastapi_app import app

    return LoopbackGuard(WithoutAssistant(app))
