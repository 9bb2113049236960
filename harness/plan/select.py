"""Selection of cells: ``--only``, and the ``when`` and ``exclude`` of a suite."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.data.card import NAME_RULE, DatasetSource, base_of, check_name
from harness.errors import ConfigError, suggest
from harness.plan.suite import Scope, Selector

__all__ = ["SourceOf", "canonical", "matches", "parse_only"]

SourceOf = Callable[[str], DatasetSource]
"""Dataset name or alias -> its source (``harness.data.load.source``)."""

S = TypeVar("S", bound=Scope)

_KEYS = tuple(Selector.model_fields)
_NEXT_KEY = re.compile(r",(?=\s*\w+\s*=)")
"""A comma before the next KEY=; labels may hold commas themselves."""


def matches(scope: Scope, **cell: object) -> bool:
    """Tell whether a cell has one of the values of every key that a scope names.

    Args:
        scope: names are canonical.
        cell: model, dataset, label, features, seed; a key that is missing matches all.
    """
    return all(value in values for key, value in cell.items() if (values := _values(scope, key)))


def _values(scope: Scope, key: str) -> tuple[object, ...]:
    values: tuple[object, ...] = getattr(scope, key, ())
    return values


def canonical(scope: S, source_of: SourceOf) -> S:
    """Return the scope with dataset aliases replaced by canonical names.

    Raises:
        ConfigError: there is no such dataset.
    """
    names = tuple(source_of(name).card.name for name in scope.dataset)
    return scope.model_copy(update={"dataset": names})


def parse_only(texts: Sequence[str] | str) -> Selector:
    """Turn ``["model=rotate,dataset=mkg-w", "seed=0", "seed=1"]`` into a selector.

    A single text is a list of one. A key that is given several times matches any of its values.

    Raises:
        ConfigError: not of the form KEY=VALUE, an unknown key, a seed that is not a number, or
            a text that cannot name a dataset.
    """
    texts = [texts] if isinstance(texts, str) else texts
    values: dict[str, list[str]] = {}
    for pair in (pair for text in texts for pair in _NEXT_KEY.split(text)):
        key, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or not value:
            raise ConfigError(f"--only {pair}: write KEY=VALUE with a key of {', '.join(_KEYS)}")
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
        values.setdefault(key, []).append(value)
    return Selector.model_validate(values)
