"""``harness score``: results of another code base, judged by this evaluator."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import MOST_SEED, Home
from harness.cli.paths import home
from harness.config.storable import LABEL, NAME, text_problem
from harness.errors import ConfigError, suggest

if TYPE_CHECKING:
    from harness.store.base import ResultStore
    from harness.store.records import Cell, RunRecord

NAMINGS = ("name", "id")


def score(
    file: Annotated[
        Path, typer.Argument(help="Ranks (.csv, .tsv, .npz) or scores (.npz, .npy, .safetensors).")
    ],
    dataset: Annotated[str, typer.Option(help="Dataset whose test split was predicted.")],
    name: Annotated[str, typer.Option(help="What the row is called.")],
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Of the run that made the file.")
    ] = 0,
    entities: Annotated[
        Path | None,
        typer.Option(help="Scores: a file with the identifier of each column, one a line."),
    ] = None,
    ids: Annotated[
        str, typer.Option(help="Ranks: entities and relations by name (identifier) or by id.")
    ] = "name",
    suite: Annotated[
        str, typer.Option(help="Put the row into this suite's table, beside its own rows.")
    ] = "external",
    results: Home = None,
) -> None:
    """Judge ranks or scores of another code base and keep them as a run, marked as such.

    The test split is scored once: another file under the same name and seed is refused.
    """
    from harness.cli.report import show_suite
    from harness.external import judge, keep
    from harness.store import open_home

    if ids not in NAMINGS:
        raise ConfigError(f"--ids {ids}: by name or by id{suggest(ids, NAMINGS)}")
    for option, text, width in (("--name", name, LABEL), ("--suite", suite, NAME)):
        if problem := text_problem(text, width):
            raise ConfigError(f"{option} {text[:40]!a}: {problem}")
    place = home(results)
    with contextlib.closing(open_home(place)) as store:
        record, ranks = judge(
            file,
            dataset,
            name,
            seed=seed,
            naming="id" if ids == "id" else "name",
            entities=entities,
            runs=place / "runs",
        )
        cell = _cell(store, record, name, suite)
        record = keep(record, ranks, place / "runs")
        store.add(record)
        store.add_cells([cell])
        kind, columns = record.spec["model"]["kind"], record.provenance.get("columns")
        said = f"; columns: {columns}" if columns else ""
        typer.echo(f"{file}: {kind} of {2 * len(ranks.triples)} questions{said}", err=True)
        typer.echo(f"run {record.run_id}, suite {suite}", err=True)
        show_suite(store, place, suite)


def _cell(store: ResultStore, record: RunRecord, name: str, suite: str) -> Cell:
    """Return the place of a run in a suite.

    Raises:
        ConfigError: another run stands there, or the suite's runs follow another protocol.
    """
    from harness.config.base import check_suite_name
    from harness.store.records import Cell

    try:
        check_suite_name(suite)
    except ValueError as error:
        raise ConfigError(f"--suite: {error}") from None
    cells = store.cells(suite)
    others = store.find(ids={cell.run_id for cell in cells} - {"", record.run_id}, status="ok")
    for other in others:
        if other.protocol != record.protocol:
            raise ConfigError(
                f"--suite {suite}: its runs are ranked by {other.protocol}, this one by "
                f"{record.protocol}; one table never mixes them"
            )
    same = [c for c in cells if c.label.lower() == name.lower() and c.dataset == record.dataset]
    own = [c for c in same if c.features == record.features]
    taken = any(c.seed == record.seed and c.run_id != record.run_id for c in own)
    if taken or len(own) < len(same):
        raise ConfigError(
            f"--suite {suite} has a row '{name}' on {record.dataset} already; give another --name"
        )
    last = max((c.position for c in cells), default=-1)
    return Cell(
        suite=suite,
        position=own[0].position if own else last + 1,
        label=own[0].label if own else name,
        dataset=record.dataset,
        features=record.features,
        seed=record.seed,
        run_id=record.run_id,
    )
