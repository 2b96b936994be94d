"""Thread that follows the log and updates the served bundles, the catalogue and popularity.

Every second it reads the pointer row. If the row names another bundle, it loads and verifies that
bundle, adds recent popularity and tests it. Only then it replaces one reference. A request gets
either the old model or the new one, and none waits. A bundle that cannot be served is refused and
logged once; the old one continues to serve. If the log does not answer, nothing changes.

It also reads the fact that each loading of a catalogue changes. A new catalogue is served at once;
popularity is then counted again, because other events may count.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.corpus.popularity import NEVER
from features.history import FOLD_VERSION, History
from sensei import curriculum
from sensei.app_state import CATALOGUE, TRIAL
from sensei.bundle.bundle_format import Bundle
from sensei.errors import IncompatibleBundle, SchemaMismatch, StorageUnavailable
from serving.background import RepeatingThread
from serving.engine.engine import Engine
from serving.engine.reasons import counterfactuals_of
from serving.observability import serves
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.folded_learner import Learner
from serving.state.model import Model
from serving.state.topic_popularity import TopicPopularity

if TYPE_CHECKING:
    from sensei.events.log import Log

POLL_SECONDS = 1.0
"""Seconds between two reads of the pointer."""

REFRESH_SECONDS = 60.0
"""Seconds between two refreshes of catalogue and popularity, and between retries of a refused
bundle."""

READ_SECONDS = 0.2
"""Maximum duration, in seconds, of one read of learners' events."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FollowerStatus:
    """Progress of a worker that follows the log, for a person.

    Attributes:
        log: true if the log answered the last request.
        mismatch: error sentence if the log is at another migration, else None.
        failed: error type and sentence if the last update failed for another reason, else None.
        refused: reason if the bundle that the pointer names does not serve, else None.
        refused_challenger: the same for the bundle of an A/B test.
        polled_seconds: seconds since the last read of the pointer; None before the first one.
        refreshed_seconds: seconds since the last read of popularity; None while its first read is
            not complete.
    """

    log: bool
    mismatch: str | None
    failed: str | None
    refused: str | None
    refused_challenger: str | None
    polled_seconds: float | None
    refreshed_seconds: float | None


def load(folder: Path) -> Model:
    """Load and verify the bundle in a folder.

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
    """Return the model after one warm-up answer of each kind, because the first one is slow.

    Raises:
        SenseiError: the model does not answer.
    """
    new_learner = Learner(History.new(), model.start())
    if "recommendation" in model.corpora:
        counterfactuals = counterfactuals_of(model.input_widths["recommendation"])
        model.probabilities(counterfactuals.of(model.next_topic_inputs(new_learner, now_us)))
    if "difficulty" in model.corpora:
        topics = model.corpora["difficulty"].statistics.topic_ids
        model.success(new_learner, [int(topics[0]) if len(topics) else 0], now_us)
    return model


class _Slot:
    """Target of one served model: the digest that the log names, and why it does not serve."""

    def __init__(self) -> None:
        self.wanted: str | None = None
        self.refused: str | None = None
        self.logged: str | None = None
        self.again = False  # true: try a refused bundle once more

    def refuse(self, error: Exception) -> None:
        self.refused = str(error) or type(error).__name__
        if self.refused != self.logged:
            logger.warning("bundle refused, the previous one stays in use: %s", error)
        self.logged = self.refused


class BundleFollower:
    """Updater of an engine's models.

    Args:
        engine: the engine whose `model`, `challenger`, `arms` and `catalogue` are replaced.
        connect: opens the log; called again after an error.
        bundles: folder of the bundles, one subfolder per digest.
        control: share of learners served by counts.
        packed: folder of the bundles that a Bento was built with.
        clock: returns the current time, in microseconds since 1970 UTC.
        monotonic: monotonic clock, in seconds.
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
        self._popularity = TopicPopularity(monotonic)
        self._complete = False
        self._catalogue: Any = None  # value of the fact when the catalogue was read
        self._has_catalogue = False  # true once the log had a catalogue
        self._champion, self._challenger, self._unpacked = _Slot(), _Slot(), _Slot()
        self._polled_at: float | None = None
        self._refreshed_at = -math.inf
        self._failing = False
        self._mismatch: str | None = None
        self._failed: str | None = None
        self._thread = RepeatingThread(
            "follower", self._poll, POLL_SECONDS, POLL_SECONDS, self._close_log
        )

    def start(self) -> None:
        """Update once, so that the first request has a model, then continue in the background."""
        self.look()
        if self._engine.state.model is None:
            self._serve_packed()
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Stop the thread.

        Args:
            timeout: maximum wait, in seconds, for an update in progress.
        """
        self._thread.close(timeout)

    def status(self) -> FollowerStatus:
        """Return how far the log is followed."""
        now = self._monotonic()
        return FollowerStatus(
            log=not self._failing and self._polled_at is not None,
            mismatch=self._mismatch,
            failed=self._failed,
            refused=self._champion.refused
            or (None if self._engine.state.model else self._unpacked.refused),
            refused_challenger=self._challenger.refused,
            polled_seconds=None if self._polled_at is None else now - self._polled_at,
            refreshed_seconds=now - self._refreshed_at if self._complete else None,
        )

    def _poll(self) -> float:
        self.look()
        return POLL_SECONDS

    def _close_log(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def look(self) -> None:
        """Read the pointer, and popularity if it is due, and update the engine."""
        try:
            self._log = self._log or self._connect()
            self._follow(self._log)
            self._polled_at = self._monotonic()
            loaded = self._log.get_fact(CATALOGUE)
            is_due = self._polled_at - self._refreshed_at >= REFRESH_SECONDS
            if loaded != self._catalogue:  # other events may count now: count all again
                self._popularity, is_due = TopicPopularity(self._monotonic), True
            if is_due or not self._complete:
                self._refresh(self._log)
                self._catalogue = loaded
        except StorageUnavailable as error:
            if not self._failing:  # once per outage
                logger.warning("the log cannot be read, the served models stay: %s", error)
            self._failing = True
            self._mismatch = str(error) if isinstance(error, SchemaMismatch) else None
            self._close_log()
        except Exception as error:  # the thread must survive any error of one update
            failed = f"{type(error).__name__}: {error}"
            if failed != self._failed:  # once per distinct error
                logger.exception("the served models and popularity cannot be updated")
            self._failed = failed
        else:
            self._failing, self._mismatch, self._failed = False, None, None

    def _follow(self, log: "Log") -> None:
        serving, (digest, share) = self._engine.state, _trial(log.get_fact(TRIAL))
        champion = self._model(self._champion, log.pointer(), serving.model)
        challenger = digest and self._model(self._challenger, digest, serving.challenger)
        if digest is None:
            self._challenger = _Slot()
        arms = Arms(self._control, min(share, 1 - self._control) if challenger else 0.0)
        self._engine.swap(model=champion, challenger=challenger or None, arms=arms)

    def _model(self, slot: _Slot, digest: str | None, serving: Model | None) -> Model | None:
        """Return the model of a digest if it can serve, else the current model."""
        if digest is None or (serving is not None and serving.digest == digest):
            slot.wanted = slot.refused = None
            return serving
        if slot.wanted == digest and slot.refused is not None and not slot.again:
            return serving
        slot.wanted, slot.again, started = digest, False, self._monotonic()
        try:
            loaded_model = self._current(load(self._folder(digest)), self._engine.state.catalogue)
        except StorageUnavailable:
            raise
        except Exception as error:  # any error of a new bundle: the old one serves
            slot.refuse(error)
            return serving
        slot.refused = slot.logged = None
        if slot is self._champion:
            _measured(loaded_model)
        self._complete = False  # its cutoff may precede the counted events
        logger.info("bundle %s serves after %.2f s", digest[:12], self._monotonic() - started)
        return loaded_model

    def _refresh(self, log: "Log") -> None:
        """Update popularity and catalogue of all served models.

        The next read of the pointer tries a refused bundle again.
        """
        serving, topics = self._engine.state, curriculum.read(log.engine).topics
        loaded = Catalogue.of(topics)
        models = [model for model in (serving.model, serving.challenger) if model]
        # Keep an equal catalogue: its identity keys cached answers. A catalogue of the log is never
        # forgotten; the built-in one serves only until a model does: a platform has other topics.
        self._has_catalogue = self._has_catalogue or bool(topics)
        is_new = loaded != serving.catalogue and bool(
            topics or (models and not self._has_catalogue)
        )
        catalogue = loaded if is_new else serving.catalogue
        trained_until = min((model.trained_until for model in models), default=NEVER)
        self._complete = self._popularity.read(log, int(trained_until), self._clock(), READ_SECONDS)
        self._engine.swap(
            catalogue=catalogue,
            model=serving.model and self._current(serving.model, catalogue),
            challenger=serving.challenger and self._current(serving.challenger, catalogue),
        )
        self._refreshed_at = self._monotonic()
        self._champion.again = self._challenger.again = True

    def _current(self, model: Model, catalogue: Catalogue) -> Model:
        reading = self._popularity.of(catalogue.every_topic)
        return tried(model.with_popularity(reading), self._clock())

    def _folder(self, digest: str) -> Path:
        """Return the folder of a bundle: written by a run, else packed in the Bento."""
        own_folder = self._bundles / digest
        if self._packed and not own_folder.is_dir() and (self._packed / digest).is_dir():
            return self._packed / digest
        return own_folder

    def _serve_packed(self) -> None:
        """Serve the first bundle packed in the Bento that can serve."""
        folder = self._packed
        for bundle in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
            try:
                model = self._current(load(bundle), self._engine.state.catalogue)
                self._engine.swap(model=model)
            except Exception as error:  # any error of a foreign bundle
                self._unpacked.refuse(error)
            else:
                self._unpacked.refused = None
                _measured(model)
                return


def _measured(model: Model) -> None:
    """Set the metrics to the served versions."""
    entries = model.bundle.manifest.models.items()
    serves({name: (entry.candidate, entry.version) for name, entry in entries})


def _trial(fact: Any) -> tuple[str | None, float]:
    """Return bundle and share of the A/B test; (None, 0.0) if the fact is absent or invalid."""
    if not isinstance(fact, dict):
        return None, 0.0
    bundle, share = fact.get("bundle"), fact.get("share")
    if isinstance(bundle, str) and isinstance(share, float | int) and 0 < share <= 1:
        return bundle, float(share)
    return None, 0.0
