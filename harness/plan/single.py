"""A run outside of any suite, from all its settings in one text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.override import Path, Setting, flatten
from harness.config.yaml_source import parse_value
from harness.data.load import source
from harness.errors import ConfigError
from harness.model import MODELS
from harness.plan.cell import Cell
from harness.plan.expand import Plan
from harness.plan.modalities import choose_data
from harness.plan.resolve import SuiteRow
from harness.plan.settings import build_spec

__all__ = ["plan_single", "plan_values"]

OPTION = "--spec"


def plan_single(text: str) -> Plan:
    """Return the plan of one run. The models must have been loaded (``harness.catalog``).

    Args:
        text: YAML, ``{model: {name: rotate, dim: 64}, data: {dataset: atlas}, seed: 1}``; the
            defaults hold otherwise. ``harness.plan.spec.changed_values`` of a specification gives
            that specification.

    Raises:
        ConfigError: no mapping, no model or dataset, an unknown name or key, or a bad value.
        DataError: a feature set that must be looked at is wrong, or its files are missing.
    """
    values = parse_value(text, OPTION)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{OPTION}: needs a mapping with the settings of one run")
    return plan_values(values, OPTION)


def plan_values(values: Mapping[str, Any], option: str) -> Plan:
    """Return the plan of one run from its settings, as ``plan_single``.

    Args:
        values: nested settings; keys may be dotted.
        option: origin of the settings in messages.

    Raises:
        ConfigError, DataError: as ``plan_single``.
    """
    leaves = {s.path: s for s in flatten(values, lambda keys: f"{option} {'.'.join(keys)}")}
    name, dataset = (_name(leaves.pop(path, None), path, option) for path in (_MODEL, _DATASET))
    seed = leaves.pop(("seed",), Setting(("seed",), 0)).value
    for path in leaves:
        if path in (("model",), ("data",)) or path[0] == "seed":
            raise ConfigError(f"{option} {path[0]}: is given as a value and as a group")
    model, data_source = MODELS.get(name), source(dataset)
    settings = tuple(leaves.values())
    spec = build_spec(settings, name=name, model=model, dataset=data_source.card.name, seed=seed)
    label = model.capabilities.title
    row = SuiteRow(0, label, name, model, settings)
    data = choose_data(spec, row, data_source, settings)
    if isinstance(data, str):
        if spec.data.features != "none":
            data_source.modalities(spec.data.features)  # its error names the missing files
        raise ConfigError(f"{label} on {data_source.card.name}: {data}")
    run = Cell.of(spec.model_copy(update={"data": data}), label)
    return Plan("one run", f"{label} on {data.dataset}, seed {spec.seed}", "", (run,))


_MODEL, _DATASET = ("model", "name"), ("data", "dataset")


def _name(setting: Setting | None, path: Path, option: str) -> str:
    if setting is None or not isinstance(setting.value, str):
        raise ConfigError(f"{option} {'.'.join(path)}: needs a name")
    return setting.value
