"""``harness score``: evaluate the results of another code base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import MOST_SEED, Home


def score(
    file: Annotated[
        Path, typer.Argument(help="Ranks (.csv, .tsv, .npz) or scores (.npz, .npy, .safetensors).")
    ],
    dataset: Annotated[str, typer.Option(help="Dataset whose test split was predicted.")],
    name: Annotated[str, typer.Option(help="Name of the row.")],
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed of the run that made the file.")
    ] = 0,
    entities: Annotated[
        Path | None,
        typer.Option(help="For scores: file with the identifier of each column, one per line."),
    ] = None,
    ids: Annotated[
        str, typer.Option(help="For ranks: entities and relations by name (identifier) or by id.")
    ] = "name",
    suite: Annotated[str, typer.Option(help="Suite whose table gets the row.")] = "external",
    results: Home = None,
) -> None:
    """Evaluate ranks or scores of another code base and store them as an external run.

    The test split is scored once: another file under the same name and seed is refused.
    """
    from harness.cli.progress import show_events
    from harness.run.external import score_file

    with show_events() as on_event:
        scored = score_file(
            file,
            dataset,
            name,
            seed=seed,
            entities=entities,
            ids=ids,
            suite=suite,
            home=results,
            on_event=on_event,
        )
    record = scored.record
    kind, columns = record.spec.model.options["kind"], record.provenance.get("columns")
    column_text = f"; columns: {columns}" if columns else ""
    typer.echo(f"{file}: {kind} of {scored.queries} queries{column_text}", err=True)
    typer.echo(f"run {record.run_id}, suite {suite}", err=True)
    with show_events() as on_event:
        table = scored.make_table(on_event)
    typer.echo(table.render(), nl=False)
