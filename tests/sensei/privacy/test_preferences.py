import pytest

from sensei.errors import LearnerErased
from sensei.events.log import Log
from sensei.privacy.erasure import erase
from sensei.privacy.preferences import set_style_override, style_override


def test_a_choice_is_kept_replaced_and_taken_back_each_raising_the_revision(log: Log) -> None:
    assert style_override(log.engine, "ada") is None
    for revision, style in enumerate(["visual", "mixed", None], 1):
        set_style_override(log.engine, "ada", style)
        assert style_override(log.engine, "ada") == style
        assert log.revision("ada") == revision
    assert style_override(log.engine, "bob") is None


def test_an_erased_learner_chooses_nothing(log: Log) -> None:
    erase(log.engine, "ada", [])
    with pytest.raises(LearnerErased):
        set_style_override(log.engine, "ada", "visual")
    assert log.revision("ada") is None
