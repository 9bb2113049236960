"""``harness models``: what can be run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.completion import complete_models
from harness.cli.console import duration, print_json, readable_size, wrapped
from harness.cli.options import AsJson, Device, Home, Models, SetValues
from harness.errors import ConfigError, HarnessError, RunError

if TYPE_CHECKING:
    from harness.run.forecast import ModelCosts
    from harness.run.models import ModelDetails, ModelListing

app = typer.Typer(no_args_is_help=True)

_COLUMNS = "{:12s}{:14s}{}"


@app.command("list")
def list_models(folders: Models = None, as_json: AsJson = False) -> None:
    """List models with the modalities that they need, reference and score; and the strategies."""
    from harness.run.models import list_models as all_models
    from harness.run.models import list_strategies

    listings = all_models(folders or ())
    if as_json:
        keys = ("name", "title", "formula", "modalities", "reference")
        print_json([{key: getattr(listing, key) for key in keys} for listing in listings])
        return
    typer.echo(f"{_COLUMNS.format('name', 'modalities', 'reference')}\n  score\n")
    for listing in listings:
        typer.echo(_entry(listing))
    typer.echo("\nnegative sampling strategies (negatives.strategy.name)\n")
    for name, text in list_strategies().items():
        typer.echo("\n".join(wrapped(f"{name:12s}{text}", 14)))
    offering = ", ".join(listing.name for listing in listings if listing.adversarial)
    typer.echo()
    typer.echo(filled(f"models that support adversarial training (adversary.kind): {offering}"))


def _entry(listing: ModelListing) -> str:
    """Return the lines of a model in the list: what it reads and is from; its score."""
    first = _COLUMNS.format(listing.name, listing.modalities, listing.reference)
    return "\n".join([*wrapped(first, 26), *wrapped(listing.formula, 4, first=2)])


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="File or folder with models of your own.")],
    model: Annotated[str | None, typer.Option(help="Check only this model.")] = None,
    set_: SetValues = None,
    as_json: AsJson = False,
) -> None:
    """Check that models of your own meet the contract; exit code 1 if one does not."""
    from harness.cli.checking import check_models

    if not check_models(path, model, set_ or [], as_json=as_json):
        raise typer.Exit(1)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Model or negative sampling strategy: `harness models list`.",
            autocompletion=complete_models,
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option(help="Also show parameters, memory and time on this dataset.")
    ] = None,
    features: Annotated[str | None, typer.Option(help="Feature set of the dataset.")] = None,
    set_: SetValues = None,
    device: Device = "auto",
    probe: Annotated[
        bool, typer.Option("--probe", help="Train two epochs if the time is unknown.")
    ] = False,
    folders: Models = None,
    results: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show the formula, the options with defaults, and the source file of a model or strategy."""
    from harness.run.models import describe_model

    if dataset is None and (features or set_ or probe):
        raise ConfigError("--features, --set and --probe: give a --dataset too")
    details = describe_model(name, folders or ())
    if dataset is not None and details.kind == "strategy":
        raise ConfigError(f"--dataset: '{name}' is a negative sampling strategy, not a model")
    costs = None
    if dataset:
        costs = _costs(name, dataset, features, set_ or [], results, device, probe, folders or [])
    if costs and as_json:
        print_json(asdict(costs))
        return
    if as_json:
        print_json(details.options)
        return
    _print_details(details)
    if costs:
        typer.echo(f"\n{costs_text(costs)}")


def _costs(
    name: str,
    dataset: str,
    features: str | None,
    overrides: list[str],
    home: Path | None,
    device: str,
    probe: bool,
    folders: list[Path],
) -> ModelCosts:
    from harness.cli.progress import show_events
    from harness.cli.stopping import stop_on_signals
    from harness.run.forecast import model_costs

    try:
        with show_events() as on_event, stop_on_signals(probe) as stop:
            costs = model_costs(
                name,
                dataset,
                features,
                overrides,
                home=home,
                probe=probe,
                on_event=on_event,
                should_stop=stop.asked,
                device=device,
                model_folders=tuple(folders),
            )
    except HarnessError:
        raise
    except Exception as error:  # a model of a user's own may raise anything
        raise RunError(f"'{name}' cannot be built: {type(error).__name__}: {error}") from error
    if stop.asked():
        raise stop.error()
    return costs


def costs_text(costs: ModelCosts) -> str:
    """Return parameters, memory and time as text of 80 columns, wider only for long names."""
    modules = costs.parameters
    width = max(len("parameters"), *(2 + len(module) for module in modules), 0)
    span = f"  for {costs.epochs} epochs ({costs.loss}) and the ranking" if costs.epochs else ""
    least_memory = f"≥ {readable_size(costs.least_bytes)}"
    memory = least_memory if costs.bytes is None else readable_size(costs.bytes)
    time = "unknown" if costs.seconds is None else duration(costs.seconds)
    lines = [
        f"On {costs.dataset} ({costs.entities:,} entities, {costs.relations:,} relations)",
        f"with the features '{costs.features}' (modalities: "
        f"{', '.join(costs.modalities) or 'none'}):",
        f"  {'parameters':{width}}  {sum(modules.values()):>14,}",
        *(f"    {module:{width - 2}}  {count:>14,}" for module, count in modules.items()),
        f"  {'memory':{width}}  {memory:>14}",
        f"  {'time':{width}}  {time:>14}{span}",
        *costs.shortage,
    ]
    if costs.measured_on:
        lines.append(f"measured on another machine: {costs.measured_on}")
    if costs.seconds is None:
        lines.append("unknown: --probe trains for two epochs and keeps time and memory.")
    return "\n".join(lines)


def _print_details(details: ModelDetails) -> None:
    """Print what a model or strategy is, its options, and what a study searches by default."""
    typer.echo(f"{details.name}: {details.title}")
    typer.echo(f"defined in {details.origin}\n")
    typer.echo(filled(details.description))
    typer.echo(f"\nOptions ({details.setting}.<name> in a suite):")
    _print_options(dict(details.options), "")
    if details.space:
        typer.echo("\nSearched by a study without a space of its own, if the run uses the option:")
    for key, domain in details.space.items():
        typer.echo(f"  {key}: {json.dumps(domain.written())}")


def filled(text: str) -> str:
    """Return a text with its paragraphs broken to 80 columns; what is indented stays as it is."""
    return "\n\n".join(
        block
        if any(line.startswith(" ") for line in block.splitlines())
        else "\n".join(wrapped(block))
        for block in text.split("\n\n")
    )


def _print_options(schema: dict[str, Any], prefix: str, root: dict[str, Any] | None = None) -> None:
    root = root or schema
    properties = schema.get("properties", {})
    if not properties and not prefix:
        typer.echo("  none")
    for key, field in properties.items():
        target = field
        if "$ref" in field:
            target = root["$defs"][field["$ref"].rsplit("/", 1)[1]]
        if "properties" in target:
            _print_options(target, f"{prefix}{key}.", root)
            continue
        choices = target.get("enum")
        default = json.dumps(field.get("default", target.get("default")))
        typer.echo(f"  {prefix}{key} = {default}" + (f"  one of {choices}" if choices else ""))
        text = " ".join((field.get("description") or target.get("description") or "").split())
        if text:
            indent = 6
            typer.echo("\n".join(wrapped(text, indent, first=indent)))
