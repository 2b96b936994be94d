"""Column mapping for imported files, and a check that at least one row is usable."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sensei.errors import InvalidInput

if TYPE_CHECKING:
    from sensei.events.importer import ImportSummary

Renamed = Annotated[
    list[str] | None, typer.Option("--map", help="theirs=ours, for a column with another name.")
]


def mapping_of(pairs: Sequence[str] | None) -> dict[str, str]:
    """Parse `theirs=ours` pairs into a mapping from their column to ours.

    `theirs=` leaves a column out.

    Raises:
        InvalidInput: a text is not such a pair.
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
    """Raise an error if no row of an import is usable.

    Raises:
        InvalidInput: there was no row, or all rows were refused.
    """
    if not imported.read:
        raise InvalidInput("rows: expected some, got none; check the file")
    if imported.quarantined == imported.read:
        raise InvalidInput(
            f"rows: expected some that can be used, got none: {imported.examples[0]}"
        )
