"""``harness runs``: look at runs, compare them, run them again, forget them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.db import opened, tell_damaged
from harness.cli.options import AsJson, Device, Home, Models, Threads
from harness.cli.paths import home
from harness.errors import ConfigError, Interrupted, suggest

if TYPE_CHECKING:
    from harness.store.base import ResultStore
    from harness.store.records import RunRecord

app = typer.Typer(no_args_is_help=True)

Run = Annotated[str, typer.Argument(help="Run id; its beginning will do.")]


class Status(StrEnum):
    """What became of a run."""

    ok = "ok"
    validated = "validated"
    pruned = "pruned"
    failed = "failed"


@app.command("list")
def list_runs(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only runs with this status.")] = None,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """List runs, oldest first, with their MRR in percent; exit code 4 if some are damaged."""
    from harness.cli.run_text import print_list, summary
    from harness.store.base import DamagedRecords

    damage: DamagedRecords | None = None
    wanted = status.value if status else None
    with opened(results) as store:
        try:
            found = store.find(model=model, dataset=dataset, status=wanted)
        except DamagedRecords as error:
            found, damage = error.readable, error
        if not found and damage is None:
            typer.echo(_why_none(store, model, dataset), err=True)
    if as_json:
        typer.echo(json.dumps([summary(record) for record in found], indent=2))
    elif found:
        print_list(found)
    if damage is not None:
        raise damage


@app.command()
def show(run: Run, results: Home = None, as_json: AsJson = False) -> None:
    """Show a run: metrics, history, settings, provenance, and the command that repeats it."""
    from harness.cli.run_text import describe
    from harness.store.base import resolve_id

    with opened(results) as store:
        run_id = resolve_id(store, run)
        record = _record(store, run_id)
        tell_damaged(store)
        cells = tuple(cell for cell in store.cells() if cell.run_id == run_id)
    record = record.model_copy(update={"cells": cells})
    if as_json:
        typer.echo(json.dumps(record.model_dump(mode="json"), indent=2))
    else:
        typer.echo(describe(record))


@app.command()
def diff(
    first: Run,
    second: Run,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: settings that differ, metrics side by side, differing provenance."""
    from harness.cli.run_text import describe_difference, difference
    from harness.store.base import resolve_id

    with opened(results) as store:
        a, b = (_record(store, resolve_id(store, text)) for text in (first, second))
    if as_json:
        typer.echo(json.dumps(difference(a, b), indent=2))
    else:
        typer.echo(describe_difference(a, b))


@app.command()
def rm(
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    results: Home = None,
) -> None:
    """Forget a run and delete its folder (checkpoints, ranks, log).

    Exit code 0 also when the answer is no; 130 when there is no answer.
    """
    from harness.store.base import resolve_id
    from harness.store.files import run_ids

    runs = home(results) / "runs"
    with opened(results, write=True) as store:
        folders = run_ids(runs)
        run_id = resolve_id(store, run, folders)
        folder = runs / run_id
        if not yes and not _confirmed(f"Delete the record of {run_id} and {folder}?"):
            typer.echo(f"nothing was removed: {run_id} stays", err=True)
            return
        # The folder first: were the record gone and the folder not, the next `harness run` would
        # take the record over again from there. An id that was edited may lead elsewhere.
        if run_id in folders:
            _remove(folder)
        store.remove(run_id)
    typer.echo(f"{run_id} removed", err=True)


def _remove(folder: Path) -> None:
    """Remove a run folder; of one that is a link, the link."""
    from harness.store.failures import disk_error

    try:
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(folder, error) from error


@app.command()
def retest(
    run: Run,
    device: Device = "auto",
    threads: Threads = 0,
    models: Models = None,
    results: Home = None,
) -> None:
    """Rank the test split of a run again, with its checkpoint, because its ranks are lost.

    Refused while the ranks are there: the test split is scored once. The same numbers must come
    out (exit code 1 otherwise); the repetition is recorded with the run.
    """
    from harness import catalog, pipeline
    from harness.store.base import resolve_id
    from harness.store.files import RANKS, RECORD, check_run_folder, write_record

    with opened(results, write=True) as store:
        record = _record(store, resolve_id(store, run))
        check_run_folder(home(results) / "runs" / record.run_id)
        catalog.load_all(models or ())
        place = pipeline.Workplace(home(results) / "runs" / record.run_id, device, threads)
        tested = pipeline.retest(record, place)
        write_record(place.folder / RECORD, tested)
        store.add(tested)
    count = tested.provenance["test_split"]["retest"]["count"]
    times = "once" if count == 1 else f"{count} times"
    typer.echo(f"{place.folder / RANKS} is there again; scored again {times}", err=True)


@app.command()
def retry(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Failed runs; all of them if none is given.")
    ] = None,
    results: Home = None,
) -> None:
    """Forget that runs failed, so that the next `harness run SUITE` executes them again.

    A record in a run folder that cannot be read is removed likewise.
    """
    from harness.store.base import resolve_id
    from harness.store.files import (
        RECORD,
        check_run_folder,
        run_folder,
        run_ids,
        unreadable_records,
    )

    folder = home(results) / "runs"
    with opened(results, write=True) as store:
        statuses, folders = store.statuses(), run_ids(folder)
        failed = [run_id for run_id, status in statuses.items() if status == "failed"]
        named = [resolve_id(store, text, folders) for text in runs or []]
        candidates = named or [i for i in folders if statuses.get(i) in (None, "failed")]
        unreadable = unreadable_records(folder, [i for i in candidates if i in folders])
        chosen = named or [*failed, *(i for i in unreadable if i not in failed)]
        for run_id in chosen:
            if run_id not in failed and run_id not in unreadable:
                raise ConfigError(
                    f"run {run_id} did not fail; to repeat it, remove it first: "
                    f"harness runs rm {shlex.quote(run_id)}"
                )
        for run_id in chosen:
            check_run_folder(folder / run_id)
            # Checkpoints stay; the record file would be taken over again by the next run.
            (run_folder(folder, run_id) / RECORD).unlink(missing_ok=True)
            if run_id in failed:
                store.remove(run_id)
        suites = sorted({cell.suite for cell in store.cells() if cell.run_id in chosen})
    for run_id in chosen:
        typer.echo(run_id)
    typer.echo(_next_command(chosen, suites), err=True)


def _confirmed(question: str) -> bool:
    """Ask on stderr.

    Raises:
        Interrupted: the input ended, or Ctrl-C was pressed.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise Interrupted("no answer, nothing was removed; --yes does not ask") from None


def _next_command(chosen: Sequence[str], suites: Sequence[str]) -> str:
    if not chosen:
        return "no run has failed"
    commands = " and ".join(f"harness run {suite}" for suite in suites or ["SUITE"])
    return f"{len(chosen)} failure(s) forgotten; {commands} executes the run(s) again"


def _record(store: ResultStore, run_id: str) -> RunRecord:
    record = store.get(run_id)
    if record is None:  # removed by another process since the id was resolved
        raise ConfigError(f"no run '{run_id}'; list them with: harness runs list")
    return record


def _why_none(store: ResultStore, model: str | None, dataset: str | None) -> str:
    """Say which filter matches nothing, and what would match."""
    everything = store.find()
    for name, wanted in (("model", model), ("dataset", dataset)):
        known = {getattr(record, name) for record in everything}
        if wanted is not None and known and wanted not in known:
            return f"no run has {name} '{wanted}'{suggest(wanted, known)}"
    return "no such runs" if everything else "the database holds no runs: harness run SUITE"
