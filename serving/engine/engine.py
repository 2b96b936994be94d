"""The engine: every question about a learner gets an answer.

Where no model can answer, the answer comes from counting; `fallback` says what was not known, of
the learner or the topic too. Every answer says which arm the learner is in and which model and
version answered, and bears the id under which it is logged.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from features.history import History
from sensei.contracts import Format
from sensei.errors import NothingServed, StorageUnavailable
from serving.engine.difficulty import suggest
from serving.engine.learning_path import FORMAT_OF, Goal, learning_path
from serving.engine.predict import predict
from serving.engine.profile import profile
from serving.engine.ranking import RankingOptions
from serving.engine.recommend import recommend
from serving.engine.request_context import (
    LOG_UNREACHABLE,
    STALE_LEARNER,
    UNKNOWN_LEARNER,
    EngineResult,
    RequestContext,
)
from serving.observability import FALLBACKS
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.engine_state import EngineState
from serving.state.folded_learner import Learner
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.storage.prediction_log import LoggedAnswer, new_id

ONE_ARM = Arms(0.0)
"""All learners are served the champion."""


class Engine:
    """Answers for one learner at a time.

    Args:
        learners: histories of the learners.
        model: what is served; None where nothing was trained yet.
        catalogue: titles and order of the topics.
        clock: now, in microseconds since 1970 UTC.
        arms: how learners are dealt out.
        record: takes each answer for the log of answers, and returns at once.

    Attributes:
        state: what answers are made from; read it once a request, replace it by `swap` only.
    """

    __slots__ = ("_clock", "_record", "_swapping", "learners", "state")

    def __init__(
        self,
        learners: LearnerCache,
        model: Model | None,
        catalogue: Catalogue,
        clock: Callable[[], int],
        arms: Arms = ONE_ARM,
        record: Callable[[LoggedAnswer], None] | None = None,
    ) -> None:
        self.learners = learners
        self.state = EngineState(model, catalogue, arms)
        self._swapping = threading.Lock()
        self._clock = clock
        self._record = record

    def swap(self, **changes: Any) -> None:
        """Replace fields of the state, all at once; any thread may call it.

        Args:
            changes: new values by the names of `EngineState`.
        """
        with self._swapping:  # of two threads, neither undoes what the other replaced
            self.state = replace(self.state, **changes)

    async def prepare(self, user_id: str) -> None:
        """Read a learner, so that the next question about him keeps nobody waiting.

        Every question may be asked without it, too.
        """
        await self.learners.prepare(user_id, self.state.served_to(user_id)[1])

    def recommend_next_topics(
        self,
        user_id: str,
        num_recommendations: int = 3,
        *,
        exclude_mastered: bool = False,
        only_new: bool = False,
        respect_prerequisites: bool = False,
    ) -> dict[str, Any]:
        """The topics this learner should turn to next.

        Args:
            user_id: any name, also one never seen.
            num_recommendations: most topics in the answer, at least 1.
            exclude_mastered: none that is mastered, however long ago.
            only_new: none that the learner has met.
            respect_prerequisites: none that builds on a topic not finished.

        Returns:
            See `serving.api.response_schemas.Recommendations`.
        """
        wanted = RankingOptions(
            num_recommendations, exclude_mastered, only_new, respect_prerequisites
        )
        question = self.ask(user_id)
        return recommend(question, wanted, partial(self._answered, question, "recommendation"))

    def suggest_quiz_difficulty(self, user_id: str, topic_id: int) -> dict[str, Any]:
        """The level of the next quiz on a topic.

        Args:
            user_id: any name, also one never seen.
            topic_id: any topic, also one never trained on.

        Returns:
            See `serving.api.response_schemas.Difficulty`.
        """
        question = self.ask(user_id)
        return self._answered(question, "difficulty", suggest(question, topic_id))

    def adapt_learning_path(
        self,
        user_id: str,
        steps: int = 5,
        *,
        topic_id: int | None = None,
        domain: str | None = None,
        preferred: Format | None = None,
    ) -> dict[str, Any]:
        """The next steps to a goal, planned anew from what the learner has done.

        Args:
            user_id: any name, also one never seen.
            steps: most steps, at least 1.
            topic_id: the goal, where it is a topic.
            domain: the goal, where it is a domain; with neither, it is the whole curriculum.
            preferred: of the resources; by default as the learner's style has it.

        Returns:
            See `serving.api.response_schemas.LearningPath`.

        Raises:
            InvalidInput: there is no such goal.
        """
        question = self.ask(user_id)
        preferred = preferred or FORMAT_OF[self._style(question)]
        reply = learning_path(question, Goal(topic_id, domain), steps, preferred)
        return self._answered(question, "learning_path", reply)

    def get_user_profile(self, user_id: str) -> dict[str, Any]:
        """What is known of a learner: counts, mean score, topics met, finished and mastered."""
        question = self.ask(user_id)
        return profile(question) | {"learning_style": self._style(question)}

    def predict(self, features: Any, model: str | None = None) -> dict[str, Any]:
        """What a model of the champion answers to inputs; see `serving.engine.predict.predict`.

        Raises:
            InvalidInput: no such model, or the inputs are not as expected.
            NothingServed: no model was promoted yet.
        """
        served = self.state.model
        if served is None:
            raise NothingServed("model: expected a promoted one, got none; run `sensei train`")
        return predict(served, features, model, self._clock())

    def _style(self, question: RequestContext) -> str:
        """The learner's own choice, else what is observed."""
        learner = question.learner
        return learner.chosen_style or learner.history.learning_style()

    def describe(self) -> list[tuple[str, str]]:
        """What is served, for a person: pairs of a name and its value."""
        model = self.state.model
        if model is None:
            return [("models", "none yet: answers follow the curriculum's order")]
        return [
            (name, f"version {entry.version}, {entry.candidate}, {len(entry.topic_ids)} topics")
            for name, entry in model.bundle.manifest.models.items()
        ]

    def ask(self, user_id: str) -> RequestContext:
        """What an answer to this learner may draw on now."""
        state = self.state
        arm, model = state.served_to(user_id)
        learner, unknown = None, None
        try:
            learner = self.learners.learner(user_id, model)
        except StorageUnavailable:
            unknown = LOG_UNREACHABLE
        if learner is not None and learner.is_stale:
            unknown = STALE_LEARNER
        elif learner is None or not learner.history.events:
            unknown = unknown or UNKNOWN_LEARNER
        learner = learner or Learner(History.new(), model.start() if model else {})
        return RequestContext(user_id, self._clock(), arm, model, learner, unknown, state)

    def _answered(self, question: RequestContext, kind: str, reply: EngineResult) -> dict[str, Any]:
        prediction_id = new_id(question.now_us)
        content = reply.content
        if content["fallback"]:
            FALLBACKS.labels(kind, content["fallback"]).inc()
        if self._record is not None:
            self._record(
                LoggedAnswer(
                    prediction_id,
                    question.user_id,
                    kind,
                    reply.topic_id,
                    content["model"],
                    content["version"],
                    question.model.digest if question.model else None,
                    question.arm,
                    question.state.arms.propensity(question.arm),
                    content["fallback"],
                    reply.shown,
                    reply.candidates,
                    reply.inputs,
                    question.now_us,
                )
            )
        return content | {"arm": question.arm, "prediction_id": prediction_id}
