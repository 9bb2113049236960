"""``harness study``: search settings by validation, show trials, test the chosen ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.completion import complete_suites
from harness.cli.execution import RunOptions, with_option_groups
from harness.cli.options import (
    AsJson,
    Home,
    Only,
    Probe,
    SetValues,
)
from harness.cli.run import raise_failed
from harness.cli.stopping import stop_on_signals

app = typer.Typer(no_args_is_help=True)

Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="A suite file with a study, or the study's name.")
]
Variant = Annotated[
    str, typer.Option(help="Results of a study with --set: the id that `run` printed.")
]


@app.command()
@with_option_groups
def run(
    file: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="A suite file with a section 'study'.",
            autocompletion=complete_suites,
        ),
    ],
    set_: SetValues = None,
    only: Only = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Total number of trials, instead of the suite's.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan with its time and memory; run nothing."),
    ] = False,
    probe: Probe = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat failed trials.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget earlier trials, but keep their runs.")
    ] = False,
    results: Home = None,
    *,
    options: RunOptions,
) -> None:
    """Search the settings of each row of a suite. Interrupted searches resume, and no run is
    repeated. The test split is not used."""
    from harness.cli.progress import show_events

    with show_events():  # the first import takes seconds
        from harness.run.forecast import dry_run_study
        from harness.run.study import load_study, run_study

    execution = options.keywords()
    plan = load_study(
        file, set_ or [], only=only or [], trials=trials, model_folders=options.models or []
    )
    dry = dry_run or probe
    with show_events() as on_event, stop_on_signals(probe or not dry) as stop:
        if dry:
            from harness.cli.dry import describe

            forecast = dry_run_study(
                plan,
                home=results,
                probe=probe,
                on_event=on_event,
                should_stop=stop.asked,
                **execution,
            )
        else:
            result = run_study(
                plan,
                home=results,
                retry_failed=retry_failed,
                restart=restart,
                on_event=on_event,
                should_stop=stop.asked,
                **execution,
            )
    if dry:
        if stop.asked():
            raise stop.error()
        print(describe(forecast))
        return
    from harness.cli import study_text

    print(study_text.describe(result.searches, result.home))
    if result.interrupted:
        raise stop.error()
    raise_failed(
        result.failed, results, "--retry-failed tries again", earlier=result.failed_earlier
    )


@app.command()
def show(
    study: Annotated[
        str | None,
        typer.Argument(help="A suite file or the name of a study. Default: list all studies."),
    ] = None,
    variant: Variant = "",
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show the best trial of each row, the importance of each setting, the response surface, and
    the expected best of a number of trials; all on the validation split."""
    from harness.cli import study_text
    from harness.cli.console import print_json
    from harness.run.study import list_studies, load_study_results

    if study is None:
        for name, title in list_studies(results).items():
            typer.echo(f"{name:<16} {title}")
        return
    searches, home = load_study_results(study, results, variant=variant)
    if as_json:
        print_json(study_text.plain(searches))
    else:
        typer.echo(study_text.describe(searches, home))


@app.command()
@with_option_groups
def promote(
    study: Study,
    trial: Annotated[
        list[int] | None,
        typer.Option(help="Number of a trial (repeatable). Default: the best of each row."),
    ] = None,
    only: Only = None,
    variant: Variant = "",
    results: Home = None,
    *,
    options: RunOptions,
) -> None:
    """Test the chosen trials, by default the best of each row, with all seeds: rank the test split
    with the checkpoints of their runs, then print the table."""
    from harness.cli.progress import show_events

    with show_events():
        from harness.run.study import promote_trials

    execution = options.keywords()
    with show_events() as on_event, stop_on_signals() as stop:
        result = promote_trials(
            study,
            home=results,
            trials=trial or (),
            only=only or (),
            variant=variant,
            on_event=on_event,
            should_stop=stop.asked,
            **execution,
        )
    print(result.make_table().render())
    if result.interrupted:
        raise stop.error()
    raise_failed(result.failed, results, earlier=result.failed_earlier)


@app.command()
def export(
    study: Study,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial of each row. Default: the best.")
    ] = None,
    only: Only = None,
    variant: Variant = "",
    onto: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Dataset to write the settings for, with the epochs that validation chose.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    results: Home = None,
) -> None:
    """Print the best settings of each row as a fragment for the `overrides` of a suite.

    --onto writes them for another dataset: settings and number of epochs chosen on db15k@clean, for
    training on db15k with the weights after the last epoch (training.select: last).
    """
    from harness.cli.console import write_or_print
    from harness.cli.progress import show_events
    from harness.run.study import export_trials

    with show_events() as on_event:
        text = export_trials(
            study,
            home=results,
            trials=() if trial is None else (trial,),
            only=only or (),
            variant=variant,
            onto=onto,
            on_event=on_event,
        )
    write_or_print(text, out)
