"""Check of docstrings, comments, messages and Markdown for mechanical faults of language.

Usage: python -m tools.check_language [--count]
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tools.source_tree import ROOT, Fault, installed_packages, report, source_files

OPENING, LONG_LINE, WORD = "docstring opens with", "prose line of", "word"
"""Openings of the reports, one per kind of fault."""

MAX_PROSE = 100
"""Maximum length of a line of Markdown prose, in characters."""

FREE_RELATIVE = re.compile(r"(What|Whether|Which|How|Who|Whom|Whose|Where)\b")
"""Openings of a docstring that name no thing and no action."""

WORDS = {
    r"he|his|him|himself": "write they, their, them",
    r"anew": "write again",
    r"lately": "write recently",
    r"mend|mends|mended|mending": "write fix",
    r"so many": "name the number or write maximum",
    r"beside": "write compared with, next to, or in addition to",
}
"""Pattern of a word to avoid -> advice for its replacement."""

_WORDS = [(re.compile(rf"\b({pattern})\b", re.I), advice) for pattern, advice in WORDS.items()]
_LITERALS = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
_CODE = re.compile(r"``[^`]*``|`[^`]*`")
_LINK = re.compile(r"\]\([^)]*\)|<?https?://\S+")


def python_faults(file: str, text: str, *, messages: bool) -> list[Fault]:
    """Check one module.

    Args:
        file: its name, for the report.
        text: its source.
        messages: also check string literals of more than one word, because users read them.
    """
    return sorted({*_opening_faults(file, text), *_word_faults(file, _prose(text, messages))})


def markdown_faults(file: str, text: str) -> list[Fault]:
    """Check one Markdown page; code blocks, tables and link targets may be of any length."""
    prose = _outside_code_blocks(text)
    long = [
        Fault(file, number, f"{LONG_LINE} {len(line)} characters", f"wrap at {MAX_PROSE}")
        for number, line in prose
        if not line.startswith("|") and len(_LINK.sub("]", line)) > MAX_PROSE
    ]
    return sorted({*long, *_word_faults(file, prose)})


FROZEN = "sensei/simulation/"
"""Prefix of files that are not checked: frozen, so that results of the simulator compare."""


def language_faults(root: Path) -> list[Fault]:
    """Check all modules and pages of a checkout; messages only in the installed packages."""
    packages = set(installed_packages(root))
    faults = []
    for file in source_files(root, "*.py", "*.md"):
        if file.startswith(FROZEN):
            continue
        text = (root / file).read_text()
        if file.endswith(".md"):
            faults += markdown_faults(file, text)
        else:
            faults += python_faults(file, text, messages=Path(file).parts[0] in packages)
    return faults


def _word_faults(file: str, lines: Iterator[tuple[int, str]] | list[tuple[int, str]]) -> set[Fault]:
    return {
        Fault(file, number, f'{WORD} "{word.group()}"', advice)
        for number, line in lines
        for pattern, advice in _WORDS
        for word in pattern.finditer(_CODE.sub("", line))
    }


def _opening_faults(file: str, text: str) -> Iterator[Fault]:
    for node in _docstrings(text):
        if opening := FREE_RELATIVE.match(str(node.value).lstrip()):
            advice = "open with an imperative verb or a noun phrase"
            yield Fault(file, node.lineno, f'{OPENING} "{opening.group()}"', advice)


def _docstrings(text: str) -> list[ast.Constant]:
    """Find all strings that are statements: docstrings, also those below an assignment."""
    return [
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def _prose(text: str, messages: bool) -> Iterator[tuple[int, str]]:
    """Yield numbered lines of docstrings and comments, with `messages` also of literals."""
    docstrings = {(node.lineno, node.col_offset) for node in _docstrings(text)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_text = token.type == tokenize.COMMENT or token.start in docstrings
        is_literal = messages and token.type in _LITERALS and " " in token.string
        if is_text or is_literal:
            yield from enumerate(token.string.splitlines(), token.start[0])


def _outside_code_blocks(text: str) -> list[tuple[int, str]]:
    prose, fence = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = line.lstrip()[:3]
        if mark in ("```", "~~~") and fence in ("", mark):
            fence = "" if fence else mark
        elif not fence:
            prose.append((number, line))
    return prose


if __name__ == "__main__":
    sys.exit(report(language_faults(ROOT), count_only="--count" in sys.argv[1:]))
