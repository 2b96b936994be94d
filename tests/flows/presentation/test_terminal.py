"""Progress of a run in the terminal."""

import io
import logging

import pytest
from rich.console import Console
from rich.text import Text

from flows.presentation.terminal import (
    EPOCH,
    RunDisplay,
    TrainingEpoch,
    flow_messages,
    run_progress,
)
from flows.tasks import training_tasks

LONG = "Gate: recommendation: NDCG@5 on new topics is 0.4123 against 0.4012 on 1,234 later events"


def _console(width: int = 80, terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, force_interactive=terminal
    )


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _train(display: RunDisplay, network: str, losses: list[float]) -> None:
    for epoch, loss in enumerate(losses, 1):
        display.epoch(TrainingEpoch(network, epoch, 100, loss))


def test_messages_of_our_tasks_are_shown_and_those_of_libraries_are_not() -> None:
    console = _console()
    display, logger = RunDisplay(console), logging.getLogger("prefect.task_runs")
    logger.setLevel(logging.INFO)
    with flow_messages(display):
        for file, text in ((training_tasks.__file__, "ours"), (logging.__file__, "theirs")):
            logger.handle(logging.LogRecord("x", logging.INFO, file, 1, text, None, None))
    assert "ours" in _text(console)
    assert "theirs" not in _text(console)


def test_an_epoch_in_the_log_moves_the_bar_and_is_no_line() -> None:
    console = _console()
    display, logger = RunDisplay(console), logging.getLogger("prefect.task_runs")
    logger.setLevel(logging.INFO)
    with flow_messages(display):
        for number in (1, 2):
            epoch = TrainingEpoch("history difficulty", number, 9, 0.5)
            logger.info("Train: epoch %d", number, extra={EPOCH: epoch})
    assert _text(console) == ""
    display.close()
    assert "history difficulty: best loss 0.5000, epoch 1/2" in _text(console)


def test_without_a_terminal_a_network_is_one_line_with_its_best_loss() -> None:
    console = _console()
    with run_progress(console) as display:
        display("Train: counting models")
        _train(display, "reference recommendation", [0.9, 0.4321, 0.5])
        _train(display, "sequence recommendation", [0.8])
        display("Evaluate: ranking")
    lines = _text(console).splitlines()
    assert len(lines) == 4
    assert "reference recommendation: best loss 0.4321, epoch 2/3" in lines[1]
    assert "sequence recommendation: best loss 0.8000, epoch 1/1" in lines[2]


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_line_is_one_line_with_epoch_loss_and_time(width: int) -> None:
    display = RunDisplay(_console(width, terminal=True))
    for begin, words in (
        (lambda: display(LONG), "Gate: recommendation"),
        (lambda: _train(display, "reference recommendation, seed 2", [0.9] * 12), "epoch 12/100"),
    ):
        begin()
        console = _console(width)
        console.print(display.live_line())
        (line,) = _text(console).splitlines()
        assert words in line
        assert len(line.rstrip()) <= width
    assert "loss 0.9000" in line
    assert line.rstrip().endswith("0 s")


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [80, 120])
def test_long_steps_are_wrapped_between_words(width: int, terminal: bool) -> None:
    console = _console(width, terminal)
    display = RunDisplay(console)
    display(LONG)
    display.close()
    lines = Text.from_ansi(_text(console)).plain.splitlines()
    assert max(map(len, lines)) <= width
    output = " ".join(" ".join(lines).split())
    assert LONG in output


def test_a_long_silence_is_broken_only_outside_a_terminal() -> None:
    for terminal in (True, False):
        console = _console(terminal=terminal)
        display = RunDisplay(console)
        display("Prefect: starting")
        before = _text(console)
        display.heartbeat()
        assert _text(console) == before
        display._printed -= 31
        display.heartbeat()
        assert ("... Prefect" in _text(console)) is not terminal
