"""``harness data audit``: what makes figures on a dataset misleading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import AllowNames

if TYPE_CHECKING:
    from harness.data.audit import AuditReport
    from harness.data.card import DatasetSource
    from harness.data.feature_leaks import SetLeaks

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
    from harness.data.audit import ALLOWED, audit_source
    from harness.data.audit_text import FORMATS
    from harness.data.names import chosen_kinds
    from harness.errors import ConfigError, suggest

    known = [*FORMATS, "json"]
    if form not in known:
        raise ConfigError(f"--format {form}: unknown{suggest(form, known)}")
    entries = [_entry(place) for place in places] if places else _here()
    share, names = ALLOWED if allowed is None else allowed, chosen_kinds(allow_names)
    tables = [("text", table) for table in texts or ()]
    tables += [("types", table) for table in types or ()]
    if tables and len(entries) != 1:
        raise ConfigError("--texts and --types are of one dataset: name it")
    reports = []
    for entry in entries:
        report = audit_source(entry, features, share, names)
        leaks = (*report.leaks, *_table_leaks(entry, tables))
        reports.append(replace(report, leaks=leaks))
    printed = _json(reports) if form == "json" else FORMATS[form](reports)
    _write(printed, out)
    if any(r.excess or r.feature_excess or r.name_excess for r in reports):
        raise typer.Exit(3)


def _table_leaks(entry: DatasetSource, tables: list[tuple[str, str]]) -> Iterator[SetLeaks]:
    """Audit tables of texts or types; they are named after their files."""
    from harness.data.feature_leaks import mention_leaks, set_leaks
    from harness.data.feature_sets import entity_texts
    from harness.data.statements import named_in_texts, named_in_types, read_texts, read_types

    if not tables:
        return
    graph = entry.graph()
    names = entity_texts(graph)
    for kind, table in tables:
        path, columns = _columns_of(table)
        if kind == "text":
            statements = named_in_texts(read_texts(path, graph, columns), names)
            leaks = mention_leaks(graph, statements)
        else:
            statements = named_in_types(read_types(path, graph, columns), names, graph.entities)
            leaks = mention_leaks(graph, statements, modality="types", kind="types")
        # The file's name and columns stand for the set: who publishes such a table may pin it.
        name = ":".join(filter(None, (path.name, ",".join(columns))))
        yield set_leaks(graph, name, [leaks], entry.card.feature_leaks.get(name, {}))


def _columns_of(place: str) -> tuple[Path, tuple[str, ...]]:
    """Split ``FILE:COLUMN,COLUMN``; a file whose whole name is that comes first."""
    path, colon, columns = place.rpartition(":")
    if not colon or Path(place).is_file():
        return Path(place), ()
    return Path(path), tuple(columns.split(","))


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
    from pydantic import BaseModel

    rows = [
        {**asdict(report), "excess": report.excess, "feature_excess": report.feature_excess}
        for report in reports
    ]
    # What a card acknowledges is a pydantic model, which dataclasses leave as it is.
    return json.dumps(rows, indent=2, ensure_ascii=False, default=BaseModel.model_dump) + "\n"


def _write(printed: str, out: Path | None) -> None:
    if out is None:
        typer.echo(printed, nl=False)
        return
    from harness.store.files import write_whole

    write_whole(out, printed.encode())
