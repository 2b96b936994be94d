"""Terminal output while a command runs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(highlight=False)
QUIET_SECONDS = 5.0
FLOWS = Path(__file__).resolve().parents[1]


class _StepHandler(logging.Handler):
    """Log handler that shows our own flows' messages and Prefect's warnings.

    Other messages, also errors, stay in Prefect's UI: the command reports the error that ends a run
    once, at its end.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(level=logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        ours = Path(record.pathname).is_relative_to(FLOWS)
        if ours or record.levelno == logging.WARNING:
            self._say(record.getMessage())


class _Ticker:
    """Progress display that repeats the last step every few seconds while it runs."""

    def __init__(self) -> None:
        self._started = self._spoke = time.monotonic()
        self._doing = "starting"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def say(self, message: str) -> None:
        now = time.monotonic()
        console.print(f"[dim]{now - self._started:5.0f} s[/dim]  {escape(message)}")
        self._spoke, self._doing = now, message.split(":")[0]

    def _watch(self) -> None:
        while not self._done.wait(1.0):
            now = time.monotonic()
            if now - self._spoke > QUIET_SECONDS:
                console.print(f"[dim]{now - self._started:5.0f} s  ... {escape(self._doing)}[/dim]")
                self._spoke = now

    def __enter__(self) -> "_Ticker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@contextmanager
def run_progress() -> Iterator[Callable[[str], None]]:
    """Show steps with elapsed seconds, and that the last one still runs.

    Yields:
        A function that shows one more step.
    """
    with _Ticker() as ticker:
        yield ticker.say


@contextmanager
def flow_messages(say: Callable[[str], None]) -> Iterator[None]:
    """Show the messages of our flows.

    Import Prefect before: its import replaces the log handlers.
    """
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
    handler = _StepHandler(say)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for work of known size.

    Yields:
        A function of (done, total).
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
