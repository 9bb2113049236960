"""Settings written with dots: ``--set training.epochs=20`` and the keys of a suite's ``set``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from harness.config.listing import one_or_more
from harness.config.yaml_source import parse_value
from harness.errors import ConfigError

__all__ = [
    "Path",
    "Setting",
    "assignments",
    "dotted",
    "flatten",
    "group_of",
    "nest",
    "parse_overrides",
]


Path = tuple[str, ...]
"""Names from the top of a specification: ``("model", "margin")``."""


class Setting(NamedTuple):
    """One value at one path of a specification.

    Attributes:
        path: names from the top, dots resolved.
        value: anything but a mapping.
        origin: ``suites/x.yaml:4: base.model.margin`` or ``--set model.margin``.
        strict: whether the option must exist, for a model is named; else it is for the models that
            have it.
    """

    path: Path
    value: Any
    origin: str = ""
    strict: bool = True


def parse_overrides(texts: Sequence[str] | str) -> dict[str, Any]:
    """Turn ``["a.b=1", "a.c=[x, y]"]`` into ``{"a": {"b": 1, "c": ["x", "y"]}}``.

    A single text is a list of one. Values are YAML (``true``, ``1e-3``, ``null``,
    ``[text, image]``).

    Raises:
        ConfigError: not of the form KEY=VALUE, or a key is given twice or is both a value and a
            group.
    """
    leaves: dict[Path, Any] = {}
    for text in one_or_more(texts):
        key, equals, value = text.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            raise ConfigError(f"--set {text}: write KEY=VALUE, for example training.epochs=20")
        if path in leaves:
            raise ConfigError(f"--set {key.strip()}: is given twice")
        leaves[path] = parse_value(value, f"--set {key.strip()}")
    return nest(leaves, source="--set ")


def flatten(
    settings: Mapping[str, Any],
    origin: Callable[[Path], str] = ".".join,
    *,
    strict: bool = True,
    above: Path = (),
) -> Iterator[Setting]:
    """Yield the values of a nested mapping whose keys may hold dots.

    Args:
        settings: the mapping.
        origin: returns the origin of a value, given the keys as they were written.
        strict: see ``Setting``.
        above: keys that lead to the mapping.
    """
    for key, value in settings.items():
        keys = (*above, key)
        if isinstance(value, Mapping):
            yield from flatten(value, origin, strict=strict, above=keys)
        else:
            yield Setting(tuple(".".join(keys).split(".")), value, origin(keys), strict)


def dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a nested mapping by dotted key."""
    return {".".join(setting.path): setting.value for setting in flatten(settings)}


def assignments(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as ``KEY=VALUE``, which ``parse_overrides`` reads.

    Args:
        settings: values by dotted key.
    """
    return [f"{key}={_written(value)}" for key, value in settings.items()]


def _written(value: Any) -> str:
    if isinstance(value, str):
        with suppress(ConfigError):  # a text like "[" is no YAML
            if parse_value(value, "") == value:
                return value
    return json.dumps(value, ensure_ascii=False)


def nest(leaves: Mapping[Path, Any], *, source: str = "") -> dict[str, Any]:
    """Turn dotted paths into a nested dict.

    Args:
        leaves: path -> value.
        source: put before the key in messages.

    Raises:
        ConfigError: a key is both a value and a group of values.
    """
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        for longer in leaves:
            if longer != path and longer[: len(path)] == path:
                raise ConfigError(
                    f"{source}{'.'.join(path)}: is given as a value and as a group "
                    f"('{'.'.join(longer)}')"
                )
        group = tree
        for name in path[:-1]:
            group = group.setdefault(name, {})
        group[path[-1]] = value
    return tree


def group_of(overrides: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the settings of a group, as ``parse_overrides`` returns them, {} without any.

    Raises:
        ConfigError: a value is given for the group itself.
    """
    group = overrides.get(name, {})
    if not isinstance(group, Mapping):
        raise ConfigError(f"--set {name}={group}: name a setting of it, like {name}.option=VALUE")
    return group
