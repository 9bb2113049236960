"""Look-up of entities and relations by id, identifier or label."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from harness.errors import ConfigError, suggest

__all__ = ["NameIndex"]

SUGGESTED_NAMES = 50_000
"""Names among which the nearest to a misspelt one is searched."""


class NameIndex:
    """Ids of entities, or of relations, by their names.

    Args:
        kind: "entity" or "relation", for messages.
        identifiers: identifier of each id.
        labels: readable name of each id, "" if unknown; empty without any.
    """

    def __init__(self, kind: str, identifiers: Sequence[str], labels: Sequence[str] = ()) -> None:
        self.kind, self.identifiers, self.labels = kind, identifiers, labels

    @cached_property
    def _by_identifier(self) -> dict[str, int]:
        return {identifier: i for i, identifier in enumerate(self.identifiers)}

    @cached_property
    def _by_label(self) -> dict[str, list[int]]:
        ids: dict[str, list[int]] = {}
        for i, text in enumerate(self.labels or self.identifiers):
            ids.setdefault(_folded(text), []).append(i)
        return ids

    def id_of(self, name: int | str) -> int:
        """Return the id of a name: an id, an identifier, or a label in any case.

        Raises:
            ConfigError: none or several have the name; the message offers the nearest, or their
                identifiers.
        """
        if isinstance(name, int):
            if not 0 <= name < len(self.identifiers):
                raise ConfigError(
                    f"no {self.kind} {name}; ids are 0 to {len(self.identifiers) - 1}"
                )
            return name
        known = self._by_identifier.get(name)
        if known is not None:
            return known
        matches = self._by_label.get(_folded(name), [])
        if len(matches) == 1:
            return matches[0]
        if matches:
            several = ", ".join(self.identifiers[i] for i in matches[:5])
            raise ConfigError(
                f"{len(matches)} {self.kind} entries are called '{name}': use one of {several}"
            )
        names = [n for n in dict.fromkeys((*self.labels, *self.identifiers)) if n]
        hint = suggest(name, names[:SUGGESTED_NAMES])
        raise ConfigError(f"no {self.kind} is called '{name}'" + (hint if len(hint) < 200 else ""))


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ")
