"""Tables of a planted result."""

from dataclasses import replace

from sensei.model_name import ModelName
from training.evaluation.result import Result
from training.reports.candidate_comparison import CandidateComparison
from training.reports.metric_tables import metric_tables


def test_a_table_marks_the_chosen_and_the_tied_models_and_has_intervals(result: Result) -> None:
    served_table, *_ = metric_tables(result, ModelName.DIFFICULTY)
    assert (served_table.key, served_table.title) == (
        "success-as-served",
        "Success, level known, no item: as served: 300",
    )
    tied, chosen = served_table.table.rows
    assert (tied[0], chosen[0]) == ("topic mean (tied)", "history network (chosen)")
    assert served_table.table.columns[3] == "log loss"
    assert chosen[3] == "0.510 [0.490, 0.530]"
    assert chosen[5] == "0.080"
    assert served_table.table.chosen == 1


def test_a_model_whose_only_answer_is_masked_is_left_out_where_the_topic_changes(
    result: Result,
) -> None:
    names = {
        t.key: [row[0] for row in t.table.rows]
        for t in metric_tables(result, ModelName.RECOMMENDATION)
    }
    assert "repeat last" in names["next-topic-all"]
    assert "repeat last" not in names["next-topic-new"]


def test_the_verdict_names_the_gain_over_the_best_counting_model_with_its_interval(
    result: Result,
) -> None:
    better = CandidateComparison(result, "recommendation").against_counting
    assert better == (
        "**Better than counting**: NDCG@5 where the topic changes 0.500 [0.480, 0.520]; gain "
        "+0.100 [+0.080, +0.120] over Markov, last topic, the best counting model."
    )
    tied = CandidateComparison(result, "difficulty").against_counting
    assert tied.startswith("**No better than counting**: log loss")
    selected = {"recommendation": "markov_1", "difficulty": None}
    counting_result = replace(result, data=result.data | {"selected": selected})
    verdict = CandidateComparison(counting_result, "recommendation").against_counting
    assert verdict.startswith("**A counting model is the best**: Markov, last topic")
