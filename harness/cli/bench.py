"""``harness bench``: measurements of the harness itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.bench.timing import Tell

app = typer.Typer(no_args_is_help=True)

Json = Annotated[
    Path | None, typer.Option("--json", help="Write everything measured to this file too.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Measured goes of each thing, in turn.")]


@app.command()
def ceilings(
    entities: Annotated[
        int, typer.Option(min=2048, help="Rows of the table that rows are gathered from.")
    ] = 15_000,
    rounds: Rounds = 7,
    json_: Json = None,
) -> None:
    """Measure what the machine can do: products, memory, gathered rows, square roots."""
    from harness.bench import ceilings as bench
    from harness.bench.shown import ceilings_text
    from harness.bench.text import machine, machine_text, write_json

    with _progress() as tell:
        found = bench.measure(entities, rounds=rounds, tell=tell)
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{ceilings_text(found)}")
    if json_:
        write_json(json_, {"machine": box, "ceilings": asdict(found)})


@app.command()
def kernels(
    entities: Annotated[int, typer.Option(min=2048, help="Rows of the table.")] = 15_000,
    positives: Annotated[int, typer.Option(min=1, help="Positives of a training step.")] = 1024,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of each.")] = 64,
    rounds: Rounds = 9,
    json_: Json = None,
) -> None:
    """Measure the kernels beside what the machine's ceilings allow them."""
    from harness.bench import kernel_times
    from harness.bench.shown import kernels_text
    from harness.bench.text import machine, machine_text, write_json

    sizes = kernel_times.Sizes(positives, negatives, entities)
    with _progress() as tell:
        times, found = kernel_times.measure(sizes, rounds, tell)
    box = machine()
    typer.echo(f"{machine_text(box)}\n\n{kernels_text(sizes, times, found)}")
    if json_:
        content = [asdict(one) for one in times]
        write_json(
            json_,
            {"machine": box, "sizes": asdict(sizes), "kernels": content, "ceilings": asdict(found)},
        )


@contextlib.contextmanager
def _progress() -> Iterator[Tell]:
    """Show a bar on stderr, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(bar_width=20),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("")

        def tell(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text)

        yield tell
