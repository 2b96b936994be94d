"""Which bundle answers, the catalogue, and what all learners did lately: a thread follows the log.

Every second it reads the pointer row. Where another bundle is named, that one is loaded, verified,
brought up to date and tried out, and only then one reference is replaced: a request has either
the old model or the new one, and none waits. What cannot be served is refused and said once; the
old bundle keeps serving. Where the log does not answer, everything stays as it is.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.corpus.popularity import NEVER
from features.history import FOLD_VERSION, History
from sensei import curriculum
from sensei.app_state import TRIAL
from sensei.bundle.bundle_format import Bundle
from sensei.errors import IncompatibleBundle, SchemaMismatch, StorageUnavailable
from serving.engine.engine import Engine
from serving.observability import serves
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.folded_learner import Learner
from serving.state.model import Model
from serving.state.topic_popularity import TopicPopularity

if TYPE_CHECKING:
    from sensei.events.log import Log

POLL_SECONDS = 1.0
"""How often the pointer is read."""

REFRESH_SECONDS = 60.0
"""How often the catalogue and what all learners did lately are read, and a refused bundle tried
again."""

READ_SECONDS = 0.2
"""How long at most what learners did is read at a time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FollowerStatus:
    """How far a worker follows the log, for a person.

    Attributes:
        log: whether it answered when it was last asked.
        mismatch: the sentence about a log at another migration, if it is at one.
        refused: why the bundle that is pointed at does not serve, if it does not.
        refused_challenger: the same of the bundle of a live trial.
        polled_seconds: since the pointer was last read; None before the first time.
        refreshed_seconds: since what learners did lately was last read; None while all of it is
            being read for the first time.
    """

    log: bool
    mismatch: str | None
    refused: str | None
    refused_challenger: str | None
    polled_seconds: float | None
    refreshed_seconds: float | None


def load(folder: Path) -> Model:
    """The verified bundle in a folder, ready to be asked.

    Raises:
        IncompatibleBundle: it is absent, damaged, or of another fold version.
    """
    model = Model.of(Bundle.load(folder, FOLD_VERSION))
    if model.digest != folder.name:
        raise IncompatibleBundle(
            f"bundle: expected a folder named {model.digest}, "
            f"got {folder.name}; point at the digest"
        )
    return model


def tried(model: Model, now_us: int) -> Model:
    """The same model after a first answer of each kind, which is the slow one.

    Raises:
        SenseiError: it does not answer.
    """
    nobody = Learner(History.new(), model.start())
    if "recommendation" in model.corpora:
        given = model.next_topic_inputs(nobody, now_us)
        model.probabilities(model.counterfactuals.of(given))
    if "difficulty" in model.corpora:
        topics = model.corpora["difficulty"].statistics.topic_ids
        model.success(nobody, [int(topics[0]) if len(topics) else 0], now_us)
    return model


class _Slot:
    """One place for a model: the one that the log wants, and why it does not serve."""

    def __init__(self) -> None:
        self.wanted: str | None = None
        self.refused: str | None = None
        self.said: str | None = None
        self.again = False  # a refused one is tried once more

    def refuse(self, error: Exception) -> None:
        self.refused = str(error) or type(error).__name__
        if self.refused != self.said:
            logger.warning("not served, what was served before goes on: %s", error)
        self.said = self.refused


class BundleFollower:
    """Keeps an engine's models current.

    Args:
        engine: whose state's `model`, `challenger`, `arms` and `catalogue` are replaced.
        connect: opens the log; called again after an error.
        bundles: folder of the bundles, one subfolder a digest.
        control: share of learners served by counting.
        packed: folder of the bundles that a Bento was built with.
        clock: now, in microseconds since 1970 UTC.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        engine: Engine,
        connect: "Callable[[], Log]",
        bundles: Path,
        control: float = 0.0,
        packed: Path | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._connect = connect
        self._bundles = bundles
        self._control = control
        self._packed = packed
        self._clock = clock
        self._monotonic = monotonic
        self._log: Log | None = None
        self._lately = TopicPopularity(monotonic)
        self._complete = False
        self._champion, self._challenger, self._unpacked = _Slot(), _Slot(), _Slot()
        self._polled_at: float | None = None
        self._refreshed_at = -math.inf
        self._failing = False
        self._mismatch: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="follower")

    def start(self) -> None:
        """Look once, so that the first request finds a model, then go on in the background."""
        self.look()
        if self._engine.state.model is None:
            self._serve_packed()
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Stop looking.

        Args:
            timeout: seconds to wait for what is under way.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def status(self) -> FollowerStatus:
        """How far the log is followed."""
        now = self._monotonic()
        return FollowerStatus(
            log=not self._failing and self._polled_at is not None,
            mismatch=self._mismatch,
            refused=self._champion.refused
            or (None if self._engine.state.model else self._unpacked.refused),
            refused_challenger=self._challenger.refused,
            polled_seconds=None if self._polled_at is None else now - self._polled_at,
            refreshed_seconds=now - self._refreshed_at if self._complete else None,
        )

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.look()
        if self._log is not None:
            self._log.close()

    def look(self) -> None:
        """Read the pointer, and what learners did lately; do what follows from it."""
        try:
            self._log = self._log or self._connect()
            self._follow(self._log)
            self._polled_at = self._monotonic()
            if not self._complete or self._polled_at - self._refreshed_at >= REFRESH_SECONDS:
                self._refresh(self._log)
        except StorageUnavailable as error:
            if not self._failing:  # once an outage
                logger.warning("the log is not followed, what is served stays: %s", error)
            self._failing = True
            self._mismatch = str(error) if isinstance(error, SchemaMismatch) else None
            if self._log is not None:
                self._log.close()
                self._log = None
        except Exception:  # the thread must outlive whatever one look runs into
            logger.exception("the log is not followed")
        else:
            self._failing, self._mismatch = False, None

    def _follow(self, log: "Log") -> None:
        serving, (digest, share) = self._engine.state, _trial(log.get_fact(TRIAL))
        champion = self._model(self._champion, log.pointer(), serving.model)
        challenger = digest and self._model(self._challenger, digest, serving.challenger)
        arms = Arms(self._control, min(share, 1 - self._control) if challenger else 0.0)
        self._engine.swap(model=champion, challenger=challenger or None, arms=arms)

    def _model(self, slot: _Slot, digest: str | None, serving: Model | None) -> Model | None:
        """The model of a digest where it can serve, else what serves."""
        if digest is None or (serving is not None and serving.digest == digest):
            slot.wanted = slot.refused = None
            return serving
        if slot.wanted == digest and slot.refused is not None and not slot.again:
            return serving
        slot.wanted, slot.again, started = digest, False, self._monotonic()
        try:
            found = self._current(load(self._folder(digest)), self._engine.state.catalogue)
        except StorageUnavailable:
            raise
        except Exception as error:  # whatever a foreign bundle runs into: the old one is fine
            slot.refuse(error)
            return serving
        slot.refused = slot.said = None
        if slot is self._champion:
            _measured(found)
        self._complete = False  # it may have been trained earlier than what is counted
        logger.info("bundle %s serves after %.2f s", digest[:12], self._monotonic() - started)
        return found

    def _refresh(self, log: "Log") -> None:
        """What learners did lately, for all that serves; a refused bundle gets another chance."""
        serving, topics = self._engine.state, curriculum.read(log.engine).topics
        read = Catalogue.of(topics)
        # None was loaded: what is known stays. An equal one stays too: answers are kept by it.
        catalogue = read if topics and read != serving.catalogue else serving.catalogue
        models = [model for model in (serving.model, serving.challenger) if model]
        since = min((model.trained_until for model in models), default=NEVER)
        self._complete = self._lately.read(log, int(since), self._clock(), READ_SECONDS)
        self._engine.swap(
            catalogue=catalogue,
            model=serving.model and self._current(serving.model, catalogue),
            challenger=serving.challenger and self._current(serving.challenger, catalogue),
        )
        self._refreshed_at = self._monotonic()
        self._champion.again = self._challenger.again = True

    def _current(self, model: Model, catalogue: Catalogue) -> Model:
        reading = self._lately.of(catalogue.topics.values())
        return tried(model.knowing(reading), self._clock())

    def _folder(self, digest: str) -> Path:
        """Where a bundle lies: among those that runs wrote, or else in the Bento itself."""
        written = self._bundles / digest
        if self._packed and not written.is_dir() and (self._packed / digest).is_dir():
            return self._packed / digest
        return written

    def _serve_packed(self) -> None:
        """What the Bento was built with, where nothing else can serve."""
        folder = self._packed
        for each in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
            try:
                model = tried(load(each), self._clock())
                self._engine.swap(model=model)
            except Exception as error:  # whatever a foreign bundle runs into
                self._unpacked.refuse(error)
            else:
                self._unpacked.refused = None
                _measured(model)
                return


def _measured(model: Model) -> None:
    """Have the metrics say what serves."""
    entries = model.bundle.manifest.models.items()
    serves({name: (each.candidate, each.version) for name, each in entries})


def _trial(fact: Any) -> tuple[str | None, float]:
    """Bundle and share of a live trial; none where there is no such fact, or one without sense."""
    if not isinstance(fact, dict):
        return None, 0.0
    bundle, share = fact.get("bundle"), fact.get("share")
    if isinstance(bundle, str) and isinstance(share, float | int) and 0 < share <= 1:
        return bundle, float(share)
    return None, 0.0
