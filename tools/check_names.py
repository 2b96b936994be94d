"""Uniqueness check of module file names and public class names in the whole tree.

Usage: python -m tools.check_names [--count]
"""

import ast
import sys
from collections import defaultdict
from pathlib import Path

from tools.source_tree import ROOT, Fault, installed_packages, report, source_files

REPEATABLE = frozenset({"__init__.py", "__main__.py", "conftest.py"})
"""File names with a meaning that Python or pytest fixes."""


Places = list[tuple[str, int]]
"""Files and lines at which a name is defined."""


def repeated_files(files: list[str]) -> dict[str, Places]:
    """Find the file names that several modules share."""
    locations = defaultdict(list)
    for file in files:
        if Path(file).name not in REPEATABLE:
            locations[Path(file).name].append((file, 1))
    return {name: same for name, same in sorted(locations.items()) if len(same) > 1}


def repeated_classes(sources: dict[str, str]) -> dict[str, Places]:
    """Find the names that several public top-level classes share.

    Args:
        sources: file -> its Python text.
    """
    locations = defaultdict(list)
    for file, text in sources.items():
        for node in ast.parse(text, file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                locations[node.name].append((file, node.lineno))
    return {name: same for name, same in sorted(locations.items()) if len(same) > 1}


def repeated_names(root: Path) -> dict[str, dict[str, Places]]:
    """Find repeated file names anywhere and repeated class names in the installed packages."""
    files = source_files(root, "*.py")
    packages = installed_packages(root)
    installed = [file for file in files if Path(file).parts[0] in packages]
    classes = repeated_classes({file: (root / file).read_text() for file in installed})
    return {"file name": repeated_files(files), "class name": classes}


def name_faults(repeated: dict[str, dict[str, Places]]) -> list[Fault]:
    """Report each place of a repeated name, with the other places."""
    return [
        Fault(
            file,
            line,
            f"{kind} {name} also in {_other_locations((file, line), same)}",
            "rename all but one",
        )
        for kind, names in repeated.items()
        for name, same in names.items()
        for file, line in same
    ]


def _other_locations(location: tuple[str, int], same: Places) -> str:
    return ", ".join(f"{file}:{line}" for file, line in same if (file, line) != location)


if __name__ == "__main__":
    sys.exit(report(name_faults(repeated_names(ROOT)), count_only="--count" in sys.argv[1:]))
