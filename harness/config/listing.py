"""Names, one or several: as a text or a sequence, or separated by commas on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TypeVar, cast

from harness.errors import ConfigError

__all__ = ["names_in", "one_or_more"]

Name = TypeVar("Name", bound=int | str)


def one_or_more(names: Name | Sequence[Name]) -> Sequence[Name]:
    """Return names as a sequence; a text or a number is one name."""
    value: object = names  # perhaps a number of NumPy
    return cast("Sequence[Name]", [names] if isinstance(value, Integral | str) else names)


def names_in(text: str, option: str) -> tuple[str, ...]:
    """Read "mkg-w,db15k": names separated by commas, each once, in their order; none in "".

    Args:
        text: the option's value.
        option: what messages call it, ``--dataset``.

    Raises:
        ConfigError: there is nothing before, between or after commas.
    """
    if not text.strip():
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if "" in names:
        raise ConfigError(f"{option} {text}: a name is missing beside a comma")
    return names
