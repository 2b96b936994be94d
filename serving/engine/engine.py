"""Engine: an answer to every question about a learner.

If no model can answer, the answer comes from counts. `fallback` gives the reason, also if the
learner or the topic is unknown. Every answer names the learner's arm, the model and the version. It
carries the id under which it is logged.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from features.history import History
from sensei.contracts import Format
from sensei.errors import NothingServed, StorageUnavailable
from serving.engine.difficulty import suggest
from serving.engine.learning_path import FORMAT_OF, Goal, learning_path
from serving.engine.mastery import profile
from serving.engine.predict import predict
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
from serving.state.arms import Arm, Arms
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

    async def context_for(self, user_id: str) -> RequestContext:
        """Collect the data for an answer to a learner; other requests are answered meanwhile.

        Use the context before the next `await`: later events change the learner's history.

        Args:
            user_id: any name, also one never seen.
        """
        state = self.state
        arm, model = state.served_to(user_id)
        try:
            learner = await self.learners.read(user_id, model)
        except StorageUnavailable:
            return self._context(state, user_id, arm, model, None, LOG_UNREACHABLE)
        return self._context(state, user_id, arm, model, learner, UNKNOWN_LEARNER)

    def blocking_context_for(self, user_id: str) -> RequestContext:
        """Return the same as `context_for`, for callers without an event loop."""
        state = self.state
        arm, model = state.served_to(user_id)
        try:
            learner = self.learners.read_blocking(user_id, model)
        except StorageUnavailable:
            return self._context(state, user_id, arm, model, None, LOG_UNREACHABLE)
        return self._context(state, user_id, arm, model, learner, UNKNOWN_LEARNER)

    def _context(
        self,
        state: EngineState,
        user_id: str,
        arm: Arm,
        model: Model | None,
        learner: Learner | None,
        missing: str,
    ) -> RequestContext:
        """Build a context; `missing` is the reason if there is no learner with events."""
        unknown: str | None = None
        if learner is None:
            learner, unknown = Learner(History.new(), model.start() if model else {}), missing
        elif learner.is_stale:
            unknown = STALE_LEARNER
        elif not learner.history.events:
            unknown = missing
        return RequestContext(user_id, self._clock(), arm, model, learner, unknown, state)

    def recommend_next_topics(
        self,
        context: RequestContext,
        num_recommendations: int = 3,
        *,
        exclude_mastered: bool = False,
        only_new: bool = False,
        respect_prerequisites: bool = False,
    ) -> dict[str, Any]:
        """Recommend the topics that a learner should study next.

        Args:
            context: result of `context_for`.
            num_recommendations: maximum number of topics, at least 1.
            exclude_mastered: exclude mastered topics, however long ago they were mastered.
            only_new: exclude topics that the learner has met.
            respect_prerequisites: exclude topics with an unfinished prerequisite.

        Returns:
            See `serving.api.response_schemas.Recommendations`. For a known learner, the answer of
            this minute with its id, if nothing changed.
        """
        options = RankingOptions(
            num_recommendations, exclude_mastered, only_new, respect_prerequisites
        )
        if context.unknown or context.model is None:
            return self._answered(context, "recommendation", recommend(context, options))
        # The bundle, not the model: each minute newer popularity replaces the model.
        made_from = context.model.bundle.digest, context.state.catalogue
        answers = context.learner.answers.valid_at(context.now_us, *made_from)
        answer = answers.get((options, context.arm))
        if answer is None:
            answer = self._answered(context, "recommendation", recommend(context, options))
            answers[options, context.arm] = answer
        return answer

    def suggest_quiz_difficulty(self, context: RequestContext, topic_id: int) -> dict[str, Any]:
        """Suggest the level of the next quiz on a topic.

        Args:
            context: result of `context_for`.
            topic_id: any topic, also one that no model was trained on.

        Returns:
            See `serving.api.response_schemas.Difficulty`.
        """
        return self._answered(context, "difficulty", suggest(context, topic_id))

    def adapt_learning_path(
        self,
        context: RequestContext,
        steps: int = 5,
        *,
        topic_id: int | None = None,
        domain: str | None = None,
        preferred: Format | None = None,
    ) -> dict[str, Any]:
        """Plan the next steps to a goal from the learner's current history.

        Args:
            context: result of `context_for`.
            steps: maximum number of steps, at least 1.
            topic_id: the goal, if it is a topic.
            domain: the goal, if it is a domain; with neither, the goal is the whole curriculum.
            preferred: format of the resources; by default the format of the learner's style.

        Returns:
            See `serving.api.response_schemas.LearningPath`.

        Raises:
            InvalidInput: there is no such goal.
        """
        preferred = preferred or FORMAT_OF[self._style(context)]
        reply = learning_path(context, Goal(topic_id, domain), steps, preferred)
        return self._answered(context, "learning_path", reply)

    def get_user_profile(self, context: RequestContext) -> dict[str, Any]:
        """Return a learner's profile: counts, mean score, topics met, finished and mastered."""
        return profile(context) | {"learning_style": self._style(context)}

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

    def _style(self, context: RequestContext) -> str:
        """Return the learning style that the learner chose, else the observed style."""
        learner = context.learner
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

    def _answered(self, context: RequestContext, kind: str, reply: EngineResult) -> dict[str, Any]:
        prediction_id = new_id(context.now_us)
        content = reply.content
        if content["fallback"]:
            FALLBACKS.labels(kind, content["fallback"]).inc()
        if self._record is not None:
            self._record(
                LoggedAnswer(
                    prediction_id,
                    context.user_id,
                    kind,
                    reply.topic_id,
                    content["model"],
                    content["version"],
                    context.model.bundle.digest if context.model else None,
                    context.arm,
                    context.state.arms.propensity(context.arm),
                    content["fallback"],
                    reply.shown,
                    reply.candidates,
                    reply.inputs,
                    context.now_us,
                )
            )
        return content | {"arm": context.arm, "prediction_id": prediction_id}
