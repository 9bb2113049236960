"""Settings written with dots: ``--set training.epochs=20`` and the keys of a suite's ``set``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.config.yaml_source import parse_value
from harness.errors import ConfigError

__all__ = ["Leaf", "flatten", "group_of", "nest", "parse_overrides"]


class Leaf(NamedTuple):
    """One value of a nested mapping.

    Attributes:
        path: names from the top, dots resolved: ``("training", "lr")``.
        keys: the keys as they were written: ``("training.lr",)``.
        value: anything but a mapping.
    """

    path: tuple[str, ...]
    keys: tuple[str, ...]
    value: Any


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Turn ``["a.b=1", "a.c=[x, y]"]`` into ``{"a": {"b": 1, "c": ["x", "y"]}}``.

    Values are YAML (``true``, ``1e-3``, ``null``, ``[text, image]``); of equal keys the last wins.

    Raises:
        ConfigError: not of the form KEY=VALUE, or a key is both a value and a group.
    """
    leaves: dict[tuple[str, ...], Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            raise ConfigError(f"--set {text}: write KEY=VALUE, for example training.epochs=20")
        leaves[path] = parse_value(value, f"--set {key.strip()}")
    return nest(leaves, source="--set ")


def flatten(settings: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield the values of a nested mapping whose keys may hold dots."""
    for key, value in settings.items():
        path = tuple(key.split("."))
        if isinstance(value, Mapping):
            for leaf in flatten(value):
                yield Leaf((*path, *leaf.path), (key, *leaf.keys), leaf.value)
        else:
            yield Leaf(path, (key,), value)


def nest(leaves: Mapping[tuple[str, ...], Any], *, source: str = "") -> dict[str, Any]:
    """Turn dotted paths into a nested dict.

    Args:
        leaves: path -> value.
        source: put before the key in messages.

    Raises:
        ConfigError: a key is both a value and a group of values.
    """
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        for other in leaves:
            if other != path and other[: len(path)] == path:
                raise ConfigError(
                    f"{source}{'.'.join(path)}: is given as a value and as a group "
                    f"('{'.'.join(other)}')"
                )
        here = tree
        for part in path[:-1]:
            here = here.setdefault(part, {})
        here[path[-1]] = value
    return tree


def group_of(overrides: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the settings of a group of what ``parse_overrides`` returned, {} without any.

    Raises:
        ConfigError: a value is given for the group itself.
    """
    found = overrides.get(name, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"--set {name}={found}: name a setting of it, like {name}.option=VALUE")
    return found
