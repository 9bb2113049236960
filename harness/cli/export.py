"""``harness export``: write the vectors of a trained model to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Device, Home, Models

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _export() -> None:
    """Write the vectors of a trained model to files."""


@app.command("embeddings")
def embeddings(
    run: Annotated[str, typer.Argument(help="Run id or its beginning: harness runs list")],
    out: Annotated[
        Path,
        typer.Option(
            help="File: x.safetensors, x.npz, or x.tsv for files x.TABLE.vectors.tsv and "
            "x.KIND.metadata.tsv (TensorBoard projector)."
        ),
    ],
    table: Annotated[
        list[str] | None,
        typer.Option(help="Only this table: entity, relation, entity.NAME or relation.NAME."),
    ] = None,
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
) -> None:
    """Write the vectors of entities and relations, by modality, with their names."""
    from harness.cli.console import aligned
    from harness.run.inference import load_run

    vectors = load_run(run, results, device=device, model_folders=models or []).embeddings()
    chosen = vectors.select(table) if table else vectors
    written = chosen.save(out)
    rows = [[name, *map(str, array.shape)] for name, array in chosen.tables.items()]
    for line in aligned([["table", "rows", "columns"], *rows]):
        typer.echo(line, err=True)
    for path in written:
        typer.echo(str(path))
