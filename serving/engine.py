"""What is decided per request: the next topics, and how hard the next quiz should be.

Every question gets an answer. Where the models cannot answer for this learner, the answer comes
from counting, and `fallback` says why.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.corpus import Corpus
from features.history import KIND_CODES, History
from features.recency import Recency
from features.statistics import Statistics
from sensei.bundle import Bundle
from sensei.contracts import LEARNING_KINDS, LEVELS, SUGGESTED_SUCCESS
from sensei.errors import StorageUnavailable
from serving.arms import Arms
from serving.learners import Learner, Learners, States

if TYPE_CHECKING:
    from sensei.log import Event

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
    """A bundle and, by model, what its inputs are read from: replaced as a whole, never changed."""

    bundle: Bundle
    corpora: Mapping[str, Corpus]

    @classmethod
    def of(cls, bundle: Bundle) -> "Model":
        """The bundle, ready to be asked; nothing is known yet of what happened since."""
        found = {}
        for name, arrays in bundle.statistics.items():
            statistics = Statistics.from_arrays(arrays)
            found[name] = Corpus(statistics, Recency.nothing(statistics))
        return cls(bundle, found)

    def knowing(self, lately: Callable[[Statistics], Recency]) -> "Model":
        """The same with what happened since the statistics of each model."""
        found = {
            name: Corpus(corpus.statistics, lately(corpus.statistics))
            for name, corpus in self.corpora.items()
        }
        return Model(self.bundle, found)

    @property
    def digest(self) -> str:
        """The bundle's."""
        return self.bundle.digest

    @cached_property
    def states_of(self) -> str:
        """Digest of all that hidden states come from; empty where no model has one.

        Not the bundle's: of two bundles that differ elsewhere, the states are the same.
        """
        files = self.bundle.manifest.files
        return " ".join(
            f"{name} {files[entry.step]} {files[entry.statistics]}"
            for name, entry in sorted(self.bundle.manifest.models.items())
            if entry.step
        )

    def start(self) -> States:
        """The hidden states of a learner without events."""
        found = {name: self.bundle.start(name) for name in self.corpora}
        return {name: state for name, state in found.items() if state is not None}

    def advance(self, states: States, history: History, event: "Event") -> States:
        """The hidden states one event later; a response to a recommendation changes none."""
        kind = KIND_CODES[event.interaction_type]
        if kind >= len(LEARNING_KINDS):
            return states
        score = math.nan if event.score is None else event.score
        after = {}
        for name, state in states.items():
            read = self.corpora[name].event(
                history, kind, event.topic_id, score, event.timestamp, event.item_id
            )
            after[name] = self.bundle.advance(name, state, read[np.newaxis])
        return after

    def source(self, name: str) -> dict[str, str]:
        """Which candidate answers under a model's name, and its version in the registry."""
        entry = self.bundle.manifest.models[name]  # type: ignore[index]
        return {"model": entry.candidate, "version": entry.version}

    def next_topics(self, learner: Learner, now_us: int) -> NDArray[np.float32]:
        """(slots,) probability of each topic being next."""
        name, history, corpus = "recommendation", learner.history, self.corpora["recommendation"]
        wanted = self.bundle.manifest.models["recommendation"].inputs
        given = {"inputs": history.recommendation_inputs(now_us, corpus)[np.newaxis]}
        if "topics" in wanted:
            given["topics"] = corpus.topics(history, now_us).reshape(1, -1)
        if "state" in wanted:
            given["state"] = learner.states[name]
        probability: NDArray[np.float32] = self.bundle.answer(name, given)["probability"][0]
        return probability

    def success(self, learner: Learner, topic_id: int, now_us: int) -> list[float]:
        """Expected success at easy, medium and hard, whatever the item."""
        name, history, corpus = "difficulty", learner.history, self.corpora["difficulty"]
        wanted = self.bundle.manifest.models["difficulty"].inputs
        given = {
            "inputs": history.difficulty_inputs(topic_id, now_us, corpus)[np.newaxis],
            "topic": np.array([[corpus.statistics.slot_of(topic_id)]], np.float32),
        }
        if "free" in wanted:
            free, item = corpus.attempted(history, topic_id, now_us)
            given |= {"free": free[np.newaxis], "item": item[np.newaxis]}
        if "context" in wanted:
            given["context"] = history.recommendation_inputs(now_us, corpus)[np.newaxis]
        if "state" in wanted:
            given["state"] = learner.states[name]
        return [float(each) for each in self.bundle.answer(name, given)["success"][0]]


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
    if not 0 < slot <= len(probability):  # a newcomer, for a model that knows none
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
        self.challenger: Model | None = None
        self.arms = Arms(0.0)
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
        model = self._able("recommendation")
        learner, reason = self._learner(user_id, model)
        if model is None:
            return self._in_curriculum_order(num_recommendations, NO_MODEL)
        corpus = model.corpora["recommendation"]
        if learner is None:
            events = corpus.statistics.topic_events
            share = events / max(events.sum(), 1)
            ranked = self._ranked(corpus, share, num_recommendations)
            return ranked | {"model": "most_popular", "version": None, "fallback": reason}
        probability = model.next_topics(learner, self._clock())
        last = corpus.slots[learner.history.last_topics(1)[0] or 0]
        ranked = self._ranked(corpus, _without(probability, last), num_recommendations)
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
        model = self._able("difficulty")
        learner, reason = self._learner(user_id, model)
        topic = {"topic_id": topic_id, "title": self.catalogue.title(topic_id)}
        if model is None:
            return {
                "difficulty": LEVELS[0],  # nothing is known: the level most likely to be passed
                "success_probability": None,
                "levels": dict.fromkeys(LEVELS),
                **topic,
                **{"model": "easiest_first", "version": None, "fallback": NO_MODEL},
            }
        nobody = Learner(History.new(), model.start())
        success = model.success(learner or nobody, topic_id, self._clock())
        known = model.corpora["difficulty"].statistics.slot_of(topic_id)
        level = suggest_level(success)
        return {
            "difficulty": LEVELS[level],
            "success_probability": success[level],
            "levels": dict(zip(LEVELS, success, strict=True)),
            **topic,
            **model.source("difficulty"),
            "fallback": reason or (None if known else UNKNOWN_TOPIC),
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
        return self.model if self.model and name in self.model.corpora else None

    def _learner(self, user_id: str, model: Model | None) -> tuple[Learner | None, str | None]:
        try:
            learner = self.learners.learner(user_id, model)
        except StorageUnavailable:
            return None, LOG_UNREACHABLE
        if learner is None or not learner.history.events:
            return None, UNKNOWN_LEARNER
        return learner, None

    def _in_curriculum_order(self, count: int, reason: str) -> dict[str, Any]:
        topics = [(topic_id, None) for topic_id in islice(self.catalogue.titles, count)]
        source = {"model": "curriculum_order", "version": None, "fallback": reason}
        return self._listed(topics) | source

    def _ranked(self, corpus: Corpus, probability: NDArray[Any], count: int) -> dict[str, Any]:
        """The most probable topics; a slot that no topic has yet is none."""
        best = np.argsort(-probability, kind="stable")
        offered = (
            (corpus.topic_ids[i], float(probability[i])) for i in best if probability[i] >= 0
        )
        named = ((topic, each) for topic, each in offered if topic is not None)
        return self._listed(islice(named, count))

    def _listed(self, topics: Iterable[tuple[int, float | None]]) -> dict[str, Any]:
        return {
            "recommendations": [
                {"topic_id": each, "title": self.catalogue.title(each), "probability": probability}
                for each, probability in topics
            ]
        }
