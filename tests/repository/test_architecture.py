"""The picture of the packages shows what import-linter enforces."""

import re
from itertools import pairwise

from tools.source_tree import ROOT, installed_packages, project

PAGE = ROOT / "docs" / "architecture.md"


def floors() -> list[set[str]]:
    """Layers of the contract over the top-level packages, the highest first."""
    packages = set(installed_packages(ROOT))
    for contract in project(ROOT)["tool"]["importlinter"]["contracts"]:
        layers = [set(re.split(r"\s*[|:]\s*", layer)) for layer in contract.get("layers", [])]
        if set().union(*layers) == packages:
            return layers
    raise AssertionError("expected a contract of layers over all top-level packages")


def drawn(text: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Nodes and arrows of the first Mermaid picture."""
    match = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert match, "expected a Mermaid picture"
    nodes = set(re.findall(r"^\s*(\w+)\[", match[1], re.MULTILINE))
    return nodes, set(re.findall(r"^\s*(\w+) --> (\w+)\s*$", match[1], re.MULTILINE))


def test_the_picture_of_the_packages_has_the_arrows_of_the_import_contract() -> None:
    nodes, arrows = drawn(PAGE.read_text())
    expected = {
        (upper, lower) for above, below in pairwise(floors()) for upper in above for lower in below
    }
    assert nodes == set(installed_packages(ROOT))
    assert arrows == expected


def test_an_arrow_more_or_less_would_show() -> None:
    text = '```mermaid\nflowchart TD\n    a["A: first"]\n    b["B"]\n    a --> b\n```\n'
    assert drawn(text) == ({"a", "b"}, {("a", "b")})
