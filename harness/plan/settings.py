"""Layers of settings -> one run specification, every error naming the line of the setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from harness.config.base import KeyPath, problems, show_path
from harness.config.override import flatten, nest
from harness.errors import ConfigError, InconsistentError
from harness.model import Model, ModelConfig
from harness.plan.possible import impossible, is_reciprocal
from harness.plan.spec import RunSpec
from harness.plan.suite import Suite
from harness.procedure import STRATEGIES

__all__ = [
    "AXES",
    "Setting",
    "build_spec",
    "from_overrides",
    "from_suite",
    "is_idle",
    "setting_at",
    "settle",
    "where_set",
]

AXES = {
    "model": "rows",
    "model.name": "rows",
    "data.dataset": "datasets",
    "seed": "seeds",
}
"""Values a suite gives through its axes -> the axis."""

_LOOKED_AT: Mapping[str, Callable[[RunSpec, type[Model]], bool]] = {
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
"""Values, or groups of them, that a run looks at only in some circumstances -> whether it does."""

C = TypeVar("C", bound=BaseModel)
M = TypeVar("M", bound=BaseModel)


class Setting(NamedTuple):
    """One value for one place of a run specification.

    Attributes:
        path: ``("model", "margin")``.
        value: anything but a mapping.
        where: ``suites/x.yaml:4: base.model.margin`` or ``--set model.margin``.
        strict: the models are named, so the option must exist; else it is for those that have it.
    """

    path: tuple[str, ...]
    value: Any
    where: str
    strict: bool


def from_suite(
    suite: Suite, settings: Mapping[str, Any], path: KeyPath, *, strict: bool
) -> tuple[Setting, ...]:
    """Return the settings that a suite holds at ``path``.

    Raises:
        ConfigError: a value is given twice, or belongs to an axis of the suite.
    """
    found: dict[tuple[str, ...], Setting] = {}
    for leaf in flatten(settings):
        where = suite.where((*path, *leaf.keys))
        if leaf.path in found:
            raise ConfigError(f"{where}: is given twice")
        found[leaf.path] = setting_at(leaf.path, leaf.value, where, strict)
    _refuse_groups(found)
    return tuple(found.values())


def from_overrides(overrides: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Return the settings of the command line.

    Raises:
        ConfigError: a value belongs to an axis of the suite.
    """
    return tuple(
        setting_at(leaf.path, leaf.value, f"--set {'.'.join(leaf.path)}", strict=False)
        for leaf in flatten(overrides)
    )


def setting_at(path: tuple[str, ...], value: Any, where: str, strict: bool) -> Setting:
    """Return a value for one place.

    Raises:
        ConfigError: it belongs to an axis of the suite.
    """
    axis = AXES.get(".".join(path))
    if axis:
        raise ConfigError(f"{where}: is an axis of the suite; use its '{axis}' or --only")
    return Setting(path, value, where, strict)


def _refuse_groups(found: Mapping[tuple[str, ...], Setting]) -> None:
    for path, setting in found.items():
        if any(other != path and other[: len(path)] == path for other in found):
            raise ConfigError(f"{setting.where}: is given as a value and as a group")


def where_set(layers: Sequence[Setting], path: tuple[str, ...]) -> str:
    """Return where a value was set last, its key when nothing set it."""
    return next((s.where for s in reversed(layers) if s.path == path), ".".join(path))


def settle(layers: Iterable[Setting]) -> dict[tuple[str, ...], Setting]:
    """Return the setting that holds at each place: the last; it replaces what lay below it."""
    held: dict[tuple[str, ...], Setting] = {}
    for setting in layers:
        path = setting.path
        for other in [p for p in held if _overlap(p, path)]:
            del held[other]
        held[path] = setting
    return held


def _overlap(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return a[: len(b)] == b[: len(a)]


def build_spec(
    layers: Iterable[Setting], *, name: str, model: type[Model], dataset: str, seed: int
) -> RunSpec:
    """Return the run specification that layers of settings describe; later layers win.

    Model options are reduced to the values that differ from the model's defaults, and what the run
    does not look at beside the other values has its default: the specification, and so the run's
    identity, depends neither on how a value was written nor on one that does nothing.

    Raises:
        ConfigError: an unknown key, a bad value, or one with which the model cannot be trained;
            every one has a line.
    """
    options = model.Config
    held = settle(s for s in layers if _applies(s, options))
    given = {path[1:]: s for path, s in held.items() if path[0] == "model"}
    reduced = _options(given, options, f"model '{name}': ")
    tree = nest({p: s.value for p, s in held.items() if p[0] != "model" and p[:2] != _STRATEGY})
    if strategy := _strategy(held):
        tree.setdefault("negatives", {})["strategy"] = strategy
    data = tree.setdefault("data", {})
    if isinstance(data, dict):
        data["dataset"] = dataset
    tree |= {"model": {"name": name, **reduced}, "seed": seed}
    spec = _without_idle(_validated(tree, RunSpec, held), model)
    _refuse_impossible(spec, model, held)
    return spec


def _refuse_impossible(
    spec: RunSpec, model: type[Model], held: Mapping[tuple[str, ...], Setting]
) -> None:
    """Refuse what the model cannot be trained with, with the line that asks for it."""
    if problem := impossible(spec, model, reciprocal=is_reciprocal(model, spec.model.options)):
        setting = held.get(tuple(problem.key.split(".")))
        if setting:
            raise ConfigError(f"{setting.where}: {problem.reason}")
        raise ConfigError(f"model '{spec.model.name}': {problem}")


_STRATEGY = ("negatives", "strategy")


def _strategy(held: Mapping[tuple[str, ...], Setting]) -> dict[str, Any]:
    """Return the strategy of the negatives with the options that differ from its defaults."""
    given = {path[2:]: setting for path, setting in held.items() if path[:2] == _STRATEGY}
    if () in given:
        raise ConfigError(f"{given[()].where}: needs a mapping with a name: {{name: ...}}")
    named = given.pop(("name",), None)
    if named is None or not named.value:
        for setting in given.values():
            raise ConfigError(f"{setting.where}: options go with negatives.strategy.name")
        return {}
    try:
        options = STRATEGIES.get(str(named.value)).Config
    except ConfigError as error:
        raise ConfigError(f"{named.where}: {error}") from None
    return {"name": named.value, **_options(given, options, f"strategy '{named.value}': ")}


def _without_idle(spec: RunSpec, model: type[Model]) -> RunSpec:
    """Return the specification with what the run does not look at at its default."""
    for key in _idle(spec, model):
        spec = _at_default(spec, key.split("."))
    return spec


def _idle(spec: RunSpec, model: type[Model]) -> list[str]:
    return [key for key, looks in _LOOKED_AT.items() if not looks(spec, model)]


def is_idle(spec: RunSpec, model: type[Model], key: str) -> bool:
    """Tell whether a run does not look at the value of a dotted key."""
    return any(f"{key}.".startswith(f"{idle}.") for idle in _idle(spec, model))


def _at_default(config: C, path: Sequence[str]) -> C:
    first, *rest = path
    if rest:
        value = _at_default(getattr(config, first), rest)
    else:
        value = type(config).model_fields[first].get_default()
    return config.model_copy(update={first: value})


def _applies(setting: Setting, options: type[ModelConfig]) -> bool:
    if setting.strict or setting.path[0] != "model":
        return True
    return setting.path[1] in options.model_fields


def _options(
    given: Mapping[tuple[str, ...], Setting], options: type[BaseModel], said: str
) -> dict[str, Any]:
    tree = nest({path: s.value for path, s in given.items()})
    config = _validated(tree, options, given, said)
    reduced: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return reduced


def _validated(
    tree: Mapping[str, Any],
    model: type[M],
    held: Mapping[tuple[str, ...], Setting],
    said: str = "",
) -> M:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        found = problems(error, model)
        lines = []
        for problem in found:
            where, key = _blame(problem.path, held, problem.message)
            lines.append(f"{where}: {said}{key}{problem.message}")
        text = "\n".join(dict.fromkeys(lines))
        if all(item["type"] == "value_error" for item in error.errors()):
            reason = "; ".join(problem.message for problem in found)
            raise InconsistentError(text, reason=reason) from None
        raise ConfigError(text) from None


def _blame(path: KeyPath, held: Mapping[tuple[str, ...], Setting], message: str) -> tuple[str, str]:
    """Return the setting that a problem at ``path`` comes from, and the key if it is another.

    A problem of several values together stands at the group they are in: it comes from the setting
    that its message names first.
    """
    for length in range(len(path), 0, -1):
        for names, setting in held.items():
            if names == path[:length]:
                inner = show_path(path[length:])
                return setting.where, f"{inner}: " if inner else ""
    group = {n[len(path) :]: s for n, s in held.items() if n[: len(path)] == path}
    places = {_place(show_path(names), message): s.where for names, s in group.items()}
    named = min((place for place in places if place >= 0), default=None)
    if named is not None:
        return places[named], ""
    if path and group:
        return next(iter(group.values())).where, f"'{show_path(path)}': "
    return show_path(path) or "settings", ""


def _place(key: str, message: str) -> int:
    """Return where a message names a key, -1 where it does not."""
    found = re.search(rf"(?<![\w.]){re.escape(key)}(?!\.?\w)", message)
    return found.start() if found else -1
