"""`sensei export`: export of a registered version to another system's format."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from flows.presentation.terminal import console, run_progress
from sensei.model_name import ModelName
from sensei.settings import Settings


def export(
    out: Annotated[Path, typer.Option(help="Base folder of all models for a model server.")],
    model: Annotated[
        Literal["recommendation", "difficulty", "all"], typer.Option(help="Model, or both.")
    ] = "all",
    version: Annotated[
        str | None, typer.Option(help="Version number; by default the champion. Not with all.")
    ] = None,
    format_: Annotated[
        Literal["saved_model"], typer.Option("--format", help="TensorFlow Serving's layout.")
    ] = "saved_model",
) -> None:
    """Write a version as OUT/MODEL/VERSION/saved_model.pb, for TensorFlow Serving."""
    from sensei.errors import InvalidInput
    from training.release.saved_model import export_saved_model
    from training.tracking.registry import Registry

    if version and model == "all":
        raise InvalidInput(
            f"--version: expected --model with it, got {version} alone; name the model"
        )
    settings = Settings()
    names = list(ModelName) if model == "all" else [ModelName(model)]
    with run_progress() as say:
        say(f"Export: {format_} of {' and '.join(names)}, TensorFlow takes some seconds to load")
        registry = Registry(settings.tracking_uri, settings.artifacts)
        folders = [export_saved_model(registry, name, version, out) for name in names]
    for folder in folders:
        console.print(escape(f"{folder}/saved_model.pb"), soft_wrap=True)
    console.print(
        escape(f"Next: tensorflow_model_server --model_base_path={folders[0].parent.absolute()}")
    )
