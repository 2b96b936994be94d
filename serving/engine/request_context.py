"""One request: who asks, what is known of him, and what is served to him."""

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
    """What an answer may draw on.

    Attributes:
        user_id: who asks.
        now_us: microseconds since 1970.
        arm: the learner's arm.
        model: what is served in that arm; None where nothing is.
        learner: what is known of the learner; as of one without events where `unknown` says why.
        unknown: why nothing, or nothing newer, is known of the learner; None if all is known.
        state: what was served when the request came.
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
        """The platform's topics."""
        return self.state.catalogue

    def able(self, name: str) -> Model | None:
        """What is served, if it has a model of that name."""
        return self.model if self.model and name in self.model.corpora else None


class EngineResult(NamedTuple):
    """An answer and what is logged with it; see `serving.storage.prediction_log.LoggedAnswer`.

    Attributes:
        content: what the caller gets, apart from the id and the arm; names `model`, `version`
            and `fallback`.
        shown: what of it is logged as the answer.
        topic_id: what was asked about.
        candidates: what could have been shown, best first.
        inputs: what the model read.
    """

    content: dict[str, Any]
    shown: Any
    topic_id: int | None = None
    candidates: Sequence[tuple[int, float | None]] | None = None
    inputs: Mapping[str, Any] | None = None
