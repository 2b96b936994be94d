"""Terminal output while a command runs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

console = Console(highlight=False)

QUIET_SECONDS = 30.0
"""Maximum time without a line outside a terminal, so that a log shows that the step still runs."""

FLOWS = Path(__file__).resolve().parents[1]

EPOCH = "training_epoch"
"""Attribute of a log record that holds a `TrainingEpoch`."""


@dataclass(frozen=True)
class TrainingEpoch:
    """Finished epoch of a network.

    Attributes:
        network: its name in messages, with its seed if there are several.
        epoch: number, from 1.
        epochs: maximum number of epochs.
        loss: validation loss.
    """

    network: str
    epoch: int
    epochs: int
    loss: float


class RunDisplay:
    """Progress of a command: finished steps as lines, and the running one.

    On a terminal the running step is one live line: a spinner, or a bar while a network trains.
    Elsewhere each step is a line at its start and each network one at its end.
    """

    def __init__(self, console: Console) -> None:
        """Start the clock; nothing is shown yet."""
        self._console, self._interactive = console, console.is_interactive
        self._started = self._printed = self._step_started = time.monotonic()
        self._step = ""
        self._epochs: list[TrainingEpoch] = []
        self._spinner = Spinner("dots")

    def __call__(self, message: str) -> None:
        """Show that a step begins."""
        self._end_network()
        self._end_step()
        self._step, self._step_started = message, time.monotonic()
        if not self._interactive:
            self._print(message, self._step_started)

    def epoch(self, epoch: TrainingEpoch) -> None:
        """Show that a network finished an epoch."""
        if self._epochs and self._epochs[0].network != epoch.network:
            self._end_network()
        self._end_step()
        self._epochs = [*self._epochs, epoch]

    def close(self) -> None:
        """Show the last step or network as finished."""
        self._end_network()
        self._end_step()

    def heartbeat(self) -> None:
        """Outside a terminal, repeat the running step if nothing was shown recently."""
        now = time.monotonic()
        if not self._interactive and now - self._printed > QUIET_SECONDS:
            running = self._epochs[-1].network if self._epochs else self._step.split(":")[0]
            self._print(f"... {running or 'starting'}", now)

    def live_line(self) -> RenderableType:
        """Return the running step as one line."""
        line, epochs, now = Table.grid(padding=(0, 1), expand=True), self._epochs, time.monotonic()
        if not epochs:
            line.add_column(width=1)
            line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            line.add_column(no_wrap=True)
            seconds = f"{now - self._step_started:.0f} s"
            line.add_row(self._spinner, Text(self._step or "starting"), seconds)
            return line
        last_epoch = epochs[-1]
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_column(ratio=1)
        for _ in range(3):
            line.add_column(no_wrap=True)
        line.add_row(
            Text(last_epoch.network),
            ProgressBar(last_epoch.epochs, last_epoch.epoch),
            f"epoch {last_epoch.epoch}/{last_epoch.epochs}",
            f"loss {last_epoch.loss:.4f}",
            f"{now - self._step_started:.0f} s",
        )
        return line

    def _end_step(self) -> None:
        if self._interactive and self._step:
            self._print(self._step, self._step_started)
        if self._interactive:
            self._step = ""

    def _end_network(self) -> None:
        if not self._epochs:
            return
        epochs, now = self._epochs, time.monotonic()
        best = min(epochs, key=lambda epoch: epoch.loss)
        self._epochs = []
        self._print(
            f"{best.network}: best loss {best.loss:.4f}, epoch {best.epoch}/{len(epochs)}, "
            f"{now - self._step_started:.0f} s",
            now,
        )
        self._step_started = now

    def _print(self, message: str, moment: float) -> None:
        line = Table.grid(padding=(0, 2))
        line.add_column(no_wrap=True, style="dim", justify="right", width=7)
        line.add_column(overflow="fold")
        line.add_row(f"{moment - self._started:.0f} s", Text(message))
        self._console.print(line)
        self._printed = time.monotonic()


class _StepHandler(logging.Handler):
    """Log handler that shows our own flows' messages and Prefect's warnings.

    Other messages, also errors, stay in Prefect's UI: the command reports the error that ends a run
    once, at its end.
    """

    def __init__(self, display: RunDisplay) -> None:
        super().__init__(level=logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        epoch = getattr(record, EPOCH, None)
        if epoch is not None:
            self._display.epoch(epoch)
        elif record.levelno == logging.WARNING or Path(record.pathname).is_relative_to(FLOWS):
            self._display(record.getMessage())


@contextmanager
def run_progress(console: Console = console) -> Iterator[RunDisplay]:
    """Show steps with elapsed seconds, and that the last one still runs.

    Yields:
        A function that shows one more step.
    """
    display, finished = RunDisplay(console), threading.Event()

    def watch() -> None:
        while not finished.wait(1.0):
            display.heartbeat()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        if console.is_interactive:
            with Live(get_renderable=display.live_line, console=console, transient=True):
                yield display
        else:
            yield display
    finally:
        finished.set()
        watcher.join()
        display.close()


@contextmanager
def flow_messages(display: RunDisplay) -> Iterator[None]:
    """Show the messages of our flows.

    Import Prefect before: its import replaces the log handlers.
    """
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
    handler = _StepHandler(display)
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
        yield lambda completed, total: progress.update(task, completed=completed, total=total)
