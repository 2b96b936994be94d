"""Reasons in words: what they say is so."""

import pytest

from features.history import History
from sensei.curriculum import Topic
from serving.engine.reason_texts import ReasonContext, last_topic, pace, prerequisites
from serving.state.catalogue import Catalogue

DAY = 86_400_000_000
CATALOGUE = Catalogue.of(
    [
        Topic(topic_id=1, title="Hashes, salts and keys", domain="Cryptography"),
        Topic(topic_id=2, title="Ciphers", domain="Cryptography"),
        Topic(topic_id=3, title="Protocols", domain="Cryptography", prerequisites=(1, 2)),
    ]
)


def told(topic_id: int, studied: list[int]) -> ReasonContext:
    """A learner who studied a topic a day, the last one yesterday."""
    days = enumerate(studied, 1)
    history = History.of([("quiz_complete", each, 0.5, None, day * DAY) for day, each in days])
    return ReasonContext(topic_id, None, history, CATALOGUE, (len(studied) + 1) * DAY)


@pytest.mark.parametrize(
    ("topic_id", "studied", "said"),
    [
        (1, [2], "it has no prerequisites"),
        (3, [], "you have not studied any of its prerequisites"),
        (3, [1], "you have studied some of its prerequisites"),
        (3, [1, 2], "you have studied all its prerequisites"),
    ],
)
def test_what_a_topic_builds_on_is_said_as_it_is(
    topic_id: int, studied: list[int], said: str
) -> None:
    assert prerequisites(told(topic_id, studied)) == said


def test_a_title_stands_in_quotes_for_it_may_hold_commas() -> None:
    assert last_topic(told(2, [1])) == "you studied “Hashes, salts and keys” last"


@pytest.mark.parametrize(
    ("studied", "said"),
    [
        ([], "you have just started"),
        ([1], "you studied for the first time 1 day ago"),
        ([1, 2], "it fits how much you study: twice on 2 days, most recently 1 day ago"),
    ],
)
def test_how_much_was_studied_is_a_sentence(studied: list[int], said: str) -> None:
    assert pace(told(2, studied)) == said
