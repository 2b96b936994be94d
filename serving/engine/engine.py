"""Engine: an answer to every question about a learner.

If no model can answer, the answer comes from counts. `fallback` gives the reason, also if the
learner or the topic is unknown. Every answer names the learner's arm, the model and the version. It
carries the id under which it is logged.
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
"""Assignment of all learners to the champion."""


class Engine:
    """Answers for one learner at a time.

    Args:
        learners: cache of the learners' histories.
        model: the served model; None if nothing was trained yet.
        catalogue: titles and order of the topics.
        clock: returns the current time, in microseconds since 1970 UTC.
        arms: assignment of learners to arms.
        record: receives each answer for the prediction log, and returns at once.

    Attributes:
        state: the frozen state that answers are made from. Read it once per request; replace it
            only with `swap`.
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
        """Replace fields of the state in one step; any thread may call this.

        Args:
            changes: new values by field name of `EngineState`.
        """
        with self._swapping:  # no thread overwrites the change of another
            self.state = replace(self.state, **changes)

    async def prepare(self, user_id: str) -> None:
        """Load a learner, so that the next question about them does not block.

        The call is optional before a question.
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
        """Recommend the topics that a learner should study next.

        Args:
            user_id: any name, also one never seen.
            num_recommendations: maximum number of topics, at least 1.
            exclude_mastered: exclude mastered topics, however long ago they were mastered.
            only_new: exclude topics that the learner has met.
            respect_prerequisites: exclude topics with an unfinished prerequisite.

        Returns:
            See `serving.api.response_schemas.Recommendations`.
        """
        wanted = RankingOptions(
            num_recommendations, exclude_mastered, only_new, respect_prerequisites
        )
        question = self.ask(user_id)
        return recommend(question, wanted, partial(self._answered, question, "recommendation"))

    def suggest_quiz_difficulty(self, user_id: str, topic_id: int) -> dict[str, Any]:
        """Suggest the level of the next quiz on a topic.

        Args:
            user_id: any name, also one never seen.
            topic_id: any topic, also one that no model was trained on.

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
        """Plan the next steps to a goal from the learner's current history.

        Args:
            user_id: any name, also one never seen.
            steps: maximum number of steps, at least 1.
            topic_id: the goal, if it is a topic.
            domain: the goal, if it is a domain; with neither, the goal is the whole curriculum.
            preferred: format of the resources; by default the format of the learner's style.

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
        """Return a learner's profile: counts, mean score, topics met, finished and mastered."""
        question = self.ask(user_id)
        return profile(question) | {"learning_style": self._style(question)}

    def predict(self, features: Any, model: str | None = None) -> dict[str, Any]:
        """Return predictions of the champion for given inputs; see `serving.engine.predict`.

        Raises:
            InvalidInput: the model does not exist, or the inputs do not match the contract.
            NothingServed: no model was promoted yet.
        """
        served = self.state.model
        if served is None:
            raise NothingServed("model: expected a promoted one, got none; run `sensei train`")
        return predict(served, features, model, self._clock())

    def _style(self, question: RequestContext) -> str:
        """Return the learning style that the learner chose, else the observed style."""
        learner = question.learner
        return learner.chosen_style or learner.history.learning_style()

    def describe(self) -> list[tuple[str, str]]:
        """Describe what is served as pairs of a name and a value, for a person."""
        model = self.state.model
        if model is None:
            return [("models", "none yet: answers follow the order of the curriculum")]
        return [
            (name, f"version {entry.version}, {entry.candidate}, {len(entry.topic_ids)} topics")
            for name, entry in model.bundle.manifest.models.items()
        ]

    def ask(self, user_id: str) -> RequestContext:
        """Collect the data for an answer to this learner."""
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
