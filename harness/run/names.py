"""Look-up of entities and relations by id, identifier or label."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from numbers import Integral

from harness.errors import SIMILARITY, ConfigError, suggest

__all__ = ["NameIndex"]

SEARCHED_NAMES = 50_000
"""Names among which those spelt like a misspelt one are searched, half a second."""
SUGGESTED = 3
"""Names that a message offers."""


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
                identifiers. It is neither a whole number nor a text.
        """
        value: object = name  # a number of NumPy, or a mistake
        if isinstance(value, Integral):
            name = int(value)
        elif not isinstance(value, str):
            raise ConfigError(
                f"{self.kind} {value!r}: write an id (a whole number) or a name (a text)"
            )
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
        raise ConfigError(f"no {self.kind} is called '{name}'{self._hint(name)}")

    def _hint(self, name: str) -> str:
        """Return the names that contain a text, the shortest first, then those spelt alike."""
        text = _folded(name)
        # Labels first: with as many identifiers as are searched no label would be.
        names = {_folded(n): n for n in (*self.labels, *self.identifiers) if n}
        containing = sorted((n for n in names if text in n), key=len) if len(text) > 2 else []
        searched = list(islice(names, SEARCHED_NAMES))
        alike = difflib.get_close_matches(text, searched, SUGGESTED, SIMILARITY)
        near = list(dict.fromkeys([*containing, *alike]))[:SUGGESTED]
        if not near:
            hint = suggest(name, [names[n] for n in searched])
            return hint if len(hint) < 200 else ""  # a few relations are listed, entities are not
        *others, last = (f"'{names[n]}'" for n in near)
        return f"; did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ")
