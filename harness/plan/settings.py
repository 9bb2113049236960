"""Layers of settings -> one run specification, every error naming the line of the setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.config.base import KeyPath, problems, show_path
from harness.config.override import Path, Setting, flatten, nest
from harness.errors import ConfigError, InconsistentError
from harness.model import Model, ModelConfig
from harness.plan.possible import impossible, is_reciprocal
from harness.plan.spec import RunSpec
from harness.plan.suite import Suite
from harness.procedure import STRATEGIES

__all__ = [
    "AXES",
    "build_spec",
    "check_axis",
    "from_overrides",
    "from_suite",
    "has_effect",
    "origin_of",
    "settle",
]

AXES = {
    "model": "rows",
    "model.name": "rows",
    "data.dataset": "datasets",
    "seed": "seeds",
}
"""Values a suite gives through its axes -> the axis."""

_EFFECTIVE: Mapping[str, Callable[[RunSpec, type[Model]], bool]] = {
    **dict.fromkeys(
        ("objective", "adversary", "optimiser", "training", "audit"),
        lambda spec, model: model.capabilities.trainable,
    ),
    **dict.fromkeys(
        ("negatives", "objective.weighting"),
        lambda spec, model: model.capabilities.trainable and not spec.objective.against_all,
    ),
    "negatives.share": lambda spec, model: spec.negatives.sampler == "shared",
    "objective.margin": lambda spec, model: spec.objective.loss == "margin",
    "objective.temperature": lambda spec, model: spec.objective.weighs_by_score,
    "objective.egns": lambda spec, model: spec.objective.weighs_by_entropy,
    "objective.reduction": lambda spec, model: (
        not (spec.objective.weighs_by_score or spec.objective.against_all)
    ),
    "objective.smoothing": lambda spec, model: spec.objective.loss == "k_vs_all",
    **dict.fromkeys(
        ("objective.softmax_smoothing", "objective.sides"),
        lambda spec, model: spec.objective.loss == "one_vs_all",
    ),
    "objective.subsampling": lambda spec, model: not spec.objective.against_all,
    "optimiser.cycle": lambda spec, model: spec.optimiser.schedule == "restarts",
    **dict.fromkeys(
        ("adversary.mu", "adversary.lr", "adversary.noise", "adversary.hidden"),
        lambda spec, model: spec.adversary.kind != "none",
    ),
    "optimiser.auxiliary_lr": lambda spec, model: (
        model.auxiliary_parameters is not Model.auxiliary_parameters
    ),
    "protocol.valid_filter": lambda spec, model: spec.protocol.valid_filter != spec.protocol.filter,
    # A model with free encoding that reads features has something to encode after all.
    "training.compile": lambda spec, model: (
        not model.free_encoding or model.capabilities_of(spec.model.options).reads_features
    ),
    "training.patience": lambda spec, model: spec.training.select == "validation",
}
"""Setting, or group of settings, that some runs ignore -> whether a run has a use for it."""

C = TypeVar("C", bound=BaseModel)
M = TypeVar("M", bound=BaseModel)


def from_suite(
    suite: Suite, settings: Mapping[str, Any], path: KeyPath, *, strict: bool
) -> tuple[Setting, ...]:
    """Return the settings that a suite holds at ``path``.

    Raises:
        ConfigError: a value is given twice, or belongs to an axis of the suite.
    """
    layer: dict[Path, Setting] = {}
    for setting in flatten(settings, lambda keys: suite.origin((*path, *keys)), strict=strict):
        if setting.path in layer:
            raise ConfigError(f"{setting.origin}: is given twice")
        layer[setting.path] = check_axis(setting)
    _refuse_groups(layer)
    return tuple(layer.values())


def from_overrides(overrides: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Return the settings of the command line.

    Raises:
        ConfigError: a value belongs to an axis of the suite.
    """
    settings = flatten(overrides, lambda keys: f"--set {'.'.join(keys)}", strict=False)
    return tuple(map(check_axis, settings))


def check_axis(setting: Setting) -> Setting:
    """Return a setting.

    Raises:
        ConfigError: it belongs to an axis of the suite.
    """
    if axis := AXES.get(".".join(setting.path)):
        raise ConfigError(f"{setting.origin}: is an axis of the suite; use its '{axis}' or --only")
    return setting


def _refuse_groups(layer: Mapping[Path, Setting]) -> None:
    for path, setting in layer.items():
        if any(longer != path and longer[: len(path)] == path for longer in layer):
            raise ConfigError(f"{setting.origin}: is given as a value and as a group")


def origin_of(layers: Sequence[Setting], path: Path) -> str:
    """Return the origin of the last setting of a value, its key when nothing set it."""
    return next((s.origin for s in reversed(layers) if s.path == path), ".".join(path))


def settle(layers: Iterable[Setting]) -> dict[Path, Setting]:
    """Return the last setting of each path; a group and a value in it replace each other."""
    settled: dict[Path, Setting] = {}
    for setting in layers:
        path = setting.path
        for overlapping in [p for p in settled if p[: len(path)] == path[: len(p)]]:
            del settled[overlapping]
        settled[path] = setting
    return settled


def build_spec(
    layers: Iterable[Setting], *, name: str, model: type[Model], dataset: str, seed: int
) -> RunSpec:
    """Return the run specification that layers of settings describe; later layers win.

    Model options are reduced to the values that differ from the model's defaults, and options
    without effect given the others are reset to their defaults, so neither the spelling of a value
    nor one without effect changes the run id.

    Raises:
        ConfigError: an unknown key, a bad value, or one with which the model cannot be trained;
            each problem has a line.
    """
    options = model.Config
    settings = settle(s for s in layers if _applies(s, options))
    model_settings = {path[1:]: s for path, s in settings.items() if path[0] == "model"}
    reduced = _options(model_settings, options, f"model '{name}': ")
    tree = nest({p: s.value for p, s in settings.items() if p[0] != "model" and p[:2] != _STRATEGY})
    if strategy := _strategy(settings):
        tree.setdefault("negatives", {})["strategy"] = strategy
    data = tree.setdefault("data", {})
    if isinstance(data, dict):
        data["dataset"] = dataset
    tree |= {"model": {"name": name, **reduced}, "seed": seed}
    spec = _validated(tree, RunSpec, settings)
    for key in _without_effect(spec, model):
        spec = _at_default(spec, key.split("."))
    _refuse_impossible(spec, model, settings)
    return spec


def _refuse_impossible(spec: RunSpec, model: type[Model], settings: Mapping[Path, Setting]) -> None:
    """Refuse a setting that the model cannot be trained with, with its line."""
    if problem := impossible(spec, model, reciprocal=is_reciprocal(model, spec.model.options)):
        setting = settings.get(tuple(problem.key.split(".")))
        if setting:
            raise ConfigError(f"{setting.origin}: {problem.reason}")
        raise ConfigError(f"model '{spec.model.name}': {problem}")


_STRATEGY = ("negatives", "strategy")


def _strategy(settings: Mapping[Path, Setting]) -> dict[str, Any]:
    """Return the strategy of the negatives with the options that differ from its defaults."""
    options = {path[2:]: setting for path, setting in settings.items() if path[:2] == _STRATEGY}
    if () in options:
        raise ConfigError(f"{options[()].origin}: needs a mapping with a name: {{name: ...}}")
    name = options.pop(("name",), None)
    if name is None or not name.value:
        for setting in options.values():
            raise ConfigError(f"{setting.origin}: options go with negatives.strategy.name")
        return {}
    try:
        config = STRATEGIES.get(str(name.value)).Config
    except ConfigError as error:
        raise ConfigError(f"{name.origin}: {error}") from None
    return {"name": name.value, **_options(options, config, f"strategy '{name.value}': ")}


def _without_effect(spec: RunSpec, model: type[Model]) -> list[str]:
    return [key for key, effective in _EFFECTIVE.items() if not effective(spec, model)]


def has_effect(spec: RunSpec, model: type[Model], key: str) -> bool:
    """Tell whether the value of a dotted key has an effect given the other settings of a run."""
    return not any(f"{key}.".startswith(f"{group}.") for group in _without_effect(spec, model))


def _at_default(config: C, path: Sequence[str]) -> C:
    name, *inner = path
    if inner:
        value = _at_default(getattr(config, name), inner)
    else:
        value = type(config).model_fields[name].get_default()
    return config.model_copy(update={name: value})


def _applies(setting: Setting, options: type[ModelConfig]) -> bool:
    if setting.strict or setting.path[0] != "model":
        return True
    return setting.path[1] in options.model_fields


def _options(
    settings: Mapping[Path, Setting], options: type[BaseModel], prefix: str
) -> dict[str, Any]:
    tree = nest({path: s.value for path, s in settings.items()})
    config = _validated(tree, options, settings, prefix)
    reduced: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return reduced


def _validated(
    tree: Mapping[str, Any],
    model: type[M],
    settings: Mapping[Path, Setting],
    prefix: str = "",
) -> M:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        details = problems(error, model)
        lines = []
        for problem in details:
            origin, key = _blame(problem.path, settings, problem.message)
            lines.append(f"{origin}: {prefix}{key}{problem.message}")
        text = "\n".join(dict.fromkeys(lines))
        if all(item["type"] == "value_error" for item in error.errors()):
            reason = "; ".join(problem.message for problem in details)
            raise InconsistentError(text, reason=reason) from None
        raise ConfigError(text) from None


def _blame(path: KeyPath, settings: Mapping[Path, Setting], message: str) -> tuple[str, str]:
    """Return the origin of a problem at ``path``, and the key if it is another.

    A problem of several values together stands at the group they are in: it comes from the setting
    that its message names first.
    """
    for length in range(len(path), 0, -1):
        for names, setting in settings.items():
            if names == path[:length]:
                inner = show_path(path[length:])
                return setting.origin, f"{inner}: " if inner else ""
    group = {n[len(path) :]: s for n, s in settings.items() if n[: len(path)] == path}
    mentions = {_mention(show_path(names), message): s.origin for names, s in group.items()}
    first = min((position for position in mentions if position >= 0), default=None)
    if first is not None:
        return mentions[first], ""
    if path and group:
        return next(iter(group.values())).origin, f"'{show_path(path)}': "
    return show_path(path) or "settings", ""


def _mention(key: str, message: str) -> int:
    """Return the position at which a message names a key, -1 if it does not."""
    match = re.search(rf"(?<![\w.]){re.escape(key)}(?!\.?\w)", message)
    return match.start() if match else -1
