"""``harness runs``: look at runs, compare them, run them again, forget them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import complete_datasets, complete_models, complete_runs
from harness.cli.console import confirmed, plural, print_json
from harness.cli.options import AsJson, Device, Home, Models, Threads

if TYPE_CHECKING:
    from harness.run.runs import Forgotten

app = typer.Typer(no_args_is_help=True)

Run = Annotated[
    str,
    typer.Argument(help="Run id or its beginning.", autocompletion=complete_runs),
]


@app.command("list")
def list_runs(
    model: Annotated[
        str | None, typer.Option(help="Only this model.", autocompletion=complete_models)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Only this dataset.", autocompletion=complete_datasets)
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(help="Only runs with this status: ok, validated, pruned or failed."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only runs of this suite.")] = None,
    show_nodes: Annotated[
        bool, typer.Option("--where", help="Show the nodes and attempts of runs on clusters.")
    ] = False,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """List runs, oldest first, with their MRR in percent; exit code 4 if some are damaged.

    Runs that were interrupted, or are still running, have no record yet: without --model and
    --status they are named below, with the command that resumes them.
    """
    from harness.cli.run_text import describe_unfinished, execution, list_text, summary
    from harness.run.runs import find_runs

    listed_runs = find_runs(results, model=model, dataset=dataset, status=status, suite=suite)
    records, damage, labels = listed_runs.records, listed_runs.damage, listed_runs.labels
    if listed_runs.hint:
        typer.echo(listed_runs.hint, err=True)
    if as_json:
        more = [execution(record) if show_nodes else {} for record in records]
        row_labels = [{"labels": labels.get(record.run_id, ())} for record in records]
        print_json([summary(r) | a | b for r, a, b in zip(records, row_labels, more, strict=True)])
    elif records:
        typer.echo(list_text(records, labels, nodes=show_nodes))
    if listed_runs.unfinished:
        typer.echo(describe_unfinished(listed_runs.unfinished), err=True)
    if damage is not None:
        raise damage


@app.command()
def show(run: Run, results: Home = None, as_json: AsJson = False) -> None:
    """Show a run: metrics, history, settings, provenance, and the command that repeats it."""
    from harness.cli.progress import show_events
    from harness.cli.run_text import describe
    from harness.run.runs import get_record

    with show_events() as on_event:
        record = get_record(run, results, on_event)
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        typer.echo(describe(record))


@app.command()
def log(run: Run, results: Home = None) -> None:
    """Print the logs of a run: of its worker, and of each attempt on a cluster. Runs without a
    record have logs too."""
    from harness.cli.run_text import describe_logs
    from harness.run.logs import run_logs

    typer.echo(describe_logs(run_logs(run, results)))


@app.command()
def diff(
    first: Run,
    second: Run,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: their metrics, and the settings and provenance that differ."""
    from harness.cli.run_text import describe_difference, difference
    from harness.run.runs import get_record

    a, b = (get_record(run_id, results) for run_id in (first, second))
    if as_json:
        print_json(difference(a, b))
    else:
        typer.echo(describe_difference(a, b))


@app.command()
def card(
    run: Run,
    out: Annotated[Path, typer.Option(help="New folder.")],
    results: Home = None,
) -> None:
    """Write a model card: README.md with metrics and settings, the weights, the record."""
    from harness.run.model_card import write_model_card

    for path in write_model_card(run, out, results):
        typer.echo(path)


@app.command()
def rm(
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    results: Home = None,
) -> None:
    """Forget a run and delete its folder (checkpoints, ranks, log).

    Exit code 0 also if the answer is no; 130 if there is no answer.
    """
    from harness.run.runs import remove_run, resolve_run

    run_id, folder = resolve_run(run, results)
    if not yes and not confirmed(f"Delete the record of {run_id} and {folder}?"):
        typer.echo(f"nothing was removed: {run_id} stays", err=True)
        return
    remove_run(run_id, results)
    typer.echo(f"{run_id} removed", err=True)


@app.command()
def retest(
    run: Run,
    device: Device = "auto",
    threads: Threads = 0,
    models: Models = None,
    results: Home = None,
) -> None:
    """Rank the test split of a run again with its checkpoint, if its ranks were lost.

    Refused while the ranks exist: the test split is scored once. The metrics must be the same
    (exit code 1 otherwise); the repetition is recorded with the run.
    """
    from harness.run.runs import retest_run

    record, ranks = retest_run(
        run, results, device=device, threads=threads, model_folders=models or []
    )
    count = record.provenance["test_split"]["retest"]["count"]
    times = "once" if count == 1 else f"{count} times"
    typer.echo(f"{ranks} is there again; scored again {times}", err=True)


@app.command()
def retry(
    runs: Annotated[list[str] | None, typer.Argument(help="Failed runs. Default: all.")] = None,
    results: Home = None,
) -> None:
    """Forget failures, so that the next `harness run SUITE` repeats these runs.

    A record in a run folder that cannot be read is removed likewise.
    """
    from harness.run.runs import forget_failures

    forgotten = forget_failures(runs or (), results)
    for run_id in forgotten.run_ids:
        typer.echo(run_id)
    typer.echo(_next_command(forgotten), err=True)


def _next_command(forgotten: Forgotten) -> str:
    if not forgotten.run_ids:
        return "no run has failed"
    of_suites = f" of {', '.join(forgotten.suites)}" if forgotten.suites else ""
    commands = " and ".join(forgotten.commands or ["harness run SUITE"])
    return (
        f"{plural(len(forgotten.run_ids), 'failure')}{of_suites} forgotten; to repeat: {commands}"
    )
