"""Parts of one worker process: the engine, the threads that update it, and the prediction log."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensei import curriculum
from sensei.curriculum import Topic
from sensei.errors import StorageUnavailable
from sensei.events.log import Log, open_log
from sensei.settings import Settings
from sensei.storage.database import PROMPT, STEADY, database_file, storage_errors
from sensei.storage.database_file import DatabaseFile
from serving.bundle_follower import BundleFollower
from serving.engine.engine import Engine
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.study_times import StudyTimeReader
from serving.storage.event_writer import EventWriter
from serving.storage.learner_data import LearnerData
from serving.storage.prediction_log import PredictionLog

PACKED = Path(__file__).resolve().parents[1] / "models"
"""Folder of the bundle that a Bento was built with; absent in a checkout."""

WATCH_SECONDS = 1.0
"""Seconds between two checks that the open log file is still the file at its path."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """Parts of a worker, as the service and its health checks use them."""

    engine: Engine
    follower: BundleFollower
    predictions: PredictionLog
    durations: StudyTimeReader
    recorder: EventWriter
    records: LearnerData
    log_file: DatabaseFile | None

    def close(self) -> None:
        """Write the events and answers that still wait, and stop all threads."""
        self.recorder.close()
        self.predictions.close()
        self.follower.close()
        self.durations.close()
        self.engine.learners.close()
        self.records.close()
        if self.log_file:
            self.log_file.close()


def start_worker(settings: Settings, packed: Path = PACKED) -> Worker:
    """Start a worker with the best available model; neither log nor bundle has to exist.

    Args:
        settings: locations of the log and of the bundles.
        packed: folder of bundles to serve if the log names none that can serve.
    """

    def clock() -> int:
        return time.time_ns() // 1000

    log_file = database_file(settings.log_url)

    def connect() -> Log:
        return open_log(settings.log_url, STEADY, log_file)

    def ask() -> Log:
        return open_log(settings.log_url, PROMPT, log_file)

    topics, is_new = _topics(connect)
    predictions = PredictionLog(connect, settings.kept_predictions_days, clock)
    learners, catalogue = LearnerCache(ask, time.monotonic), Catalogue.of(topics)
    arms = Arms(settings.control_share)
    engine = Engine(learners, None, catalogue, clock, arms, predictions.put)
    follower = BundleFollower(
        engine, connect, settings.bundles, settings.control_share, packed, clock, time.monotonic
    )
    follower.start()
    if engine.state.model is None and is_new and not topics:
        # The built-in curriculum fits a new platform; a foreign log has other topic ids.
        engine.swap(catalogue=Catalogue.of(curriculum.load_file().topics))
    predictions.start()
    durations = StudyTimeReader(connect, clock, lambda estimates: engine.swap(durations=estimates))
    durations.start()
    records = LearnerData(connect, settings.emptied_by_erase, settings.suppression)
    if log_file:
        log_file.watch(WATCH_SECONDS)
    writer = EventWriter(ask)
    return Worker(engine, follower, predictions, durations, writer, records, log_file)


def _topics(connect: Callable[[], Log]) -> tuple[Sequence[Topic], bool]:
    """Return the topics of the log, and true if the log is empty or unavailable."""
    try:
        log = connect()
        try:
            with storage_errors(log.engine):
                topics = curriculum.read(log.engine).topics
            return topics, log.is_empty()
        finally:
            log.close()
    except StorageUnavailable as error:
        logger.warning("serving without the log: %s", error)
        return (), True
