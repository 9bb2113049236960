"""Registries of models, encoders, datasets and samplers, filled by decorators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from harness.errors import ConfigError, suggest
from harness.plugins import plugin_problem

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from unique names to objects.

    Args:
        kind: noun for an entry in messages, such as ``"model"``.
        group: group of entry points whose plug-ins register entries, "" for none.
        hint: further way to get entries, for the message on an unknown name; "" for none.
    """

    def __init__(self, kind: str, group: str = "", hint: str = "") -> None:
        self.kind, self.group, self.hint = kind, group, hint
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object as ``name``.

        Raises:
            ConfigError: the name is taken (names both files).
        """

        def add(entry: T) -> T:
            registered = self._entries.get(name)
            if registered is not None and registered is not entry:
                raise ConfigError(
                    f"{self.kind} '{name}' is registered twice: "
                    f"{_origin(registered)} and {_origin(entry)}; give one of them another name"
                )
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            ConfigError: there is none; the message suggests the nearest name, or says why its
                plug-in could not be loaded.
        """
        try:
            return self._entries[name]
        except KeyError:
            problem = plugin_problem(self.group, name)
            hint = f" ({self.hint})" if self.hint else ""
            raise ConfigError(
                problem or f"unknown {self.kind} '{name}'{suggest(name, self._entries)}{hint}"
            ) from None

    def origin(self, name: str) -> str:
        """Return ``file:line`` of the entry's definition."""
        return _origin(self.get(name))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


def _origin(entry: object) -> str:
    target = entry if inspect.isclass(entry) or inspect.isroutine(entry) else type(entry)
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return repr(entry)
