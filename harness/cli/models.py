"""``harness models``: what can be run."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.dry import DryRunOptions
from harness.cli.options import AsJson, Device, Home, Models, SetValues
from harness.cli.paths import home

if TYPE_CHECKING:
    from harness.config.search import Domain
    from harness.model import Capabilities, Model
    from harness.procedure import Strategy

app = typer.Typer(no_args_is_help=True)

WIDTH = 80


def _load(folders: list[Path] | None) -> None:
    from harness import catalog

    catalog.load_all(folders or ())


@app.command("list")
def list_models(folders: Models = None, as_json: AsJson = False) -> None:
    """List every registered model with its score and where it is defined."""
    _load(folders)
    from harness.model import MODELS, Model
    from harness.procedure import STRATEGIES

    rows = [(name, MODELS.get(name).capabilities) for name in MODELS]
    if as_json:
        listing = [
            {
                "name": n,
                "title": c.title,
                "formula": c.formula,
                "modalities": _modalities(c),
                "reference": c.reference,
            }
            for n, c in rows
        ]
        typer.echo(json.dumps(listing, indent=2))
        return
    typer.echo(f"{_COLUMNS.format('name', 'modalities', 'reference')}\n  score\n")
    for name, c in rows:
        typer.echo(_entry(name, c))
    typer.echo("\nstrategies of negatives (negatives.strategy.name)\n")
    for name in STRATEGIES:
        first = inspect.cleandoc(STRATEGIES.get(name).__doc__ or "").partition("\n\n")[0]
        typer.echo(textwrap.fill(f"{name:12s}{first}", WIDTH, subsequent_indent=" " * 14))
    offering = ", ".join(
        n for n in MODELS if MODELS.get(n).modality_embeddings is not Model.modality_embeddings
    )
    typer.echo()
    typer.echo(
        _filled(f"models that can be trained against an adversary (adversary.kind): {offering}")
    )


_COLUMNS = "{:12s}{:14s}{}"


def _entry(name: str, capabilities: Capabilities) -> str:
    """Return the lines of a model in the list: what it reads and is from; its score."""
    wrap = partial(textwrap.wrap, width=WIDTH, break_on_hyphens=False)
    first = _COLUMNS.format(name, _modalities(capabilities), capabilities.reference)
    lines = wrap(first, subsequent_indent=" " * 26)
    lines += wrap(capabilities.formula, initial_indent="  ", subsequent_indent=" " * 4)
    return "\n".join(lines)


def _modalities(capabilities: Capabilities) -> str:
    """Return the modalities a model cannot do without, "any" it is offered, or "-"."""
    if capabilities.requires:
        return ", ".join(sorted(capabilities.requires))
    if capabilities.needs_features:
        return "at least one"
    return "any" if capabilities.uses_modalities else "-"


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="File or folder with models of your own.")],
    model: Annotated[str | None, typer.Option(help="Check this one of its models only.")] = None,
    set_: SetValues = None,
    as_json: AsJson = False,
) -> None:
    """Check that models of your own keep the contract; exit code 1 when one does not."""
    from harness.cli.checking import check_models

    if not check_models(path, model, set_ or [], as_json=as_json):
        raise typer.Exit(1)


@app.command()
def show(
    name: str,
    dataset: Annotated[
        str | None, typer.Option(help="Show parameters, memory and time on this dataset too.")
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
    """Show the formula, options with defaults and meaning, and the file of a model or strategy."""
    _load(folders)
    from harness.config.search import declared
    from harness.errors import ConfigError, suggest
    from harness.model import MODELS
    from harness.plan.spec import RunSpec
    from harness.procedure import STRATEGIES

    if dataset is None and (features or set_ or probe):
        raise ConfigError("--features, --set and --probe: give a --dataset too")
    if name in STRATEGIES:
        if dataset is not None:
            raise ConfigError(f"--dataset: '{name}' is a strategy of negatives, no model")
        strategy, setting = STRATEGIES.get(name), "negatives.strategy"
        title = f"a strategy of negatives ({setting}.name: {name})"
        _show(name, title, strategy, STRATEGIES.origin(name), setting, as_json=as_json)
        if not as_json:
            _print_space(declared(strategy.Config, f"{setting}."))
        return
    if name not in MODELS:
        near = suggest(name, [*MODELS, *STRATEGIES])
        raise ConfigError(f"unknown model or strategy '{name}'{near}")
    model = MODELS.get(name)
    costs = None
    if dataset:
        options = DryRunOptions(device, probe=probe, model_folders=tuple(folders or ()))
        costs = _costs(name, dataset, features, set_ or [], home(results), options)
    if costs and as_json:
        typer.echo(json.dumps(costs, indent=2))
        return
    title = f"{model.capabilities.title} ({model.capabilities.reference})"
    _show(name, title, model, MODELS.origin(name), "model", as_json=as_json)
    if not as_json and model.capabilities.trainable:
        _print_space(declared(RunSpec) | declared(model.Config, "model."))
    if costs:
        from harness.cli.model_costs import costs_text

        typer.echo(f"\n{costs_text(costs)}")


def _costs(
    name: str,
    dataset: str,
    features: str | None,
    overrides: Sequence[str],
    results: Path,
    options: DryRunOptions,
) -> dict[str, Any]:
    from harness.cli.model_costs import model_costs
    from harness.config.override import parse_overrides
    from harness.errors import HarnessError, RunError

    try:
        settings = parse_overrides(overrides)
        return model_costs(name, dataset, features, settings, results, options)
    except HarnessError:
        raise
    except Exception as error:  # a model of a user's own may raise anything
        raise RunError(f"'{name}' cannot be built: {type(error).__name__}: {error}") from error


def _show(
    name: str,
    title: str,
    shown: type[Model] | type[Strategy],
    origin: str,
    setting: str,
    *,
    as_json: bool,
) -> None:
    """Print what a model or strategy is and its options, which stand below ``setting``."""
    schema = shown.Config.model_json_schema()
    if as_json:
        typer.echo(json.dumps(schema, indent=2))
        return
    typer.echo(f"{name}: {title}")
    typer.echo(f"defined in {origin}\n")
    typer.echo(_filled(inspect.cleandoc(shown.__doc__ or "")))
    typer.echo(f"\nOptions ({setting}.<name> in a suite):")
    _print_options(schema, "")


def _filled(text: str) -> str:
    """Return a text with its paragraphs broken to 80 columns; what is indented stays as it is."""
    return "\n\n".join(
        block
        if any(line.startswith(" ") for line in block.splitlines())
        else textwrap.fill(block, 80, break_on_hyphens=False)
        for block in text.split("\n\n")
    )


def _print_space(space: Mapping[str, Domain]) -> None:
    """Print what a study searches when its suite names no space, if that is anything."""
    if not space:
        return
    typer.echo("\nSearched by a study without a space of its own, where a run looks at it:")
    for key, domain in space.items():
        typer.echo(f"  {key}: {json.dumps(domain.written())}")


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
            indent = " " * 6
            typer.echo(textwrap.fill(text, 80, initial_indent=indent, subsequent_indent=indent))
