"""What a person who reviews a version reads and sees: words, figures beside baselines, plots."""

from collections.abc import Mapping
from pathlib import Path

from training import plots
from training.candidates import Candidate, Candidates
from training.result import Chosen, next_topic_table, success_table
from training.tracking import Contest
from training.trials import Measured


def contests(candidates: Candidates, tested: Measured, chosen: Chosen, split: str) -> list[Contest]:
    """Each model's candidates with their figures on the test part, and the chosen one in words.

    Args:
        candidates: what was trained.
        tested: scores on the test part.
        chosen: names of the chosen candidates.
        split: how the parts were made, in words.
    """
    tables = next_topic_table(tested)
    ranking = {
        name: {f"{mode}_{metric}": v for mode in tables for metric, v in tables[mode][name].items()}
        for name in tables["all"]
    }
    name = chosen.recommendation
    assert name is not None, "a run always trains recommenders"
    words = _words(candidates.recommendation[name], tables["new"], "ndcg_at_5", split)
    found = [Contest("recommendation", candidates.recommendation, ranking, name, words)]
    if chosen.difficulty:
        name, success = chosen.difficulty, success_table(tested.success)
        words = _words(candidates.difficulty[name], success, "log_loss", split)
        found.append(Contest("difficulty", candidates.difficulty, success, name, words))
    return found


def _words(
    candidate: Candidate, table: Mapping[str, Mapping[str, float]], metric: str, split: str
) -> str:
    ours = table[candidate.name]
    others = ", ".join(f"{n} {f[metric]:.3f}" for n, f in table.items() if n != candidate.name)
    return (
        f"**{candidate.name}**. {candidate.description}\n\n"
        f"On the test part ({int(ours['n']):,} targets, split by {split}) {metric} is "
        f"{ours[metric]:.3f}; beside it: {others}."
    )


def headline(contest: Contest) -> str:
    """The leading figure of the chosen candidate, as a list of versions shows it."""
    figures = contest.metrics[contest.chosen]
    if contest.model == "difficulty":
        return f"log loss {figures['log_loss']:.4f}, AUC {figures['auc']:.3f}"
    new, every = figures["new_ndcg_at_5"], figures["all_ndcg_at_5"]
    return f"NDCG@5 {new:.4f} on new topics, {every:.4f} on all"


def draw(folder: Path, candidates: Candidates, tested: Measured) -> None:
    """Draw training curves, hit rate by k, and reliability as PNG files into a folder."""
    for candidate in (*candidates.recommendation.values(), *candidates.difficulty.values()):
        if candidate.curves:
            name = f"{candidate.name}_{candidate.vector}"
            plots.training_curves(
                folder / f"curves_{name}.png", f"{name}: training", candidate.curves
            )
    for mode in ("all", "new"):
        ranks = {n: s.rank(mode) for n, s in tested.next_topic.items()}
        plots.hit_rate_by_k(folder / f"hit_rate_{mode}.png", f"Next topic, {mode} targets", ranks)
    if tested.success:
        answers = {n: s.answers for n, s in tested.success.items()}
        plots.reliability(folder / "reliability.png", "Expected and observed success", answers)
