"""``harness score-triples``: scores of a file of triples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Device, Home, Ids, Models


def score_triples(
    run: Annotated[str, typer.Argument(help="Run id or its beginning: harness runs list")],
    file: Annotated[
        Path,
        typer.Argument(
            help="Triples: head, relation and tail, separated by tabs; - is the standard input.",
            allow_dash=True,
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    ids: Ids = "name",
    device: Device = "auto",
    models: Models = None,
    results: Home = None,
) -> None:
    """Print each triple of a file with the score of a trained model; higher is more plausible.

    Lines are read and printed in batches, so that files may have any length.
    """
    from harness.cli.console import write_lines
    from harness.run.inference import load_run
    from harness.run.triple_files import scored_lines

    trained = load_run(run, results, device=device, model_folders=models or [])
    write_lines(scored_lines(trained, file, ids=ids), out)
