"""``harness data``: list, fetch, import, verify, audit, show, split, export, rm."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.completion import complete_datasets
from harness.cli.console import confirmed, plural, print_json, readable_size
from harness.cli.data_audit import audit
from harness.cli.options import AllowNames, AsJson, numbers
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.data.datasets import DatasetDetails
    from harness.events import Event

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
app.command()(audit)

Name = Annotated[
    str,
    typer.Argument(
        help="Dataset, by name or alias: `harness data list`.", autocompletion=complete_datasets
    ),
]


@app.command("list")
def list_datasets(as_json: AsJson = False) -> None:
    """List the datasets with their published sizes and folders, or how to get them."""
    from rich.table import Table

    from harness.data.datasets import list_datasets
    from harness.screen import SafeConsole

    messages: list[Event] = []
    listings = list_datasets(messages.append)
    if as_json:
        print_json([asdict(listing) for listing in listings])
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    counted = ("entities", "relations", "train", "valid", "test")
    for column in counted:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    locations = ["built in" if row.built_in else row.folder or "not downloaded" for row in listings]
    for listing, location in zip(listings, locations, strict=True):
        sizes = [str(listing.counts.get(column, "-")) for column in counted]
        table.add_row(listing.name, *sizes, location)
    # Paths and numbers stay whole, however narrow the terminal is.
    console = SafeConsole()
    console.width = max(console.width, 200 + max(map(len, locations)))
    console.print(table, soft_wrap=True)
    if any(not row.built_in and row.folder is None for row in listings):
        typer.echo("download one: harness data fetch NAME", err=True)
    for message in messages:
        typer.echo(message, err=True)


@app.command()
def fetch(
    name: Name,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", help="Mirror that serves <owner>/<repository>/<commit>/<path>."),
    ] = None,
    features: Annotated[
        bool,
        typer.Option(
            "--features/--no-features", help="Download the original files of its feature sets too."
        ),
    ] = True,
) -> None:
    """Download a dataset at its pinned revision and check every file's sha256.

    Also downloads the files that its feature sets are made from (`harness data show NAME`).

    Files that are already there are not downloaded again.
    """
    from harness.data.datasets import fetch_dataset

    typer.echo(fetch_dataset(name, base_url=base_url, features=features, on_event=_print_event))


@app.command("import")
def import_dataset(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of a dataset, or of several dataset folders."),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Dataset in the folder. Default: recognised by content. A new name imports a "
            "graph of your own.",
        ),
    ] = None,
    allow_names: AllowNames = "",
) -> None:
    """Import a local copy of a dataset into the data folder after checking every file's sha256.

    Files of feature sets are recognised by content, also compressed (.gz) or in subfolders.

    A new --name imports a graph of your own: TSV, Hugging Face, RDF, PyKEEN, OpenKE, MoMoK, MyGO.

    Exit code 3 if identifiers of your own graph are easily confused; see --allow-names.
    """
    from harness.data.datasets import import_dataset

    for path in import_dataset(folder, name, allow_names=allow_names, on_event=_print_event):
        typer.echo(path)


@app.command()
def verify(
    name: Annotated[
        str | None,
        typer.Argument(help="Dataset, by name or alias.", autocompletion=complete_datasets),
    ] = None,
    all_datasets: Annotated[
        bool, typer.Option("--all", help="Every dataset on this machine.")
    ] = False,
    features: Annotated[
        str | None,
        typer.Option("--features", help="Feature set whose coverage is counted ('published')."),
    ] = None,
    allow_names: AllowNames = "",
    as_json: AsJson = False,
) -> None:
    """Compare published sizes with the files.

    Exit code 3 if a file is wrong, or if identifiers are easily confused (in blanks, case, ...)
    and neither the card nor --allow-names accepts them.
    """
    from harness.data.datasets import verify_datasets

    if (name is None) != all_datasets:
        raise ConfigError("give the name of a dataset, or --all")
    reports = verify_datasets(
        None if name is None else [name],
        features=features,
        allow_names=allow_names,
        on_event=_print_event,
    )
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        typer.echo("\n".join(report.text() for report in reports), nl=False)
    if not all(report.ok for report in reports):
        raise typer.Exit(3)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a dataset's card, licence, citation, feature sets and some triples."""
    from harness.data.datasets import describe_dataset

    details = describe_dataset(name)
    if as_json:
        values = details.card.model_dump(mode="json")
        values |= {"notes": details.notes, "feature_sets": dict(details.feature_sets)}
        print_json(values | {"samples": details.samples}, ascii_only=False)
        return
    _print_card(details)
    fetch_hint = f"\nGet it: harness data fetch {details.card.name}"
    typer.echo("\nSome training triples:" if details.present else fetch_hint)
    for head, relation, tail in details.samples:
        typer.echo(f"  {head} | {relation} | {tail}")


@app.command()
def split(
    file: Annotated[
        Path,
        typer.Argument(help="Triples: .tsv, .csv, .jsonl, .parquet, .nt, .ttl, .rdf, or PyKEEN's."),
    ],
    out: Annotated[Path, typer.Option(help="New folder of the three splits.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    ratios: Annotated[
        str, typer.Option(help="Weights of train, valid and test; 8,1,1 is 0.8,0.1,0.1.")
    ] = "0.8,0.1,0.1",
    kind: Annotated[
        str,
        typer.Option(
            help="transductive: all entities in train; cold: some triples with a new entity; "
            "inductive: no entity in two splits."
        ),
    ] = "transductive",
    cold: Annotated[
        float, typer.Option(help="Share of valid and test with a new entity (--kind cold).")
    ] = 0.5,
) -> None:
    """Split one file of triples into train, valid and test without leaks; report moved triples.

    Triples of the same two entities stay together, so none follows from train by an inverse or
    duplicate relation. The splits depend on the seed, not on the order of the lines.
    """
    from harness.data.exchange import split_file

    result = split_file(
        file, out, seed=seed, ratios=numbers(ratios, "--ratios"), kind=kind, cold=cold
    )
    for sentence in result.report:
        typer.echo(sentence)
    typer.echo(f"{out} has the splits; harness data import {out} --name NAME", err=True)


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="New folder.")],
    to: Annotated[
        str, typer.Option(help="tsv (also for PyKEEN) or huggingface (folder for `datasets`).")
    ] = "tsv",
) -> None:
    """Write the triples of a dataset with a dataset card (README.md)."""
    from harness.data.exchange import export_dataset

    for path in export_dataset(name, out, form=to):
        typer.echo(path)


@app.command()
def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the files of a dataset on this machine, but keep its results.

    Exit code 0 also if the answer is no; 130 if there is no answer.
    """
    from harness.data.datasets import dataset_files, remove_dataset

    files = dataset_files(name)
    text = f"{files.folder} ({plural(files.count, 'file')}, {readable_size(files.size)})"
    if not yes and not confirmed(f"Delete {text}?"):
        typer.echo(f"nothing was removed: {files.folder} stays", err=True)
        return
    remove_dataset(name)
    again = f"; `harness data fetch {files.name}` gets it again" if files.can_be_fetched else ""
    typer.echo(f"{text} removed{again}", err=True)


def _print_event(event: Event) -> None:
    typer.echo(event, err=True)


def _print_card(details: DatasetDetails) -> None:
    from rich.table import Table

    from harness.screen import SafeConsole

    card = details.card
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
    rows += [("feature set", f"{key}: {text}") for key, text in details.feature_sets.items()]
    rows += [("note", note) for note in details.notes]
    for row in rows:
        table.add_row(*row)
    SafeConsole().print(table)
