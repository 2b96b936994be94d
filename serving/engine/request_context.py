"""Context of one request: the learner, their history, and the model that serves them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sensei.contracts import LOG_UNREACHABLE, STALE_LEARNER
from serving.state.arms import Arm
from serving.state.catalogue import Catalogue
from serving.state.engine_state import EngineState
from serving.state.folded_learner import Learner
from serving.state.model import Model

__all__ = [
    "LOG_UNREACHABLE",
    "NO_MODEL",
    "STALE_LEARNER",
    "UNKNOWN_LEARNER",
    "UNKNOWN_TOPIC",
    "EngineResult",
    "RequestContext",
]

NO_MODEL = "no_model"
UNKNOWN_LEARNER = "unknown_learner"
UNKNOWN_TOPIC = "unknown_topic"


class RequestContext(NamedTuple):
    """Data that an answer may use.

    Attributes:
        user_id: the learner's name.
        now_us: microseconds since 1970.
        arm: the learner's arm.
        model: the model served in that arm; None if there is none.
        learner: the learner's history; an empty one if the learner is unknown.
        unknown: reason why the history is missing or stale; None if it is complete.
        state: the engine's state when the request arrived.
    """

    user_id: str
    now_us: int
    arm: Arm
    model: Model | None
    learner: Learner
    unknown: str | None
    state: EngineState

    @property
    def catalogue(self) -> Catalogue:
        """Topics of the platform."""
        return self.state.catalogue

    def able(self, name: str) -> Model | None:
        """Return the served model if it contains a model of that name, else None."""
        return self.model if self.model and name in self.model.corpora else None


class EngineResult(NamedTuple):
    """Answer, and the data logged with it; see `serving.storage.prediction_log.LoggedAnswer`.

    Attributes:
        content: the caller's answer without id and arm; it includes `model`, `version` and
            `fallback`.
        shown: the part of the content that is logged as the answer.
        topic_id: topic of the question; None if there was none.
        candidates: topics that could have been shown, best first.
        inputs: inputs that the model read.
    """

    content: dict[str, Any]
    shown: Any
    topic_id: int | None = None
    candidates: Sequence[tuple[int, float | None]] | None = None
    inputs: Mapping[str, Any] | None = None
