"""``harness models show NAME --dataset D``: what a model takes there, as a dry run says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.cli.dry import accuracy, duration, measured
from harness.cli.fitting import readable_size, shortage

if TYPE_CHECKING:
    from harness.plan.expand import PlannedRun

__all__ = ["costs_text", "model_costs"]


def model_costs(
    name: str, dataset: str, features: str | None, overrides: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """Return what one run of a model on a dataset takes, as plain values.

    Args:
        name: of a model that is loaded.
        dataset: its name.
        features: feature set; None: "none", or where that does not do for the model, the first
            that does.
        overrides: nested settings of the run.
        device: where it would compute.

    Raises:
        ConfigError: an unknown dataset, feature set, option or setting.
        MissingDataError: the dataset is not on this machine.
        Exception: whatever the model raises when it is built or run.
    """
    from harness.cli.fitting import Need
    from harness.config.override import flatten, group_of
    from harness.data.load import load_graph
    from harness.model import MODELS
    from harness.plan.possible import usual_loss

    model = MODELS.get(name)
    usual = {"objective.loss": usual_loss(model, group_of(overrides, "model"))}
    given = {".".join(leaf.path): leaf.value for leaf in flatten(overrides)}
    run = _planned(
        {**usual, **given, "model.name": name, "data.dataset": dataset}, features, dataset
    )
    graph = load_graph(run.spec.data.dataset)
    found = measured(device, 0)
    budget = found.estimator.budget(run, found.machine)
    need = Need(f"{run.label} on {dataset}", budget.bytes, budget.remedy)
    trained = model.capabilities.trainable
    return {
        "dataset": run.spec.data.dataset,
        "features": run.spec.data.features,
        "modalities": found.estimator.modalities(run),
        "entities": graph.n_entities,
        "relations": graph.n_relations,
        "parameters": found.estimator.parameters(run),
        "epochs": run.spec.training.epochs if trained else None,
        "loss": run.spec.objective.loss if trained else None,
        "seconds": budget.seconds,
        "bytes": budget.bytes,
        "shortage": shortage([need], found.limit),
        "accuracy": accuracy(found.busy),
    }


def _planned(settings: Mapping[str, Any], features: str | None, dataset: str) -> PlannedRun:
    """Return a run with these features (None: see ``model_costs``)."""
    from harness.data.load import source
    from harness.errors import ConfigError, MissingDataError
    from harness.plan.single import plan_values

    def planned(more: Mapping[str, str]) -> PlannedRun:
        return plan_values({**settings, **more}, "--set").runs[0]

    if features or "data.features" in settings:
        return planned({"data.features": features} if features else {})
    refusals, missing = [], []
    for name in source(dataset).feature_sets:  # "none" is the first
        try:
            return planned({"data.features": name})
        except MissingDataError:
            missing.append(name)
        except ConfigError as error:
            refusals.append(error)
    if not missing:
        raise refusals[0]
    hint = f"not on this machine: {', '.join(missing)} (`harness data show {dataset}`)"
    raise ConfigError(f"{refusals[0]}; {hint}")


def costs_text(costs: Mapping[str, Any]) -> str:
    """Return ``model_costs`` as text, at most 80 columns wide but for long names."""
    parts = costs["parameters"]
    width = max(len("parameters"), *(2 + len(part) for part in parts), 0)
    how = f"  for {costs['epochs']} epochs ({costs['loss']}) and the ranking"
    read = ", ".join(costs["modalities"]) or "none"
    lines = [
        f"On {costs['dataset']} ({costs['entities']:,} entities, {costs['relations']:,} relations)",
        f"with the features '{costs['features']}' (modalities: {read}):",
        f"  {'parameters':{width}}  {sum(parts.values()):>14,}",
        *(f"    {part:{width - 2}}  {count:>14,}" for part, count in parts.items()),
        f"  {'memory':{width}}  {readable_size(costs['bytes']):>14}",
        f"  {'time':{width}}  {duration(costs['seconds']):>14}{how if costs['epochs'] else ''}",
        *costs["shortage"],
        *costs["accuracy"],
    ]
    return "\n".join(lines)
