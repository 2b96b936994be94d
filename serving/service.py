"""The BentoML service: built once per worker from settings, the log and a bundle.

Metrics, access log and tracing of BentoML are off: its metrics keep one series per raw path, so
per learner, and the other two halve the requests per second.
"""

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

# BentoML reads this once, before it loads a service: `bentoml serve` typed by hand has already
# read it, so the value it remembers is dropped as well.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml._internal.utils.analytics import usage_stats

from serving.routes import app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensei.curriculum import Topic
    from sensei.settings import Settings
    from serving.engine import Engine
    from serving.model import Model

usage_stats.do_not_track.cache_clear()

PACKED = Path(__file__).resolve().parents[1] / "models"
"""Where a Bento holds the bundle it was built with; absent in a checkout."""

logger = logging.getLogger(__name__)

# The process that watches over the workers imports this module too, and answers nothing: what
# only workers need is imported inside the functions, which halves the memory of a service.


def load_model(bundles: Path, digest: str | None) -> "Model | None":
    """The bundle that the pointer names, else the one packed into the Bento, else nothing.

    Args:
        bundles: folder of the bundles.
        digest: what the serving pointer says; None where nothing was promoted, or nobody can say.
    """
    from features.history import FOLD_VERSION
    from sensei.bundle import Bundle
    from sensei.errors import IncompatibleBundle
    from serving.model import Model

    named = [bundles / digest] if digest else []
    packed = sorted(PACKED.iterdir()) if PACKED.is_dir() else []
    for folder in [*named, *packed]:
        try:
            bundle = Bundle.load(folder, FOLD_VERSION)
        except IncompatibleBundle as error:
            logger.warning("not served: %s", error)
        else:
            return Model.of(bundle)
    return None


def build_engine(settings: "Settings") -> "Engine":
    """The engine as settings, log and bundles stand now; neither of the latter two must exist."""
    from sensei import curriculum
    from sensei.errors import StorageUnavailable
    from sensei.log import open_log
    from serving.catalogue import Catalogue
    from serving.engine import Engine
    from serving.learners import Learners

    digest: str | None = None
    topics: Sequence[Topic] = ()
    is_new = True
    try:
        digest, topics, is_new = _read_log(settings.log_url)
    except StorageUnavailable as error:
        logger.warning("serving without the log: %s", error)
    model = load_model(settings.bundles, digest)
    if model is None and is_new and not topics:
        # Ours fits a new platform; the topics of a log from elsewhere bear other numbers.
        topics = curriculum.load_file().topics
    learners = Learners(lambda: open_log(settings.log_url), time.monotonic)
    return Engine(learners, model, Catalogue.of(topics), lambda: time.time_ns() // 1000)


def keep_current(engine: "Engine", settings: "Settings", every: float = 60.0) -> None:
    """Tell the engine what the log says lately, now and in the background every so many seconds."""

    def forever() -> None:
        while True:
            time.sleep(every)
            try:
                refresh(engine, settings)
            except Exception:  # the thread must outlive whatever one reading runs into
                logger.exception("recent popularity is as it was")

    refresh(engine, settings)
    threading.Thread(target=forever, daemon=True, name="lately").start()


def refresh(engine: "Engine", settings: "Settings") -> None:
    """Read what all learners did lately; where the log does not answer, what was known stays."""
    from sensei.errors import StorageUnavailable
    from sensei.log import open_log
    from serving.lately import lately

    if engine.model is None:
        return
    try:
        log = open_log(settings.log_url)
        try:
            now = time.time_ns() // 1000
            engine.model = engine.model.knowing(lately(log, engine.catalogue.topics, now))
        finally:
            log.close()
    except StorageUnavailable as error:
        logger.warning("recent popularity is as it was: %s", error)


def _read_log(url: str) -> "tuple[str | None, Sequence[Topic], bool]":
    """The serving pointer, the topics, and whether the log is empty."""
    from sensei import curriculum
    from sensei.database import storage
    from sensei.log import open_log

    log = open_log(url)
    try:
        with storage(log.engine):
            topics = curriculum.read(log.engine).topics
        return log.pointer(), topics, log.is_empty()
    finally:
        log.close()


@bentoml.service(
    name="sensei",
    workers=1,
    http={"host": "127.0.0.1", "port": 8000},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class SenseiService:
    """Recommendations and quiz difficulties over HTTP; the routes are in `serving.routes`."""

    def __init__(self) -> None:
        from sensei.settings import Settings

        settings = Settings()
        app.state.engine = build_engine(settings)
        keep_current(app.state.engine, settings)
