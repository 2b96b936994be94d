"""Document of a result: what is shown on a terminal and written as Markdown.

A text may have Markdown's inline marks: `**bold**`, backticks and links. The terminal renderer is
`flows.presentation.terminal_document.show_document`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """Heading; level 1 is the title of the page."""

    title: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Paragraph of prose."""

    text: str


@dataclass(frozen=True)
class BulletList:
    """List of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Table of formatted values.

    Attributes:
        columns: headings.
        rows: as many cells as there are columns.
        chosen: number of the row to emphasise; None if there is none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    chosen: int | None = None


@dataclass(frozen=True)
class Facts:
    """Pairs of label and value, such as `Drift` and its finding."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Commands:
    """Commands by purpose, exactly as they must be typed."""

    steps: tuple[tuple[str, str], ...]


Block = Heading | Paragraph | BulletList | Table | Facts | Commands


@dataclass(frozen=True)
class ResultDocument:
    """Blocks in reading order."""

    blocks: tuple[Block, ...]


def document(*parts: Block | Iterable[Block]) -> ResultDocument:
    """Build a document from blocks and groups of blocks."""
    blocks: list[Block] = []
    for part in parts:
        blocks += [part] if isinstance(part, Block) else part
    return ResultDocument(tuple(blocks))


def bullets(items: Iterable[str], otherwise: str = "") -> Block:
    """Return a list, or a paragraph if there is no item."""
    texts = tuple(items)
    return BulletList(texts) if texts else Paragraph(otherwise)


def facts(pairs: Mapping[str, str]) -> Facts:
    """Return the pairs whose value is not empty."""
    return Facts(tuple((label, value) for label, value in pairs.items() if value))


def to_markdown(page: ResultDocument) -> str:
    """Render a document as Markdown."""
    return "\n\n".join(filter(None, map(_block, page.blocks))) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(title, level):
            return f"{'#' * level} {title}"
        case Paragraph(text):
            return text
        case BulletList(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(columns, rows):
            lines = [columns, ("---",) * len(columns), *rows]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Facts(pairs):
            return "\n".join(f"- {label}: {value}" for label, value in pairs)
        case Commands(steps):
            return "\n".join(f"- {purpose}: `{command}`" for purpose, command in steps)
