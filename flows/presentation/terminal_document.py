"""Documents on a terminal."""

import re
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.reports import document


def show_document(console: Console, page: document.ResultDocument) -> None:
    """Show a document on a terminal; only a word longer than a line is broken."""
    for block in page.blocks:
        match block:
            case document.Heading(title, level):
                console.print(Text(f"{'' if level == 1 else chr(10)}{title}", style="bold"))
            case document.Paragraph(text):
                console.print(_inline(text))
            case document.BulletList(items):
                console.print(_grid([("-", item) for item in items], gap=1))
            case document.Table():
                console.print(_table(block, console.width))
            case document.Facts(pairs):
                _show_facts(console, pairs)
            case document.Commands(steps):
                label = max(len(purpose) for purpose, _ in steps)
                text_width = console.width - label - 2
                console.print(
                    _grid([(step_name, continued(line, text_width)) for step_name, line in steps])
                )


def continued(line: str, width: int) -> str:
    """Break a command at its words with backslashes, so that it can be copied from the screen."""
    words = _words(line)
    lines = [words[0]]
    for position, word in enumerate(words[1:], 2):
        backslash = 2 if position < len(words) else 0
        if len(lines[-1]) + 1 + len(word) + backslash <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}")
    return " \\\n".join(lines)


def _words(line: str) -> list[str]:
    return re.findall(r"(?:[^\s']|'[^']*')+", line)


def _inline(text: str) -> Text:
    """Convert Markdown's `**bold**` to a style; other marks stay as they are."""
    rendered = Text()
    for position, segment in enumerate(text.split("**")):
        rendered.append(segment, style="bold" if position % 2 else "")
    return rendered


def _grid(pairs: Iterable[tuple[str, str]], gap: int = 2) -> Table:
    grid = Table.grid(padding=(0, gap))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in pairs:
        grid.add_row(Text(label, style="bold" if gap > 1 else ""), _inline(value))
    return grid


def _show_facts(console: Console, pairs: Sequence[tuple[str, str]]) -> None:
    """Show labels and values side by side; a value with a long path gets a line of its own."""
    text_width = console.width - max((len(label) for label, _ in pairs), default=0) - 2
    fits = [max(map(len, value.split()), default=0) <= text_width for _, value in pairs]
    console.print(_grid(pair for pair, fit in zip(pairs, fits, strict=True) if fit))
    for (label, value), fit in zip(pairs, fits, strict=True):
        if not fit:
            console.print(Text(label, style="bold"))
            console.print(_inline(value), soft_wrap=True)


def _table(block: document.Table, width: int) -> Table:
    """Format a table; if it is wider than the terminal, intervals go below their values."""
    widest = [max(map(len, column)) for column in zip(block.columns, *block.rows, strict=True)]
    narrow = sum(widest) + 3 * len(widest) > width
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for position, heading in enumerate(block.columns):
        is_figure = position > 0 and widest[position] <= 24
        table.add_column(heading, justify="right" if is_figure else "left", no_wrap=is_figure)
    for number, row in enumerate(block.rows):
        cells = [cell.replace(" [", "\n[") if narrow else cell for cell in row]
        table.add_row(*map(_inline, cells), style="green" if number == block.chosen else "")
    return table
