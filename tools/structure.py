"""Structure measurements of a checkout: sizes, names, language, imports, calls per request.

Usage: python -m tools.structure [--root CHECKOUT] [--home SENSEI_HOME] [--no-trace] [--json FILE]

Run it before and after a change and compare the two tables. `--root` measures another checkout,
for example a worktree of an older commit, in the same environment. The traced figures need a
trained SENSEI_HOME: `--home` names one, which is copied; by default one is made.
"""

import argparse
import ast
import json
import statistics
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import grimp

from tools.check_language import LONG_LINE, OPENING, WORD, language_faults
from tools.check_names import repeated_names
from tools.request_trace import trace_requests
from tools.source_tree import ROOT, installed_packages, source_files

Figures = dict[str, Any]


def package_figures(root: Path) -> dict[str, Figures]:
    """Count files and lines of each installed package and measure its functions."""
    figures = {}
    for package in installed_packages(root):
        texts = [(root / file).read_text() for file in source_files(root, f"{package}/*.py")]
        figures[package] = {
            "modules": len(texts),
            "lines": sum(len(text.splitlines()) for text in texts),
            **function_figures(texts),
        }
    return figures


def function_figures(texts: list[str]) -> Figures:
    """Measure the functions of modules in lines: median, 90th percentile and longest."""
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    )
    if not lengths:
        return {"functions": 0, "median": 0, "p90": 0, "longest": 0}
    return {
        "functions": len(lengths),
        "median": round(statistics.median(lengths)),
        "p90": lengths[int(0.9 * (len(lengths) - 1))],
        "longest": lengths[-1],
    }


def folder_sizes(root: Path) -> dict[str, int]:
    """Count the modules in each folder of the installed packages, largest folder first."""
    counts: Counter[str] = Counter()
    for package in installed_packages(root):
        for file in source_files(root, f"{package}/*.py"):
            counts[str(Path(file).parent)] += Path(file).name != "__init__.py"
    return dict(counts.most_common())


def longest_chain(packages: list[str]) -> list[str]:
    """Find the longest chain of modules in which each imports the next one.

    A module is never visited twice, so a cycle of imports ends the chain.
    """
    graph = grimp.build_graph(*packages, cache_dir=None)
    entered: set[str] = set()

    @cache
    def chain(module: str) -> tuple[str, ...]:
        entered.add(module)
        imported = graph.find_modules_directly_imported_by(module) - entered
        longest_tail: tuple[str, ...] = ()
        for name in sorted(imported):
            longest_tail = max(longest_tail, chain(name), key=len)
        entered.remove(module)
        return (module, *longest_tail)

    chains = [chain(module) for module in sorted(graph.modules)]
    longest = max(chains, key=len)
    return list(longest)


def language_counts(root: Path) -> dict[str, int]:
    """Count the faults of language by kind."""
    faults = [fault.fault for fault in language_faults(root)]
    return {
        "docstrings that open with a free relative": _starting(faults, OPENING),
        "prose lines over 100 characters": _starting(faults, LONG_LINE),
        "words to avoid": _starting(faults, WORD),
    }


def _starting(faults: list[str], kind: str) -> int:
    return sum(fault.startswith(kind) for fault in faults)


def measure(root: Path) -> Figures:
    """Take all figures that need no running service."""
    repeated = repeated_names(root)
    return {
        "packages": package_figures(root),
        "folders": folder_sizes(root),
        "duplicates": {f"duplicate {kind}s": len(names) for kind, names in repeated.items()},
        "language": language_counts(root),
        "longest_import_chain": longest_chain(installed_packages(root)),
    }


def table(figures: Figures) -> str:
    """Format the figures for a terminal."""
    header = ("package", "modules", "lines", "functions", "median", "p90", "longest")
    rows: list[tuple[Any, ...]] = [header]
    rows += [(name, *values.values()) for name, values in figures["packages"].items()]
    totals = [sum(row[column] for row in rows[1:]) for column in (1, 2, 3)]
    lines = [_row(row) for row in [*rows, ("all", *totals, "", "", "")]]
    largest = list(figures["folders"].items())[:8]
    lines += ["", "modules per folder: " + ", ".join(f"{name} {n}" for name, n in largest)]
    counts = figures["duplicates"] | figures["language"]
    lines += [f"{name}: {count}" for name, count in counts.items()]
    chain = figures["longest_import_chain"]
    lines += [f"longest import chain: {len(chain)} modules, {' > '.join(chain)}"]
    for request, trace in figures.get("requests", {}).items():
        lines += [
            f"{request}: {trace['calls']} calls, {trace['modules']} modules, "
            f"{trace['switches']} switches"
        ]
    return "\n".join(lines)


def _row(values: tuple[Any, ...]) -> str:
    return f"{values[0]:<14}" + "".join(f"{value:>10}" for value in values[1:])


def main(arguments: list[str]) -> None:
    """Print the figures of a checkout as a table and, if asked, write them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.structure", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to measure")
    parser.add_argument("--home", type=Path, help="a SENSEI_HOME with trained models")
    parser.add_argument("--no-trace", action="store_true", help="skip the traced requests")
    parser.add_argument("--json", type=Path, help="file for the same figures as JSON")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    sys.path.insert(0, str(root))
    figures = measure(root)
    if not options.no_trace:
        traces = trace_requests(root, options.home)
        figures["requests"] = {name: trace._asdict() for name, trace in traces.items()}
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
