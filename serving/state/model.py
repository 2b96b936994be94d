"""Bundle in use: the inputs that its models read of a learner, and their outputs."""

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
from serving.state.folded_learner import Learner, States

if TYPE_CHECKING:
    from sensei.events.log import Event

Inputs = dict[str, NDArray[np.float32]]
"""Input name -> (n, width) float32, as a model reads it."""

Answers = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """Bundle with the corpus of each model; immutable, replaced as a whole.

    Attributes:
        bundle: networks and tables as trained.
        trained: statistics by model, as trained.
        corpora: corpus by model, with the names that the catalogue gives the topics.
    """

    bundle: Bundle
    trained: Mapping[str, Statistics]
    corpora: Mapping[str, Corpus]

    @classmethod
    def of(cls, bundle: Bundle) -> "Model":
        """Build a model from a bundle, without popularity after the training cutoff."""
        trained = {
            name: Statistics.from_arrays(arrays) for name, arrays in bundle.statistics.items()
        }
        corpora = {
            name: Corpus(statistics, SlotPopularity.nothing(statistics))
            for name, statistics in trained.items()
        }
        return cls(bundle, trained, corpora)

    def with_popularity(self, popularity: Callable[[Statistics], Corpus]) -> "Model":
        """Return a copy with the popularity after the training cutoff of each model."""
        corpora = {name: popularity(statistics) for name, statistics in self.trained.items()}
        return Model(self.bundle, self.trained, corpora)

    @property
    def digest(self) -> str:
        """Digest of the bundle."""
        return self.bundle.digest

    @property
    def trained_until(self) -> int:
        """Earliest training cutoff of the models, in microseconds since 1970; 0 without a model."""
        cutoffs = (int(corpus.statistics.trained_until) for corpus in self.corpora.values())
        return min(cutoffs, default=0)

    @cached_property
    def states_of(self) -> str:
        """Digests of all files that hidden states depend on; empty if no model has a state.

        The bundle's own digest is not used: two bundles with the same files have the same states.
        Topics renamed after training are appended, because events on them get other slots.
        """
        files = self.bundle.manifest.files
        return " ".join(
            f"{name} {files[entry.step]} {files[entry.statistics]}{self._renamed(name)}"
            for name, entry in sorted(self.bundle.manifest.models.items())
            if entry.step
        )

    def _renamed(self, name: str) -> str:
        ids, now = (
            tables.topic_ids for tables in (self.trained[name], self.corpora[name].statistics)
        )
        return "".join(f" {ids[at]}={now[at]}" for at in np.flatnonzero(ids != now))

    def start(self) -> States:
        """Return the hidden states of a learner without events."""
        states = {name: self.bundle.start(name) for name in self.corpora}
        return {name: state for name, state in states.items() if state is not None}

    def advance(self, states: States, history: History, event: "Event") -> States:
        """Return the hidden states after one event; a response to a recommendation changes none."""
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
        """Return the candidate that serves as a model, and its version in the registry."""
        entry = self.bundle.manifest.models[name]
        return {"model": entry.candidate, "version": entry.version}

    def wants(self, name: str) -> Mapping[str, int]:
        """Return the width of each input array that a model reads, by name."""
        return self.bundle.manifest.models[name].inputs

    @cached_property
    def input_widths(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Return name and width of each input array, by model."""
        return {name: tuple(self.wants(name).items()) for name in self.corpora}

    @cached_property
    def _input_names(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(self.wants(name)) for name in self.corpora}

    @cached_property
    def taken(self) -> NDArray[np.bool_]:
        """(slots,) true if a topic has the slot in the recommendation model and may be offered."""
        corpus = self.corpora["recommendation"]
        width = self.bundle.manifest.models["recommendation"].outputs["probability"]
        offers = corpus.outline.offers
        return np.array(
            [topic_id is not None and offers(topic_id) for topic_id in corpus.topic_ids[:width]],
            np.bool_,
        )

    def next_topic_inputs(self, learner: Learner, now_us: int) -> Inputs:
        """Return the inputs of the recommendation model, (1, width) each."""
        name, history, corpus = "recommendation", learner.history, self.corpora["recommendation"]
        wanted = self._input_names[name]
        inputs = {"inputs": history.recommendation_inputs(now_us, corpus)[np.newaxis]}
        if "topics" in wanted:
            inputs["topics"] = corpus.topics(history, now_us).reshape(1, -1)
        if "state" in wanted:
            inputs["state"] = learner.states[name]
        return inputs

    def next_topics(self, learner: Learner, now_us: int) -> NDArray[np.float32]:
        """Return (slots,) probability of each topic being next."""
        row: NDArray[np.float32] = self.probabilities(self.next_topic_inputs(learner, now_us))[0]
        return row

    def probabilities(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return (n, slots) probability of each topic being next, per row of inputs."""
        return self.bundle.answer("recommendation", inputs)["probability"]

    def success_inputs(self, learner: Learner, topic_ids: Sequence[int], now_us: int) -> Inputs:
        """Return the inputs of the difficulty model for n topics, independent of the item.

        Each array is (n, width).
        """
        name, history, corpus = "difficulty", learner.history, self.corpora["difficulty"]
        wanted = self._input_names[name]
        slots = [corpus.statistics.slots.get(topic_id, 0) for topic_id in topic_ids]
        inputs = {
            "inputs": history.difficulty_rows(topic_ids, now_us, corpus.statistics),
            "topic": np.array(slots, np.float32)[:, np.newaxis],
        }
        if "free" in wanted:
            pairs = [corpus.attempted(history, topic_id, now_us) for topic_id in topic_ids]
            inputs["free"] = np.stack([free for free, _ in pairs])
            inputs["item"] = np.stack([item for _, item in pairs])
        count = len(topic_ids)
        if "context" in wanted:
            context = history.recommendation_inputs(now_us, corpus)
            inputs["context"] = np.repeat(context[np.newaxis], count, axis=0)
        if "state" in wanted:
            inputs["state"] = np.repeat(learner.states[name], count, axis=0)
        return inputs

    def difficulty(self, inputs: Inputs) -> Answers:
        """Return the outputs of the difficulty model: `success` (n, 3), and others that it has."""
        return self.bundle.answer("difficulty", inputs)

    def success(
        self, learner: Learner, topic_ids: Sequence[int], now_us: int
    ) -> NDArray[np.float32]:
        """Return (n, 3) expected success at easy, medium and hard for n >= 1 topics.

        The values are independent of the item.
        """
        inputs = self.success_inputs(learner, topic_ids, now_us)
        answer = self.bundle.answer("difficulty", inputs)
        return answer["levels"] if "levels" in answer else answer["success"]
