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
            help="Datasets by name, or folders of triples. Default: all datasets on this machine.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="Feature set ('names') to count and to audit for leaks.",
        ),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--texts",
            metavar="FILE[:COLUMN,...]",
            help="Texts of entities to audit for leaks: tab-separated, with a column 'id'.",
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--types",
            metavar="FILE[:COLUMN,...]",
            help="Types of entities to audit for leaks: tab-separated, a type per line.",
        ),
    ] = None,
    allowed: Annotated[
        float | None,
        typer.Option(
            "--allow-leakage",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Share of valid or test that train may give away. Default: 0.01.",
        ),
    ] = None,
    allow_names: AllowNames = "",
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="text, markdown or json.")
    ] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; an existing file is replaced.")
    ] = None,
) -> None:
    """Count repeats, leaks, unseen entities and filler features.

    Exit code 3 if train gives away more of valid or test than the dataset's card states and more
    than --allow-leakage, if features give away more answers than the card states, or if
    identifiers are easily confused and neither the card nor --allow-names accepts them.
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
