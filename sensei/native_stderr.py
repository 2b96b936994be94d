"""Filter for known lines that C++ libraries print on stderr; all other lines are printed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_lines(*fragments: bytes) -> Iterator[None]:
    """Hold back what native code writes to stderr, then print all but the known lines.

    Python's own redirection cannot do this: C++ writes to file descriptor 2. The descriptor is
    replaced only during the block, so keep the block short. Only matching lines are dropped.

    Args:
        fragments: a line that contains one of them is dropped.
    """
    try:
        original = os.dup(2)
    except OSError:  # no stderr at all: nothing to filter
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not any(fragment in line for fragment in fragments):
                    os.write(2, line)
