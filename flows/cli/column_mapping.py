"""Files that others wrote: their columns by our names, and something in them that can be used."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sensei.errors import InvalidInput

if TYPE_CHECKING:
    from sensei.events.importer import ImportSummary

Renamed = Annotated[
    list[str] | None, typer.Option("--map", help="theirs=ours, for a column named otherwise.")
]


def mapping_of(pairs: Sequence[str] | None) -> dict[str, str]:
    """Their column -> ours, of `theirs=ours` pairs; `theirs=` leaves a column out.

    Raises:
        InvalidInput: a text is no such pair.
    """
    mapping = {}
    for pair in pairs or ():
        theirs, equals, ours = pair.partition("=")
        if not (theirs and equals):
            raise InvalidInput(
                f"--map: expected theirs=ours, got {pair!r}; `theirs=` leaves a column out"
            )
        mapping[theirs] = ours
    return mapping


def refuse_useless(imported: "ImportSummary") -> None:
    """Say it as an error where no row at all could be used.

    Raises:
        InvalidInput: there was none, or all were refused.
    """
    if not imported.read:
        raise InvalidInput("rows: expected some, got none; check the file")
    if imported.quarantined == imported.read:
        raise InvalidInput(
            f"rows: expected some that can be used, got none: {imported.examples[0]}"
        )
