"""Each check of an exported network can refuse, by hand; real networks are measured in turns."""

import itertools

import pytest

from sensei.bundle.bundle_format import LiteRtNetwork
from training.release.export import Exported
from training.release.serving_checks import (
    CALLS,
    PARITY,
    QUICK_MS,
    ROUNDS,
    SLOWER,
    SLOWEST_MS,
    Ports,
    fitness,
    latency,
    milliseconds,
    parity,
    ports_of,
    schema,
)

RECOMMENDATION = {"inputs": 20, "topics": 5 * 16, "state": 8}
DIFFICULTY = {"inputs": 4, "topic": 1, "free": 18, "item": 3, "context": 20, "state": 8}
STEP = {"step_inputs": {"state": 8, "event": 9}, "step_outputs": {"next_state": 8}}


def ranks(inputs=RECOMMENDATION, outputs=None, **step):
    return Ports(inputs, outputs or {"probability": 5}, **(step or STEP))


def test_what_serving_computes_and_reads_is_the_schema():
    assert schema("recommendation", ranks(), 4, 5).passed
    assert schema("recommendation", Ports({"inputs": 20}, {"probability": 4}), 4, 5).passed
    answers = {"success": 3, "levels": 3, "overall": 1}
    assert schema("difficulty", Ports(DIFFICULTY, answers, **STEP), 4, 5).passed


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        (ranks({"inputs": 21}), "input inputs: expected 20 numbers, got 21"),
        (ranks({"topics": 4 * 16}), "input topics: expected 80 numbers, got 64"),
        (ranks({"weather": 2}), "input weather: expected 0 numbers, got 2"),
        (ranks({"state": 9}), "input state: expected 8 numbers, got 9"),
        (ranks(outputs={"probability": 3}), "a slot for each of 4 topics, got 3"),
        (ranks(outputs={"scores": 5}), "a slot for each of 4 topics, got 0"),
        (
            ranks(step_inputs={"state": 8, "event": 8}, step_outputs={"next_state": 8}),
            "step: expected event (9), state (8), got event (8), state (8)",
        ),
    ],
)
def test_other_names_and_widths_of_a_recommender_are_refused(ports, said):
    check = schema("recommendation", ports, 4, 5)
    assert not check.passed
    assert said in check.said


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"success": 2}, "output success: expected 3 levels, got 2"),
        ({"levels": 3}, "output success: expected 3 levels, got 0"),
        ({"success": 3, "levels": 1}, "output levels: expected 3 levels, got 1"),
    ],
)
def test_other_answers_of_a_difficulty_model_are_refused(outputs, said):
    check = schema("difficulty", Ports({"inputs": 4}, outputs), 4, 5)
    assert not check.passed
    assert said in check.said


def test_a_difficulty_model_that_reads_an_item_also_answers_without_one():
    check = schema("difficulty", Ports({"inputs": 4, "item": 3}, {"success": 3}), 4, 5)
    assert not check.passed
    assert "output levels: expected one without an item in addition to the one" in check.said


def test_answers_unlike_those_of_keras_are_refused():
    assert parity(0.0).passed
    assert parity(PARITY).passed
    assert not parity(2 * PARITY).passed
    assert not parity(float("nan")).passed


def test_an_answer_may_take_five_times_as_long_as_the_champions():
    champion = 2 * QUICK_MS / SLOWER
    assert latency(2 * QUICK_MS, champion).passed
    assert not latency(2.1 * QUICK_MS, champion).passed


def test_quick_answers_pass_against_any_champion_and_slow_ones_against_none():
    assert latency(QUICK_MS, 0.001).passed
    assert latency(SLOWEST_MS, None).passed
    assert not latency(1.1 * SLOWEST_MS, None).passed
    assert not latency(1.1 * SLOWEST_MS, SLOWEST_MS).passed


def exported(taught, model_name, parity=0.0):
    return Exported(taught.exported[model_name], parity)


def test_a_trained_network_passes_alone_and_compared_with_itself(taught):
    for model_name, network in taught.exported.items():
        statistics = taught.prepared.parts(model_name).statistics
        size = len(statistics.topic_ids), statistics.width
        for champion in (None, network):
            checks = fitness(model_name, exported(taught, model_name), *size, champion)
            assert [check.name for check in checks] == ["schema", "parity", "latency"]
            assert all(check.passed for check in checks), checks


def test_ports_are_those_of_both_files(taught):
    ports = ports_of(taught.exported["difficulty"])
    assert ports.inputs["state"] == ports.step_inputs["state"] == ports.step_outputs["next_state"]
    assert ports.outputs["success"] == 3
    assert not ports_of(LiteRtNetwork(taught.exported["difficulty"].read)).step_inputs


def test_a_network_of_more_topics_and_bad_parity_fails(taught):
    fits, agrees, _ = fitness(
        "recommendation", exported(taught, "recommendation", 2 * PARITY), 10**6, 10**6, None
    )
    assert not fits.passed
    assert not agrees.passed


def test_time_is_that_of_the_median_call_of_each_network(planted_bundle):
    network = LiteRtNetwork((planted_bundle / "recommendation.tflite").read_bytes())
    seconds = itertools.chain.from_iterable(
        (at, at + (0.002 if at // CALLS % 2 else 0.001) + (1.0 if at % 10 == 0 else 0.0))
        for at in range(2 * ROUNDS * CALLS)
    )
    assert [
        round(duration, 6) for duration in milliseconds([network] * 2, lambda: next(seconds))
    ] == [1, 2]
