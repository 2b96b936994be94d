"""Listing of a version, from the tags that a run leaves."""

from types import SimpleNamespace

import pytest

from training.tracking.model_version import Version, judged


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, ""),
        ({"gate": "passed", "gain": "", "against": "none"}, "gate: passed"),
        (
            {"gate": "kept back", "gain": "-0.0065", "against": "9"},
            "gate: kept back, gain -0.0065 over 9",
        ),
    ],
)
def test_the_gate_verdict_is_summarised(tags: dict[str, str], said: str) -> None:
    assert judged(tags) == said


def test_a_version_without_tags_is_listed_too() -> None:
    entry = SimpleNamespace(version=3, tags={}, creation_timestamp=1_000)
    version = Version.of("difficulty", entry, ("champion",))
    assert (version.version, version.candidate, version.judged) == ("3", "", "")
    assert version.created_at.timestamp() == 1
