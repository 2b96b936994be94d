"""Repeated action in a background thread."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class RepeatingThread:
    """Daemon thread that repeats an action until it is stopped.

    Args:
        name: name of the thread.
        action: does one run, and returns the pause before the next one, in seconds. An error is
            logged, and the action is repeated.
        first_seconds: pause before the first run, in seconds.
        retry_seconds: pause after an error, in seconds.
        end: called in the thread after the last run.
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], float],
        first_seconds: float,
        retry_seconds: float,
        end: Callable[[], object] | None = None,
    ) -> None:
        self._action = action
        self._first_seconds = first_seconds
        self._retry_seconds = retry_seconds
        self._end = end
        self._stop = threading.Event()
        # A daemon: a blocked run must not prevent the process from ending.
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    @property
    def is_stopping(self) -> bool:
        """True after `close` was called; a long run should then end early."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start the thread; call this once."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Stop the thread.

        Args:
            timeout: maximum wait, in seconds, for a run in progress and for `end`.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = self._first_seconds
        while not self._stop.wait(pause):
            try:
                pause = self._action()
            except Exception:  # the thread must survive any error of one run
                logger.exception("%s: failed; it is repeated", self._thread.name)
                pause = self._retry_seconds
        if self._end is not None:
            self._end()
