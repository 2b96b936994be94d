"""What is decided per request: the next topics, and how hard the next quiz should be.

Every question gets an answer. Where the models cannot answer for this learner, the answer comes
from counting, and `fallback` says why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.history import History
from features.statistics import Statistics
from sensei.bundle import Bundle
from sensei.contracts import LEVELS, SUGGESTED_SUCCESS
from sensei.errors import StorageUnavailable
from serving.learners import Learners

NO_MODEL = "no_model"
UNKNOWN_LEARNER = "unknown_learner"
UNKNOWN_TOPIC = "unknown_topic"
LOG_UNREACHABLE = "log_unreachable"


@dataclass(frozen=True)
class Catalogue:
    """Topics of the platform: their titles, in the order of the curriculum."""

    titles: Mapping[int, str] = field(default_factory=dict)

    def title(self, topic_id: int) -> str:
        """The topic's title; a log may know topics that no catalogue does."""
        return self.titles.get(topic_id, f"Topic {topic_id}")


@dataclass(frozen=True)
class Model:
    """A bundle and, by model, the statistics inside it: replaced as a whole, never changed."""

    bundle: Bundle
    statistics: Mapping[str, Statistics]

    @classmethod
    def of(cls, bundle: Bundle) -> "Model":
        """The bundle with its statistics ready to be asked."""
        named = bundle.statistics.items()
        return cls(bundle, {name: Statistics.from_arrays(arrays) for name, arrays in named})

    def source(self, name: str) -> dict[str, str]:
        """Which candidate answers under a model's name, and its version in the registry."""
        entry = self.bundle.manifest.models[name]  # type: ignore[index]
        return {"model": entry.candidate, "version": entry.version}


def suggest_level(success: Sequence[float]) -> int:
    """The level a learner should be tested at.

    Args:
        success: expected success at easy, medium and hard, each in [0, 1].

    Returns:
        The hardest level whose expected success lies in `SUGGESTED_SUCCESS`, else the level
        nearest to that range; of equally near ones the hardest that is not too hard, or else
        the easiest.
    """
    low, high = SUGGESTED_SUCCESS
    distance = [max(low - each, each - high, 0.0) for each in success]
    nearest = [level for level, each in enumerate(distance) if each == min(distance)]
    return max((level for level in nearest if success[level] >= low), default=nearest[0])


def _without(probability: NDArray[np.float32], slot: int) -> NDArray[np.float32]:
    """The ranking without one topic, marked -1; the others share its probability.

    The topic just studied is not offered as the next one; the gate judges models in the same way.
    """
    if not slot:
        return probability
    others = np.delete(probability, slot - 1).sum()
    left: NDArray[np.float32] = probability / others if others > 0 else probability.copy()
    left[slot - 1] = -1.0
    return left


class Engine:
    """Answers for one learner at a time.

    Args:
        learners: histories of the learners.
        model: what is served; None where nothing was trained yet.
        catalogue: titles and order of the topics.
        clock: now, in microseconds since 1970 UTC.
    """

    def __init__(
        self,
        learners: Learners,
        model: Model | None,
        catalogue: Catalogue,
        clock: Callable[[], int],
    ) -> None:
        self.learners = learners
        self.model = model
        self.catalogue = catalogue
        self._clock = clock

    def recommend_next_topics(self, user_id: str, num_recommendations: int = 3) -> dict[str, Any]:
        """The topics this learner will most likely turn to next.

        Args:
            user_id: any name, also one never seen.
            num_recommendations: most topics in the answer, at least 1.

        Returns:
            `recommendations` (`topic_id`, `title`, `probability` in [0, 1] or None, most probable
            first), `model`, `version`, and `fallback`: None, or why the model did not answer.
        """
        history, reason = self._history(user_id)
        model = self._able("recommendation")
        if model is None:
            return self._in_curriculum_order(num_recommendations, NO_MODEL)
        statistics = model.statistics["recommendation"]
        if history is None:
            share = statistics.topic_events / max(statistics.topic_events.sum(), 1)
            ranked = self._ranked(statistics, share, num_recommendations)
            return ranked | {"model": "most_popular", "version": None, "fallback": reason}
        inputs = history.recommendation_inputs(self._clock(), statistics)
        probability = model.bundle.recommend(inputs[np.newaxis])[0]
        last = statistics.slot_of(history.last_topic_id or 0)
        ranked = self._ranked(statistics, _without(probability, last), num_recommendations)
        return ranked | model.source("recommendation") | {"fallback": None}

    def suggest_quiz_difficulty(self, user_id: str, topic_id: int) -> dict[str, Any]:
        """The level of the next quiz on a topic.

        Args:
            user_id: any name, also one never seen.
            topic_id: any topic, also one never trained on.

        Returns:
            `difficulty` in `LEVELS`, `success_probability` at it, `levels` (at each), `topic_id`,
            `title`, `model`, `version`, and `fallback`: None, or what was not known. Probabilities
            are in [0, 1], or None without a model.
        """
        history, reason = self._history(user_id)
        topic = {"topic_id": topic_id, "title": self.catalogue.title(topic_id)}
        model = self._able("difficulty")
        if model is None:
            return {
                "difficulty": LEVELS[0],  # nothing is known: the level most likely to be passed
                "success_probability": None,
                "levels": dict.fromkeys(LEVELS),
                **topic,
                **{"model": "easiest_first", "version": None, "fallback": NO_MODEL},
            }
        slot = model.statistics["difficulty"].slot_of(topic_id)
        success = self._success(model, history or History.new(), topic_id, slot)
        level = suggest_level(success)
        return {
            "difficulty": LEVELS[level],
            "success_probability": success[level],
            "levels": dict(zip(LEVELS, success, strict=True)),
            **topic,
            **model.source("difficulty"),
            "fallback": reason or (None if slot else UNKNOWN_TOPIC),
        }

    def describe(self) -> list[tuple[str, str]]:
        """What is served, for a person: pairs of a name and its value."""
        if self.model is None:
            return [("models", "none yet: answers follow the curriculum's order")]
        return [
            (name, f"version {entry.version}, {entry.candidate}, {len(entry.topic_ids)} topics")
            for name, entry in self.model.bundle.manifest.models.items()
        ]

    def _able(self, name: str) -> Model | None:
        return self.model if self.model and name in self.model.statistics else None

    def _history(self, user_id: str) -> tuple[History | None, str | None]:
        try:
            history = self.learners.history(user_id)
        except StorageUnavailable:
            return None, LOG_UNREACHABLE
        if history is None or not history.events:
            return None, UNKNOWN_LEARNER
        return history, None

    def _success(self, model: Model, history: History, topic_id: int, slot: int) -> list[float]:
        inputs = history.difficulty_inputs(topic_id, self._clock(), model.statistics["difficulty"])
        answer = model.bundle.difficulty(
            {"inputs": inputs[np.newaxis], "topic": np.array([[slot]], np.float32)}
        )
        return [float(each) for each in answer["success"][0]]

    def _in_curriculum_order(self, count: int, reason: str) -> dict[str, Any]:
        topics = [(topic_id, None) for topic_id in islice(self.catalogue.titles, count)]
        source = {"model": "curriculum_order", "version": None, "fallback": reason}
        return self._listed(topics) | source

    def _ranked(
        self, statistics: Statistics, probability: NDArray[Any], count: int
    ) -> dict[str, Any]:
        best = np.argsort(-probability, kind="stable")[:count]
        offered = best[probability[best] >= 0]
        topic_ids = statistics.topic_ids
        return self._listed([(int(topic_ids[i]), float(probability[i])) for i in offered])

    def _listed(self, topics: Iterable[tuple[int, float | None]]) -> dict[str, Any]:
        return {
            "recommendations": [
                {"topic_id": each, "title": self.catalogue.title(each), "probability": probability}
                for each, probability in topics
            ]
        }
