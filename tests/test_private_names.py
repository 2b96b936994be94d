"""Private parts of libraries that we use: an upgrade that moves one fails here, and by name."""

import ast
import re
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("sensei", "features", "expectations", "monitoring", "serving", "training", "flows")

PRIVATE = {
    "_bentoml_sdk": "bentoml",
    "bentoml._internal": "bentoml",
    "prometheus_client.values": "prometheus-client",
    "evidently.legacy": "evidently",
    "great_expectations.render.view": "great-expectations",
}
"""Module whose parts are private, by underscore or by what its makers promise -> distribution."""

ATTRIBUTES = {
    "bentoml._internal.configuration.containers": ("BentoMLContainer",),
    "bentoml._internal.utils.analytics": ("usage_stats",),
    "great_expectations.render.view": ("DefaultJinjaPageView._get_template",),
    "prometheus_client.values": ("ValueClass", "MultiProcessValue"),
}
"""Module -> private names reached through an attribute, which an import alone does not show."""


def imported() -> set[tuple[str, str]]:
    """Module and name of every import in the code, also of those inside functions."""
    names = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names |= {(node.module, alias.name) for alias in node.names}
                elif isinstance(node, ast.Import):
                    names |= {(alias.name, "") for alias in node.names}
    return names


def is_within(module: str, outer: str) -> bool:
    return f"{module}.".startswith(f"{outer}.")


USED = sorted(
    {
        (module, name)
        for module, name in imported()
        if any(is_within(f"{module}.{name}".rstrip("."), outer) for outer in PRIVATE)
    }
)


@pytest.mark.parametrize(("module", "name"), USED)
def test_an_imported_private_name_exists(module: str, name: str) -> None:
    imported_module = import_module(module)
    assert not name or hasattr(imported_module, name) or import_module(f"{module}.{name}")


@pytest.mark.parametrize("module", ATTRIBUTES)
def test_a_used_private_attribute_exists(module: str) -> None:
    for path in ATTRIBUTES[module]:
        value = import_module(module)
        for part in path.split("."):
            value = getattr(value, part)


def test_no_other_private_module_is_imported() -> None:
    """By underscore; another one needs a bound in pyproject.toml and a line above."""
    underscored = {
        module
        for module, _ in imported()
        if re.search(r"(^|\.)_[a-z]", module) and not module.startswith("__")
    }
    assert [m for m in underscored if not any(is_within(m, outer) for outer in PRIVATE)] == []


@pytest.mark.parametrize("distribution", sorted(set(PRIVATE.values())))
def test_the_next_minor_version_of_a_library_with_private_parts_is_excluded(
    distribution: str,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (constraint,) = (
        requirement
        for requirement in map(Requirement, project["dependencies"])
        if requirement.name == distribution
    )
    major, minor = version(distribution).split(".")[:2]
    assert version(distribution) in constraint.specifier
    assert f"{major}.{int(minor) + 1}" not in constraint.specifier
