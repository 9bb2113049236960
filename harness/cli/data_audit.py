"""``harness data audit``: what makes figures on a dataset misleading."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.data.audit import AuditReport
    from harness.data.card import DatasetSource

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
        typer.Option("--features", help="Feature set whose rows are looked at ('names')."),
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
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="text, markdown or json.")
    ] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; what is there is replaced.")
    ] = None,
) -> None:
    """Count repeats, leaks, unseen entities and filler features.

    Exit code 3 when train gives away more of valid or test than the dataset's card says and more
    than --allow-leakage.
    """
    from harness.data.audit import ALLOWED, audit_source
    from harness.data.audit_text import FORMATS
    from harness.errors import ConfigError, suggest

    known = [*FORMATS, "json"]
    if form not in known:
        raise ConfigError(f"--format {form}: unknown{suggest(form, known)}")
    entries = [_entry(place) for place in places] if places else _here()
    share = ALLOWED if allowed is None else allowed
    reports = [audit_source(entry, features, share) for entry in entries]
    printed = _json(reports) if form == "json" else FORMATS[form](reports)
    _write(printed, out)
    if any(report.excess for report in reports):
        raise typer.Exit(3)


def _entry(place: str) -> DatasetSource:
    """Return the dataset of that name, else of that folder.

    Raises:
        ConfigError: there is neither.
    """
    from harness.data.load import source
    from harness.data.local import LocalSource
    from harness.errors import ConfigError

    try:
        return source(place)
    except ConfigError:
        folder = Path(place)
        if not folder.is_dir():
            raise
        return LocalSource(folder.resolve())


def _here() -> list[DatasetSource]:
    """Return the datasets on this machine; those that are generated have nothing to audit."""
    from harness.data import folders
    from harness.data.load import sources

    return [
        entry
        for entry in sources()
        if entry.card.name != "synthetic" and (not entry.card.files or folders.find(entry.card))
    ]


def _json(reports: list[AuditReport]) -> str:
    rows = [{**asdict(report), "excess": report.excess} for report in reports]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _write(printed: str, out: Path | None) -> None:
    if out is None:
        typer.echo(printed, nl=False)
        return
    from harness.store.files import write_whole

    write_whole(out, printed.encode())
