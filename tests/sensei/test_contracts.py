"""The contract is what the documents say it is."""

import hashlib
import re
from pathlib import Path

from features.history import FOLD_VERSION
from sensei import contracts
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    EVENT_INPUTS,
    ITEM_INPUTS,
    KINDS,
    LEVELS,
    PASS_SCORE,
    RECOMMENDATION_INPUTS,
    STRONG_SCORE,
    SUCCESS_INPUTS,
    TOPIC_INPUTS,
)

ROOT = Path(__file__).parents[2]
DICTIONARY = ROOT / "docs" / "data-dictionary.md"
INPUTS = (
    RECOMMENDATION_INPUTS,
    DIFFICULTY_INPUTS,
    EVENT_INPUTS,
    TOPIC_INPUTS,
    SUCCESS_INPUTS,
    ITEM_INPUTS,
)

NAMED = re.compile(r"\((?:[\w *]+, )*(\d+)\)[^.()]{0,40}`contracts\.(\w+_INPUTS)`")
"""A shape and the contract whose length it ends in."""

KEYED = re.compile(r'"(event|topics|free|item|context)": \(n, (?:width \* )?(\d+)\)')
"""A named input of a network and its width."""

UNROLLED = re.compile(r"\((?:n, l|learners, longest), (\d+)\)")
"""Events of learners, one after the other."""

WIDTHS = {
    "event": EVENT_INPUTS,
    "topics": TOPIC_INPUTS,
    "free": SUCCESS_INPUTS,
    "item": ITEM_INPUTS,
    "context": RECOMMENDATION_INPUTS,
}


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


def shapes() -> list[tuple[str, str, int, int]]:
    """Module, what is shaped, number in its docstring, number in the contract."""
    seen = []
    for package in ("sensei", "features", "training", "serving", "monitoring"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text("utf-8")
            name = str(path.relative_to(ROOT))
            seen += [(name, c, int(n), len(getattr(contracts, c))) for n, c in NAMED.findall(text)]
            seen += [(name, k, int(n), len(WIDTHS[k])) for k, n in KEYED.findall(text)]
            seen += [(name, "events", int(n), len(EVENT_INPUTS)) for n in UNROLLED.findall(text)]
    return seen


def test_shapes_in_docstrings_are_those_of_the_contract():
    assert len(shapes()) > 15
    assert [shape for shape in shapes() if shape[2] != shape[3]] == []


PINNED = {3: "95958190882795de"}
"""Fold version -> digest of the contract that its bundles were trained by."""


def test_inputs_change_only_with_the_fold_version():
    """A bundle trained by other inputs must be refused, so they may not change under one version.

    If only words changed, write the new digest here; if a meaning did, raise `FOLD_VERSION` too.
    """
    said = repr((INPUTS, KINDS, LEVELS, PASS_SCORE, STRONG_SCORE))
    assert {FOLD_VERSION: hashlib.sha256(said.encode()).hexdigest()[:16]} == PINNED
