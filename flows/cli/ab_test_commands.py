"""`sensei trial`: A/B test of a challenger on a share of learners."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from flows.presentation.terminal import console
from sensei.model_name import ModelName
from sensei.settings import Settings

app = typer.Typer(help="Put a challenger before a share of learners, and see how it does.")


@app.callback(invoke_without_command=True)
def show(context: typer.Context) -> None:
    """Show the running A/B test and what the monitor found about it."""
    if context.invoked_subcommand:
        return
    from flows.local.local_log import open_own_log
    from flows.presentation.phrases import trial_in_words, verdict_in_words
    from flows.presentation.run_summary import command
    from sensei.ab_test_state import current
    from sensei.app_state import MONITORED

    log = open_own_log(Settings())
    running, now = current(log), datetime.now(UTC)
    if running is None:
        console.print(
            f"No trial is running. Start one: {command()} trial start --share 10", soft_wrap=True
        )
        return
    console.print(escape(trial_in_words(running, now)), soft_wrap=True)
    verdict = verdict_in_words(log.get_fact(MONITORED), running, now)
    console.print(escape(verdict), soft_wrap=True)
    console.print(f"End it: {command()} trial stop", soft_wrap=True)


@app.command()
def start(
    share: Annotated[float, typer.Option(help="Percent of learners, 1 to 95.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="By default the waiting challenger.")
    ] = None,
    model: Annotated[
        ModelName, typer.Option(help="Model of the version.")
    ] = ModelName.RECOMMENDATION,
) -> None:
    """Serve a challenger to a share of learners; the service follows within two seconds."""
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import command
    from training.release import start_ab_test
    from training.tracking.registry import Registry

    settings = Settings()
    trial = start_ab_test.start(
        open_own_log(settings),
        Registry(settings.tracking_uri, settings.artifacts),
        settings.bundles,
        model,
        None if version is None else str(version),
        share / 100,
        settings.control_share,
        datetime.now(UTC),
    )
    console.print(
        f"{trial.name} answers {share:g} % of learners within seconds, {trial.model} "
        f"{trial.against or 'none'} the others; {100 * settings.control_share:g} % are still "
        "served by counting.",
        soft_wrap=True,
    )
    console.print(f"Results after the next run of the monitor: {command()} trial", soft_wrap=True)


@app.command()
def stop() -> None:
    """End the A/B test: the champion serves its learners again."""
    from flows.local.local_log import open_own_log
    from sensei import ab_test_state as trial

    ended = trial.stop(open_own_log(Settings()))
    console.print(f"The trial of {ended.name} has ended: the champion answers within seconds.")
