"""A bundle in use: what its models read of a learner, and what they answer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.corpus.context import Corpus
from features.corpus.popularity import SlotPopularity
from features.corpus.statistics import Statistics
from features.history import KIND_CODES, History
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import LEARNING_KINDS
from serving.engine.reasons import Counterfactuals
from serving.state.folded_learner import Learner, States

if TYPE_CHECKING:
    from sensei.events.log import Event

Inputs = dict[str, NDArray[np.float32]]
"""Name -> (n, width), as a model reads it."""

Answers = dict[str, NDArray[np.float32]]


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
            found[name] = Corpus(statistics, SlotPopularity.nothing(statistics))
        return cls(bundle, found)

    def knowing(self, lately: Callable[[Statistics], Corpus]) -> "Model":
        """The same with what happened since the statistics of each model."""
        found = {name: lately(corpus.statistics) for name, corpus in self.corpora.items()}
        return Model(self.bundle, found)

    @property
    def digest(self) -> str:
        """The bundle's."""
        return self.bundle.digest

    @property
    def trained_until(self) -> int:
        """Last moment that training of the earlier model saw, microseconds since 1970."""
        found = (int(each.statistics.trained_until) for each in self.corpora.values())
        return min(found, default=0)

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
                history,
                kind,
                event.topic_id,
                score,
                event.timestamp,
                event.item_id,
                event.difficulty,
            )
            after[name] = self.bundle.advance(name, state, read[np.newaxis])
        return after

    def source(self, name: str) -> dict[str, str]:
        """Which candidate answers under a model's name, and its version in the registry."""
        entry = self.bundle.manifest.models[name]  # type: ignore[index]
        return {"model": entry.candidate, "version": entry.version}

    def wants(self, name: str) -> Mapping[str, int]:
        """Names and widths of what a model reads."""
        return self.bundle.manifest.models[name].inputs  # type: ignore[index]

    @cached_property
    def taken(self) -> NDArray[np.bool_]:
        """(slots,) whether a topic has the slot of the recommendation model."""
        ids = self.corpora["recommendation"].topic_ids
        width = self.bundle.manifest.models["recommendation"].outputs["probability"]
        return np.array([each is not None for each in ids[:width]], np.bool_)

    @cached_property
    def counterfactuals(self) -> Counterfactuals:
        """The causes for which the recommendation model can speak."""
        return Counterfactuals(self.wants("recommendation"))

    def next_topic_inputs(self, learner: Learner, now_us: int) -> Inputs:
        """(1, width) each: what the recommendation model reads."""
        name, history, corpus = "recommendation", learner.history, self.corpora["recommendation"]
        wanted = self.wants(name)
        given = {"inputs": history.recommendation_inputs(now_us, corpus)[np.newaxis]}
        if "topics" in wanted:
            given["topics"] = corpus.topics(history, now_us).reshape(1, -1)
        if "state" in wanted:
            given["state"] = learner.states[name]
        return given

    def next_topics(self, learner: Learner, now_us: int) -> NDArray[np.float32]:
        """(slots,) probability of each topic being next."""
        found: NDArray[np.float32] = self.probabilities(self.next_topic_inputs(learner, now_us))[0]
        return found

    def probabilities(self, given: Inputs) -> NDArray[np.float32]:
        """(n, slots) probability of each topic being next, for each row of inputs."""
        return self.bundle.answer("recommendation", given)["probability"]

    def success_inputs(self, learner: Learner, topic_ids: Sequence[int], now_us: int) -> Inputs:
        """(n, width) each: what the difficulty model reads of n topics, whatever the item."""
        name, history, corpus = "difficulty", learner.history, self.corpora["difficulty"]
        wanted = self.wants(name)
        read = [history.difficulty_inputs(each, now_us, corpus) for each in topic_ids]
        slots = [[corpus.statistics.slot_of(each)] for each in topic_ids]
        given = {"inputs": np.stack(read), "topic": np.array(slots, np.float32)}
        if "free" in wanted:
            pairs = [corpus.attempted(history, each, now_us) for each in topic_ids]
            given["free"] = np.stack([free for free, _ in pairs])
            given["item"] = np.stack([item for _, item in pairs])
        count = len(topic_ids)
        if "context" in wanted:
            context = history.recommendation_inputs(now_us, corpus)
            given["context"] = np.repeat(context[np.newaxis], count, axis=0)
        if "state" in wanted:
            given["state"] = np.repeat(learner.states[name], count, axis=0)
        return given

    def difficulty(self, given: Inputs) -> Answers:
        """What the difficulty model says: `success` (n, 3) and what else it has."""
        return self.bundle.answer("difficulty", given)

    def success(
        self, learner: Learner, topic_ids: Sequence[int], now_us: int
    ) -> NDArray[np.float32]:
        """(n, 3) expected success at easy, medium and hard of n >= 1 topics, whatever the item."""
        answer = self.difficulty(self.success_inputs(learner, topic_ids, now_us))
        return answer["levels"] if "levels" in answer else answer["success"]
