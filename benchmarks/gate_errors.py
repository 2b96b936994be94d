"""Benchmark of the gate: rate of promotions of challengers that are no better.

    python benchmarks/gate_errors.py OUT.jsonl [FIRST_SEED COUNT]

Each seed is a world. On some of its learners it trains a champion (the reference architecture), a
copy with another seed, and a model on shuffled labels. The other learners form groups, and each
group is a separate test window. On each window the gate decides about the champion offered to
itself, the two seeds offered to each other, and the model of shuffled labels. To show that the gate
can promote, the champion is also offered to a counting model. Two seeds are never equally good: all
other groups together show which one is better, and promoting the other one is an error.

One line per seed is appended to OUT, and the table is computed from all lines; seeds in OUT are not
run again.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from worlds import CATALOGUE, END, TOPICS, at_most, bundle_of, models_of

from features.batch import Events, Examples, encode, examples
from features.corpus.catalogue_features import CatalogueFeatures
from sensei.bundle.bundle_format import Bundle
from sensei.events.frames import from_arrow
from sensei.model_name import ModelName
from sensei.simulation import simulate
from training.candidates import Candidate
from training.data.dataset import Dataset, Splits, prepare
from training.data.time_split import split_by_time
from training.evaluation.protocol import measure
from training.release.champion_comparison import decide_all
from training.release.export import import_tensorflow

TRAINED, GROUP, GROUPS, DAYS = 200, 150, 20, 60
"""Number of training learners, learners per group, groups, and days."""

ARCHITECTURE, COUNTING = "reference", ("most_popular", "global_mean")
MARGIN = 0.0
SEEDS = ("another seed", "the first seed")
"""Offers in which the two seeds are offered to each other."""

OFFERS = ("the champion itself", *SEEDS, "shuffled labels", "a better one")
MODELS = ("recommendation", "difficulty")

Outcome = dict[str, dict[str, tuple[bool, float]]]
"""Offer -> model -> (True if promoted, gain)."""


def shuffled(prepared: Dataset, seed: int) -> Dataset:
    """Shuffle the inputs among the targets of each part, so that the labels are random."""
    rng = np.random.default_rng(seed)

    def permuted(rows: Examples) -> Examples:
        order = rng.permutation(len(rows))
        return replace(
            rows, recommendation=rows.recommendation[order], difficulty=rows.difficulty[order]
        )

    def parts(splits: Any) -> Any:
        return replace(
            splits, training=splits.training.map(permuted), validate=permuted(splits.validate)
        )

    return replace(parts(prepared), attempts=parts(prepared.attempts))


def groups(events: Events, prepared: Dataset) -> Iterator[Dataset]:
    """Yield the prepared data per group, with the group's later events as test part."""
    learner_index = np.arange(len(events.user_ids))

    def with_later_test(splits: Splits, group_events: Events) -> Any:
        targets = group_events.time >= splits.test.time.min()
        if splits is not prepared:
            targets &= ~np.isnan(group_events.score)
        test = splits.test
        return replace(
            splits,
            test=examples(group_events, splits.statistics, targets, test.recency, test.outline),
        )

    for first in range(TRAINED, TRAINED + GROUP * GROUPS, GROUP):
        group_events = events.of_learners(
            (learner_index >= first) & (learner_index < first + GROUP)
        )
        yield replace(
            with_later_test(prepared, group_events),
            attempts=with_later_test(prepared.attempts, group_events),
        )  # type: ignore[arg-type]


def gate_decisions(
    champion: Bundle, networks: Mapping[ModelName, Candidate], prepared: Dataset, seed: int
) -> dict[str, tuple[bool, float]]:
    """Let the gate decide about the challengers of both models."""
    candidates = {name: {candidate.name: candidate} for name, candidate in networks.items()}
    choice = {name: candidate.name for name, candidate in networks.items()}
    measured = measure(candidates, prepared, "test")
    decisions = decide_all(champion, prepared, measured, choice, MARGIN, seed)
    return {model: (decision.promote, decision.gain) for model, decision in decisions.items()}


def world(seed: int) -> list[Outcome]:
    """Compute the outcome of each group of one world."""
    learners = TRAINED + GROUP * GROUPS
    events = encode(from_arrow(simulate(learners, DAYS, seed, TOPICS, END)))
    training_events = events.of_learners(np.arange(learners) < TRAINED)
    prepared = prepare(
        training_events, split_by_time(training_events), CatalogueFeatures.of(CATALOGUE.topics)
    )
    first = models_of(prepared, seed, ARCHITECTURE)
    second_seed = models_of(prepared, seed + 10_000, ARCHITECTURE)
    blind = models_of(shuffled(prepared, seed), seed + 20_000, ARCHITECTURE)
    with TemporaryDirectory() as folder:
        champion = bundle_of(prepared, first, Path(folder), "1")
        second = bundle_of(prepared, second_seed, Path(folder), "2")
        weak = bundle_of(prepared, models_of(prepared, seed, *COUNTING), Path(folder), "0")
        offers = (
            (champion, first),
            (champion, second_seed),
            (second, first),
            (champion, blind),
            (weak, first),
        )
        return [
            dict(
                zip(OFFERS, [gate_decisions(*offer, group, seed) for offer in offers], strict=True)
            )
            for group in groups(events, prepared)
        ]


def table(worlds: list[list[Outcome]]) -> str:
    """Format the promotions with upper bounds as Markdown."""
    lines = [
        "| offered | model | offers | promoted | rate | 95 % upper bound |",
        "|---|---|---|---|---|---|",
    ]
    for offer in ("the champion itself", "shuffled labels", "a better one"):
        for model in MODELS:
            cells = [group[offer][model] for groups in worlds for group in groups]
            lines.append(_row(offer, model, [yes for yes, _ in cells]))
    for model in MODELS:
        better, worse = copies(worlds, model)
        lines.append(_row("another seed, no better elsewhere", model, worse))
        lines.append(_row("another seed, better elsewhere", model, better))
    return "\n".join(lines)


def copies(worlds: list[list[Outcome]], model: str) -> tuple[list[bool], list[bool]]:
    """Split the promotions of seeds: better on all other groups together, and not better.

    Only other groups count, so that chance in a group does not decide about its own error.
    """
    better, worse = [], []
    for groups in worlds:
        for offer in SEEDS:
            gains = np.array([group[offer][model][1] for group in groups])
            elsewhere = (gains.sum() - gains) / (len(gains) - 1)
            for group, gain in zip(groups, elsewhere, strict=True):
                (better if gain > 0 else worse).append(group[offer][model][0])
    return better, worse


def _row(offer: str, model: str, promoted: list[bool]) -> str:
    count, trials = sum(promoted), len(promoted)
    bound = at_most(count, trials)
    return f"| {offer} | {model} | {trials} | {count} | {count / trials:.1%} | {bound:.1%} |"


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("first_seed", type=int, nargs="?", default=100)
    parser.add_argument("count", type=int, nargs="?", default=10)
    options = parser.parse_args()
    out = options.out
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    import_tensorflow()
    for seed in range(options.first_seed, options.first_seed + options.count):
        if seed not in {row["seed"] for row in rows}:
            rows.append({"seed": seed, "groups": world(seed)})
            with out.open("a") as file:
                print(json.dumps(rows[-1]), file=file)
            print(seed, flush=True)
    print(table([row["groups"] for row in rows]))


if __name__ == "__main__":
    main()
