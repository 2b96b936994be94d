"""Exported networks are measured: what LiteRT says of them, and in turns."""

import itertools

from sensei.bundle.bundle_format import LiteRtNetwork
from training.release.export import Exported
from training.release.network_checks import CALLS, ROUNDS, fitness, milliseconds, ports_of
from training.release.serving_checks import PARITY


def exported(taught, model, parity=0.0):
    return Exported(taught.exported[model], parity)


def test_a_trained_network_passes_and_so_it_does_beside_itself(taught):
    for model, network in taught.exported.items():
        statistics = (
            taught.prepared if model == "recommendation" else taught.prepared.attempts
        ).statistics
        size = len(statistics.topic_ids), statistics.width
        for champion in (None, network):
            checks = fitness(model, exported(taught, model), *size, champion)
            assert [check.name for check in checks] == ["schema", "parity", "latency"]
            assert all(check.passed for check in checks), checks


def test_ports_are_those_of_both_files(taught):
    ports = ports_of(taught.exported["difficulty"])
    assert ports.inputs["state"] == ports.step_inputs["state"] == ports.step_outputs["next_state"]
    assert ports.outputs["success"] == 3
    assert not ports_of(LiteRtNetwork(taught.exported["difficulty"].read)).step_inputs


def test_a_network_of_more_topics_and_bad_parity_fails(taught):
    schema, parity, _ = fitness(
        "recommendation", exported(taught, "recommendation", 2 * PARITY), 10**6, 10**6, None
    )
    assert not schema.passed
    assert not parity.passed


def test_time_is_that_of_the_median_call_of_each_network(planted_bundle):
    network = LiteRtNetwork((planted_bundle / "recommendation.tflite").read_bytes())
    seconds = itertools.chain.from_iterable(
        (at, at + (0.002 if at // CALLS % 2 else 0.001) + (1.0 if at % 10 == 0 else 0.0))
        for at in range(2 * ROUNDS * CALLS)
    )
    assert [round(each, 6) for each in milliseconds([network] * 2, lambda: next(seconds))] == [1, 2]
