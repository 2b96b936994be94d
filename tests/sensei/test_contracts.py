"""The contract is what the documents say it is."""

from pathlib import Path

from sensei.contracts import DIFFICULTY_INPUTS, KINDS, RECOMMENDATION_INPUTS

DICTIONARY = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def test_twenty_and_four_inputs_with_unique_names():
    names = [i.name for i in (*RECOMMENDATION_INPUTS, *DIFFICULTY_INPUTS)]
    assert len(RECOMMENDATION_INPUTS) == 20
    assert len(DIFFICULTY_INPUTS) == 4
    assert len(set(names)) == len(names)


def test_data_dictionary_lists_every_kind_and_every_input_as_the_contract_does():
    text = DICTIONARY.read_text("utf-8")
    for kind in KINDS:
        assert f"`{kind}`" in text
    for inputs in (RECOMMENDATION_INPUTS, DIFFICULTY_INPUTS):
        for n, i in enumerate(inputs, 1):
            line = f"| {n} | `{i.name}` | {i.unit} | {i.low:g} .. {i.high:g} | {i.formula} |"
            assert line in text
