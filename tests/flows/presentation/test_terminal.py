"""Progress of a run in the terminal."""

import logging

from flows.presentation.terminal import flow_messages
from flows.tasks import training_tasks


def test_messages_of_our_tasks_are_shown_and_those_of_libraries_are_not() -> None:
    shown: list[str] = []
    logger = logging.getLogger("prefect.task_runs")
    logger.setLevel(logging.INFO)
    with flow_messages(shown.append):
        for file, text in ((training_tasks.__file__, "ours"), (logging.__file__, "theirs")):
            record = logging.LogRecord("x", logging.INFO, file, 1, text, None, None)
            logger.handle(record)
    assert shown == ["ours"]
