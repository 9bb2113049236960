"""Which cells are meant: ``--only`` and the ``when`` and ``exclude`` of a suite."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from harness.data.card import NAME_RULE, DatasetSource, base_of, check_name
from harness.errors import ConfigError, suggest
from harness.plan.suite import Scope, Selector

__all__ = ["Cell", "SourceOf", "canonical", "matches", "parse_only"]

SourceOf = Callable[[str], DatasetSource]
"""Dataset name or alias -> its source (``harness.data.load.source``)."""

S = TypeVar("S", bound=Scope)

_KEYS = tuple(Selector.model_fields)
_NEXT_KEY = re.compile(r",(?=\s*\w+\s*=)")
"""A comma before the next KEY=; labels may hold commas themselves."""


class Cell(NamedTuple):
    """What a scope or selector looks at; a scope does not look at features and seed."""

    model: str
    dataset: str
    label: str
    features: str | None = None
    seed: int | None = None


def matches(scope: Scope, cell: Cell) -> bool:
    """Tell whether a cell (with canonical names) has one of the values of every key given."""
    keys = [key for key in Cell._fields if hasattr(scope, key)]
    return all(not getattr(scope, k) or getattr(cell, k) in getattr(scope, k) for k in keys)


def canonical(scope: S, source_of: SourceOf) -> S:
    """Return the scope with dataset aliases replaced by canonical names.

    Raises:
        ConfigError: there is no such dataset.
    """
    names = tuple(source_of(name).card.name for name in scope.dataset)
    return scope.model_copy(update={"dataset": names})


def parse_only(texts: Sequence[str]) -> Selector:
    """Turn ``["model=rotate,dataset=mkg-w", "seed=0", "seed=1"]`` into a selector.

    A key that is given several times matches any of its values.

    Raises:
        ConfigError: not of the form KEY=VALUE, an unknown key, a seed that is not a number, or
            what no dataset may be called.
    """
    found: dict[str, list[str]] = {}
    for part in (p for text in texts for p in _NEXT_KEY.split(text)):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise ConfigError(f"--only {part}: write KEY=VALUE with a key of {', '.join(_KEYS)}")
        if key not in _KEYS:
            raise ConfigError(f"--only {key}: unknown key{suggest(key, _KEYS)}")
        if key == "seed" and not value.isdecimal():
            raise ConfigError(f"--only seed={value}: a seed is a whole number")
        if key == "dataset" and "," in base_of(value):
            several = ",".join(f"dataset={name.strip()}" for name in value.split(","))
            raise ConfigError(
                f"--only dataset={value}: {NAME_RULE}; for several write --only {several}"
            )
        if key == "dataset":
            check_name(base_of(value), "--only dataset")
        found.setdefault(key, []).append(value)
    return Selector.model_validate(found)
