"""``harness models show NAME --dataset D``: what a model takes there, as a dry run says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.cli.dry import accuracy, duration, measured
from harness.cli.fitting import readable_size, shortage

__all__ = ["costs_text", "model_costs"]


def model_costs(
    name: str, dataset: str, features: str | None, overrides: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """Return what one run of a model on a dataset takes, as plain values.

    Args:
        name: of a model that is loaded.
        dataset: its name.
        features: feature set; None: the default one.
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
    from harness.plan.single import plan_values

    asked: dict[str, Any] = {
        "model.name": name,
        "data.dataset": dataset,
        **({"data.features": features} if features else {}),
    }
    model = MODELS.get(name)
    usual = {"objective.loss": usual_loss(model, group_of(overrides, "model"))}
    given = {".".join(leaf.path): leaf.value for leaf in flatten(overrides)}
    [run] = plan_values({**usual, **given, **asked}, "--set").runs
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


def costs_text(costs: Mapping[str, Any]) -> str:
    """Return ``model_costs`` as text, at most 80 columns wide but for long names."""
    parts = costs["parameters"]
    width = max(map(len, (*parts, "parameters")))
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
