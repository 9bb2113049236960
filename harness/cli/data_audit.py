"""``harness data audit``: what makes figures on a dataset misleading."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowNames
from harness.errors import ConfigError, suggest

__all__ = ["audit"]


def audit(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|DIR]...",
            help="Datasets, by name, or folders of triples; all that are here when not given.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="Feature set whose rows are counted and that is audited for leaks ('names').",
        ),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--texts",
            metavar="FILE[:COLUMN,...]",
            help="Table of texts by entity ('id' and columns, parted by tabs) to audit for leaks.",
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--types",
            metavar="FILE[:COLUMN,...]",
            help="Table of types by entity, a type per line, to audit for leaks.",
        ),
    ] = None,
    allowed: Annotated[
        float | None,
        typer.Option(
            "--allow-leakage",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Share of valid or test that train may give away; one per cent when not given.",
        ),
    ] = None,
    allow_names: AllowNames = "",
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="text, markdown or json.")
    ] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; what is there is replaced.")
    ] = None,
) -> None:
    """Count repeats, leaks, unseen entities and filler features.

    Exit code 3 when train gives away more of valid or test than the dataset's card says and more
    than --allow-leakage, when features tell more answers than the card acknowledges, or when
    identifiers are easily confused and neither the card nor --allow-names says that they are meant.
    """
    from harness.cli.console import write_or_print
    from harness.cli.progress import show_events
    from harness.data.audit_text import AUDIT_FORMATS
    from harness.data.datasets import audit_datasets

    if form not in AUDIT_FORMATS:
        raise ConfigError(f"--format {form}: unknown{suggest(form, AUDIT_FORMATS)}")
    with show_events() as on_event:
        reports = audit_datasets(
            places or (),
            features=features,
            texts=texts or (),
            types=types or (),
            allowed=allowed,
            allow_names=allow_names,
            on_event=on_event,
        )
    write_or_print(AUDIT_FORMATS[form](reports), out)
    if any(r.excess or r.feature_excess or r.name_excess for r in reports):
        raise typer.Exit(3)
