"""Training dataset: from a split log to the examples of its three parts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.batch import Events, Examples, examples, joined
from features.corpus import statistics as corpus
from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.popularity import SlotPopularity
from features.corpus.statistics import Statistics
from features.corpus.transitions import PAIRS
from features.events import together
from sensei.errors import NotEnoughData
from sensei.model_name import ModelName
from training.data.log_statistics import HELD_OUT_SALT, MIN_TARGETS, LogStatistics
from training.data.row_chunks import RowChunks
from training.data.shards import Log, hashes
from training.data.splits import TEST, TRAIN, VALIDATE, Rule, SplitLabels, folds
from training.data.time_split import of_attempts, of_offered

FOLDS = 5
"""Number of learner folds; training rows of a fold use the statistics of the other folds."""


@dataclass(frozen=True)
class Splits:
    """Targets of the three parts, and the statistics used to compute their inputs.

    Attributes:
        statistics: corpus tables of the events known in training.
        training: training targets, one chunk per shard. Their inputs use statistics of learners
            in other folds only.
        learned: (T,) number of training targets per topic.
        validate: targets for model selection.
        test: targets for the final test, opened once, after the selection. If the log does not fit
            into memory, validation and test targets come from whole learners chosen by hash. All
            events of these learners are in `test.events`. Each part then holds at most
            `log_statistics.HELD_OUT` targets.
        kind: description of the split: `time`, `learner` or `column`.
    """

    statistics: Statistics
    training: RowChunks[Examples]
    learned: NDArray[np.int64]
    validate: Examples
    test: Examples
    kind: str

    @property
    def train(self) -> Examples:
        """Training targets of the first shard: all of them if the log fits into memory.

        Scalers are fitted on these rows. Of a log in shards, each access reads them again.
        """
        return self.training.first

    @property
    def topics(self) -> int:
        """Number of topics with a slot."""
        return len(self.statistics.topic_ids)

    @property
    def counts(self) -> dict[str, int]:
        """Number of targets per part."""
        return {
            "train": len(self.training),
            "validate": len(self.validate),
            "test": len(self.test),
        }


@dataclass(frozen=True)
class Dataset(Splits):
    """Targets of the recommendation model and of the difficulty model.

    Attributes:
        attempts: scored attempts; None if no difficulty model can be trained.
        no_success: reason why no difficulty model can be trained; empty if one can.
        log: all events.
        census: statistics of the log.
    """

    attempts: Splits | None
    no_success: str
    log: Log
    census: LogStatistics

    def parts(self, model_name: ModelName) -> Splits | None:
        """Return the targets of a model; None if it cannot be trained."""
        return self if model_name == ModelName.RECOMMENDATION else self.attempts

    @property
    def scored_share(self) -> float:
        """Share of the learners whose validation and test targets are used, in (0, 1]."""
        return self.census.share if len(self.log) > 1 else 1.0

    def extremes(self) -> dict[str, NDArray[np.float32]]:
        """Return the training inputs of each model: all rows, or the extreme rows of each shard.

        If the log is in shards, a shard contributes one row per input for its lowest value and one
        for its highest value. A NaN counts as both.
        """
        chunks: dict[str, list[NDArray[np.float32]]] = {name.value: [] for name in ModelName}
        for rows in self.training:
            for model_name, inputs_of_chunks in chunks.items():
                inputs = getattr(rows, model_name)
                if len(self.log) > 1:
                    inputs = inputs[np.append(inputs.argmin(axis=0), inputs.argmax(axis=0))]
                inputs_of_chunks.append(inputs)
        return {model_name: np.concatenate(inputs) for model_name, inputs in chunks.items()}


def prepare(
    events: Events, split: SplitLabels, outline: CatalogueFeatures | None = None
) -> Dataset:
    """Prepare a log in memory whose split is known; see `prepare_log`."""
    return prepare_log((events,), lambda _: split, outline)


def prepare_log(log: Log, rule: Rule, outline: CatalogueFeatures | None = None) -> Dataset:
    """Fit the statistics and compute the examples of every part.

    Args:
        log: the encoded log.
        rule: assigns each event to a part.
        outline: topics of the catalogue with their domains and prerequisites. Topics without any
            event are treated as new topics. Topics that are not offered get no slot and are no
            targets; events on them are history.

    Raises:
        NotEnoughData: the log has one learner, one topic, or a part without targets.
    """
    outline = outline or CatalogueFeatures()
    rule = of_offered(rule, outline.domains)
    census = LogStatistics.of(log, rule)
    census.check()
    source = _Source(log, _held_out(log, census), folds(log, FOLDS), census, outline)
    parts = source.parts(rule, census)
    attempts, no_success = _attempts(source, rule)
    return Dataset(**vars(parts), attempts=attempts, no_success=no_success, log=log, census=census)


def _held_out(log: Log, census: LogStatistics) -> Events:
    """Return all events of the learners whose validation and test targets are used."""
    if len(log) == 1:
        return log[0]
    last = census.last_hash
    return together(
        [events.of_learners(hashes(events.user_ids, HELD_OUT_SALT) <= last) for events in log]
    )


@dataclass(frozen=True)
class _Source:
    """Inputs from which the parts of both models are built."""

    log: Log
    held_out: Events
    fold: Callable[[Events], NDArray[np.int64]]
    census: LogStatistics
    outline: CatalogueFeatures

    def parts(self, rule: Rule, census: LogStatistics, continuations: bool = True) -> Splits:
        """Build statistics and examples by a rule.

        Args:
            rule: assigns each event to a part.
            census: log statistics under that rule.
            continuations: if True, transitions between topics are counted as well.
        """
        by_fold = self._statistics(rule, continuations)
        offered = self.outline.domains
        tables = corpus.merged(by_fold, offered=offered)
        others = [
            corpus.merged(
                [*by_fold[:left_out], *by_fold[left_out + 1 :]], tables.topic_ids, offered=offered
            )
            for left_out in range(FOLDS)
        ]
        recency = self.census.daily.recency(tables, offered)
        split = rule(self.held_out)
        later = examples(self.held_out, tables, split.part > TRAIN, recency, self.outline)
        validate, test = (later.take(split.part[later.event] == p) for p in (VALIDATE, TEST))
        training = RowChunks(
            tuple(census.counts[:, TRAIN].tolist()),
            lambda shard: self._cross_fitted(self.log[shard], rule, others, recency),
        )
        if len(self.log) == 1:
            training = RowChunks.held(training.first, len(training))
        learned = np.zeros(len(tables.topic_ids) + 1, np.int64)
        learned[tables.slots_of(census.topic_ids)] = census.learned
        return Splits(tables, training, learned[1:], validate, test, census.kind)

    def _statistics(self, rule: Rule, continuations: bool) -> list[Statistics]:
        """Return the statistics of each fold of learners, summed over the log."""
        tables: list[Statistics | None] = [None] * FOLDS
        for events in self.log:
            is_known, fold = rule(events).known, self.fold(events)
            for number in range(FOLDS):
                of_shard = corpus.fit(
                    events, is_known & (fold == number), events.topic_ids, continuations
                )
                before = tables[number]
                if before is not None:
                    topic_ids = np.union1d(before.topic_ids, of_shard.topic_ids)
                    of_shard = corpus.merged([before, of_shard], topic_ids, pairs=2 * PAIRS)
                tables[number] = of_shard
        return [statistics for statistics in tables if statistics is not None]

    def _cross_fitted(
        self, events: Events, rule: Rule, others: list[Statistics], recency: SlotPopularity
    ) -> Examples:
        """Return training examples; each uses statistics of learners outside its own fold.

        Leaving out only the learner themselves would leak the outcome. On a topic that each learner
        attempts once, those who passed would see a slightly lower rate than those who failed. A
        network would learn that inverted signal.
        """
        train, fold = rule(events).part == TRAIN, self.fold(events)
        return joined(
            [
                examples(events, table, train & (fold == index), recency, self.outline)
                for index, table in enumerate(others)
            ]
        )


def _attempts(source: _Source, rule: Rule) -> tuple[Splits | None, str]:
    """Return the scored attempts by part, or the reason why no success model can be trained."""
    if not source.census.attempts:
        return None, "no quiz or practice attempt in the log"
    if not source.census.scored:
        return None, "no attempt carries a score"
    try:
        attempts = of_attempts(source.log, rule)
    except NotEnoughData:
        return None, "the scored attempts fall on fewer than three different times"
    census = LogStatistics.of(source.log, attempts)
    failed, passed = census.outcomes
    if failed + passed < MIN_TARGETS:
        return None, f"{failed + passed} scored attempts in the training part, {MIN_TARGETS} needed"
    if not failed or not passed:
        outcome = "passed" if passed else "failed"
        return None, f"every attempt of the training part was {outcome}"
    parts = source.parts(attempts, census, continuations=False)
    for name, rows in (("validation", parts.validate), ("test", parts.test)):
        if not len(rows):
            return None, f"no scored attempt in the {name} part"
    return parts, ""
