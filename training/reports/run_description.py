"""Descriptions of a run's models for the reviewer: words, and metrics compared with baselines."""

from collections.abc import Mapping

from sensei.model_name import ModelName
from training.candidates import Candidate, Candidates
from training.evaluation.result import ChosenCandidates, next_topic_table, success_table
from training.evaluation.seed_runs import ModelScores
from training.tracking.run_logging import ModelSelection


def contests(
    candidates: Candidates, tested: ModelScores, chosen: ChosenCandidates, split: str
) -> list[ModelSelection]:
    """Return each model's candidates with their test metrics, and a description of the chosen one.

    Args:
        candidates: trained candidates.
        tested: scores on the test part.
        chosen: names of the chosen candidates.
        split: description of the split.
    """
    tables = next_topic_table(tested)
    ranking = {
        name: {f"{mode}_{metric}": v for mode in tables for metric, v in tables[mode][name].items()}
        for name in tables["all"]
    }
    name = chosen[ModelName.RECOMMENDATION]  # a run always trains recommenders
    words = _words(candidates[ModelName.RECOMMENDATION][name], tables["new"], "ndcg_at_5", split)
    selections = [
        ModelSelection("recommendation", candidates[ModelName.RECOMMENDATION], ranking, name, words)
    ]
    if chosen_difficulty := chosen.get(ModelName.DIFFICULTY):
        name, success = chosen_difficulty, success_table(tested.level_only)
        words = _words(candidates[ModelName.DIFFICULTY][name], success, "log_loss", split)
        with_item = success_table(tested.difficulty)
        figures = {
            model: {**level_figures, **{f"item_known_{m}": v for m, v in with_item[model].items()}}
            for model, level_figures in success.items()
        }
        selections.append(
            ModelSelection("difficulty", candidates[ModelName.DIFFICULTY], figures, name, words)
        )
    return selections


def _words(
    candidate: Candidate, table: Mapping[str, Mapping[str, float]], metric: str, split: str
) -> str:
    own_figures = table[candidate.name]
    other_figures = ", ".join(
        f"{n} {f[metric]:.3f}" for n, f in table.items() if n != candidate.name
    )
    return (
        f"**{candidate.name}**. {candidate.description}\n\n"
        f"On the test part ({int(own_figures['n']):,} targets, split by {split}) {metric} is "
        f"{own_figures[metric]:.3f}; compared with: {other_figures}."
    )


def headline(contest: ModelSelection) -> str:
    """Return the main metric of the chosen candidate, as shown in the list of versions."""
    figures = contest.metrics[contest.chosen]
    if contest.model == "difficulty":
        return f"log loss {figures['log_loss']:.4f}, AUC {figures['auc']:.3f}"
    new_ndcg, all_ndcg = figures["new_ndcg_at_5"], figures["all_ndcg_at_5"]
    return f"NDCG@5 {new_ndcg:.4f} on new topics, {all_ndcg:.4f} on all"
