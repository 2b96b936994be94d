"""`sensei evaluate`: evaluation of every model on any file."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.data_commands import Renamed, mapping_of, refuse_useless
from flows.local.preflight import check_folder, check_output, check_room
from flows.presentation.terminal import TrainingEpoch, console, run_progress
from sensei.errors import InvalidInput
from sensei.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

Effort = Annotated[
    Literal["quick", "full"],
    typer.Option(help="quick: few networks, one seed; full: all networks, three seeds."),
]

Models = Annotated[
    str | None, typer.Option(help="Names, separated by commas; by default those of the effort.")
]


def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet, in the data contract.")],
    split: Annotated[
        str, typer.Option(help="learner, time, column:NAME or column:metadata.NAME.")
    ] = "time",
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for the plots.")] = None,
    renamed: Renamed = None,
    models: Models = None,
    effort: Effort = "quick",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds per network; default: the effort's.")
    ] = None,
    setting: Annotated[
        Literal["fast", "sketch"], typer.Option(help="Training setting of the reference networks.")
    ] = "fast",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore the cached results of earlier calls.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of resampling, and first seed of training.")] = 0,
) -> None:
    """Measure every model on any log by one protocol, without the database.

    Finished models are cache_folder under SENSEI_HOME: the same command again continues from there.
    """
    from flows.presentation.run_summary import show_evaluation, show_import
    from sensei.events.importer import read_frame
    from training.candidates import check_names
    from training.evaluation.protocol import evaluate as run_protocol
    from training.evaluation.score_cache import ScoreCache
    from training.fitting import keras_fit
    from training.recipes import EFFORTS
    from training.reports.evaluation_figures import draw

    mapping = mapping_of(renamed)
    wanted = names_of(models)
    check_names(wanted)
    cache_folder = Settings().evaluations
    if out:
        check_output(out)
    if plots:
        check_folder(plots)
    fit_settings = {fit.name: fit for fit in (keras_fit.FAST, keras_fit.SKETCH)}[setting]
    with run_progress() as say:
        say(f"Read: {file}")
        column = _column(split)
        frame, imported = read_frame(file, mapping, column)
        refuse_useless(imported)
        _check_column(file, frame, column)
        check_room(cache_folder)
        result = run_protocol(
            frame,
            split,
            seed,
            replace(EFFORTS[effort], setting=fit_settings),
            wanted,
            seeds,
            cache=lambda digest: ScoreCache(cache_folder, digest, fresh),
            say=say,
            draw=partial(draw, plots) if plots else None,
            progress=lambda name, epoch, logs: say.epoch(
                TrainingEpoch(name, epoch, int(logs["epochs"]), logs["val_loss"])
            ),
        )
    if out:
        out.write_text(result.to_json() + "\n", "utf-8")
    show_import(console, imported)
    show_evaluation(console, result, out, plots, all_wanted=wanted is None)


def names_of(models: str | None) -> list[str] | None:
    """Split the model names of an option; None if the option is left out."""
    return None if models is None else [n.strip() for n in models.split(",") if n.strip()]


def _column(split: str) -> list[str]:
    """Return the file column that a split names, as a list; empty if it is in the metadata."""
    _, column, name = split.partition("column:")
    return [name] if column and name and not name.startswith("metadata.") else []


def _check_column(file: Path, frame: "pd.DataFrame", column: Sequence[str]) -> None:
    """Refuse a split by a column that the file lacks, and name the columns that it has."""
    from sensei.events import files

    for name in column:
        if name not in frame:
            raise InvalidInput(
                f"split: expected a column with values in {file.name} or a key of its metadata, "
                f"got {name!r}; the file has {', '.join(files.columns(file))}"
            )
