"""Sums of the metrics of all workers, through one small file per worker.

Each worker counts in its own memory. Every second it writes its values into its file, whose space
is reserved at the start. A request for the metrics adds up the values of all files. No file is
mapped into memory: on a full disk, a write into a mapped file ends the process (SIGBUS), while an
ordinary write fails and the worker continues.
"""

import logging
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson
from prometheus_client import CollectorRegistry, Metric

from serving.background import RepeatingThread

SECONDS = 1.0
"""Maximum age, in seconds, of the values of another worker."""

SLOT = 1 << 18
"""Size, in bytes, of all values of a worker: about 2,000 series."""

Values = dict[str, float]
"""Values of series; a key is the JSON of metric, name of the sample, and labels."""

logger = logging.getLogger(__name__)


class SharedMetrics:
    """Metrics of this worker, and the sums over all workers.

    Args:
        registry: the metrics of this process.
        folder: of the workers' files; None for a single process.
    """

    def __init__(self, registry: CollectorRegistry, folder: Path | None) -> None:
        self._registry = registry
        self._folder = folder
        self._file: int | None = None
        self._written = b""
        self._turn = 0
        self._failing = False
        self._lock = threading.Lock()
        self._thread = RepeatingThread("metrics", self._write_again, SECONDS, SECONDS)

    def start(self) -> None:
        """Start to write the values every second, in the background."""
        if self._folder:
            self._thread.start()

    def close(self) -> None:
        """Stop the thread, and write the last values."""
        self._thread.close()
        self.write()

    def write(self) -> None:
        """Write the values of this worker; if the disk refuses, they stay in memory alone."""
        if not self._folder:
            return
        with self._lock:
            try:
                self._write(self._folder, orjson.dumps(self._values()))
            except OSError as error:
                if not self._failing:
                    logger.warning("metrics of this worker are not shared: %s", error)
                self._failing = True
            else:
                self._failing = False

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with the values of all workers."""
        metrics = {metric.name: metric for metric in self._registry.collect()}
        totals = self._values()
        for worker_values in self._others(
            {name for name, metric in metrics.items() if metric.type == "gauge"}
        ):
            for key, value in worker_values.items():
                totals[key] = totals.get(key, 0.0) + value
        for metric in metrics.values():
            metric.samples = []
        for key, value in totals.items():
            name, sample, labels = orjson.loads(key)
            if name in metrics:
                metrics[name].add_sample(sample, labels, value)
        yield from metrics.values()

    def _values(self) -> Values:
        return {
            orjson.dumps([metric.name, sample.name, sample.labels]).decode(): sample.value
            for metric in self._registry.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }

    def _others(self, gauges: set[str]) -> Iterator[Values]:
        """Yield the values of the other workers; of workers that ended, all except gauges."""
        for file in self._folder.glob("sensei_*.values") if self._folder else ():
            process = int(file.stem.rpartition("_")[2])
            if process == os.getpid():
                continue
            values = _newest(file)
            if not _is_alive(process):
                values = {k: v for k, v in values.items() if orjson.loads(k)[0] not in gauges}
            yield values

    def _write(self, folder: Path, values: bytes) -> None:
        if values == self._written:
            return
        if len(values) > SLOT - 16:
            raise OSError(f"expected at most {SLOT} bytes of values, got {len(values)}")
        if self._file is None:
            self._file = _allocated(folder / f"sensei_{os.getpid()}.values")
        self._turn += 1
        head = b"%8d%8x" % (self._turn, zlib.crc32(values))
        os.pwrite(self._file, head + values.ljust(SLOT - 16), SLOT * (self._turn % 2))
        self._written = values

    def _write_again(self) -> float:
        self.write()
        return SECONDS


def _allocated(file: Path) -> int:
    """Open a file with reserved space: two slots, written in turn, so that one is always whole.

    Raises:
        OSError: there is no space.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if os.write(descriptor, bytes(2 * SLOT)) < 2 * SLOT:
            raise OSError(f"expected {2 * SLOT} bytes of space for {file.name}, got less")
        os.fsync(descriptor)  # some file systems find out only now
    except OSError:
        os.close(descriptor)
        with suppress(OSError):
            file.unlink()
        raise
    return descriptor


def _newest(file: Path) -> Values:
    """Return the values of the newest whole slot; none in a file without one."""
    with suppress(OSError):
        content = file.read_bytes()
        for turn, values in sorted(_slots(content), reverse=True):
            if turn:
                newest: Values = orjson.loads(values)
                return newest
    return {}


def _slots(content: bytes) -> Iterable[tuple[int, bytes]]:
    for start in range(0, len(content) - SLOT + 1, SLOT):
        head, values = content[start : start + 16], content[start + 16 : start + SLOT].rstrip()
        with suppress(ValueError):
            if zlib.crc32(values) == int(head[8:], 16):
                yield int(head[:8]), values


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
