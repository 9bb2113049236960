"""``harness models show NAME --dataset D``: parameters, memory and time of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.dry import DryRunOptions, duration, open_costs, probe
from harness.cli.fitting import MemoryNeed, readable_size, shortage

if TYPE_CHECKING:
    from harness.plan.expand import PlannedRun

__all__ = ["costs_text", "model_costs"]


def model_costs(
    name: str,
    dataset: str,
    features: str | None,
    overrides: Mapping[str, Any],
    home: Path,
    options: DryRunOptions,
) -> dict[str, Any]:
    """Return parameters, memory and time of one run of a model on a dataset, as plain values.

    Args:
        name: a model that is loaded.
        dataset: its name.
        features: feature set; None for "none", or the first that the model can do with.
        overrides: nested settings of the run.
        home: results folder with earlier runs; it need not exist.
        options: device of the run, and whether to probe.

    Raises:
        ConfigError: an unknown dataset, feature set, option or setting.
        MissingDataError: the dataset is not on this machine.
        Exception: whatever the model raises when it is built or run.
    """
    from harness.model import MODELS
    from harness.pipeline import resolve_device
    from harness.plan.memory import data_size, least_memory, memory_limit, parameters_by_module

    run = _default_run(name, dataset, features, overrides)
    spec, size = run.spec, data_size(run.spec.data)
    device = resolve_device(options.device)
    bound = least_memory(spec, size, device.type)
    limit = memory_limit(device)
    costs = open_costs(home, options)
    if options.probe and costs.cost(spec) is None and bound.size <= limit:
        probe([run], costs, options)
    cost = costs.cost(spec)
    need = max(bound.size, cost.memory) if cost else bound.size
    trained = MODELS.get(name).capabilities.trainable
    return {
        "dataset": spec.data.dataset,
        "features": spec.data.features,
        "modalities": [modality for modality, _ in size.features],
        "entities": size.entities,
        "relations": size.relations,
        "parameters": parameters_by_module(spec.model, size),
        "epochs": spec.training.epochs if trained else None,
        "loss": spec.objective.loss if trained else None,
        "seconds": cost.seconds(spec.training) if cost else None,
        "bytes": cost.memory if cost else None,
        "least_bytes": bound.size,
        "measured_on": cost.platform if cost else None,
        "shortage": shortage([MemoryNeed(f"{run.label} on {dataset}", need, bound.remedy)], limit),
    }


def _default_run(
    name: str, dataset: str, features: str | None, overrides: Mapping[str, Any]
) -> PlannedRun:
    """Return a run of a model, with a loss that it can be trained with unless one is given."""
    from harness.config.override import dotted, group_of
    from harness.model import MODELS
    from harness.plan.possible import usual_loss

    usual = {"objective.loss": usual_loss(MODELS.get(name), group_of(overrides, "model"))}
    settings = {**usual, **dotted(overrides), "model.name": name, "data.dataset": dataset}
    return _planned(settings, features, dataset)


def _planned(settings: Mapping[str, Any], features: str | None, dataset: str) -> PlannedRun:
    """Return a run with these features (None: see ``model_costs``)."""
    from harness.data.load import source
    from harness.errors import ConfigError, MissingDataError
    from harness.plan.single import plan_values

    def planned(data: Mapping[str, str]) -> PlannedRun:
        return plan_values({**settings, **data}, "--set").runs[0]

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
    modules = costs["parameters"]
    width = max(len("parameters"), *(2 + len(module) for module in modules), 0)
    span = f"  for {costs['epochs']} epochs ({costs['loss']}) and the ranking"
    read = ", ".join(costs["modalities"]) or "none"
    measured = costs["seconds"] is not None
    memory = (
        readable_size(costs["bytes"]) if measured else f"≥ {readable_size(costs['least_bytes'])}"
    )
    time = duration(costs["seconds"]) if measured else "unknown"
    platform = costs["measured_on"]
    lines = [
        f"On {costs['dataset']} ({costs['entities']:,} entities, {costs['relations']:,} relations)",
        f"with the features '{costs['features']}' (modalities: {read}):",
        f"  {'parameters':{width}}  {sum(modules.values()):>14,}",
        *(f"    {module:{width - 2}}  {count:>14,}" for module, count in modules.items()),
        f"  {'memory':{width}}  {memory:>14}",
        f"  {'time':{width}}  {time:>14}{span if costs['epochs'] else ''}",
        *costs["shortage"],
        *([f"measured on another machine: {platform}"] if platform else []),
        *(
            []
            if measured
            else ["unknown: --probe trains for two epochs and keeps time and memory."]
        ),
    ]
    return "\n".join(lines)
