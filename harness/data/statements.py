"""Which entities are named by what is known of an entity: its text, or its types.

**Words.** Names and texts are compared in Unicode NFKC, case-folded, as sequences of words: letters
and digits, everything else parts them. Chinese and Japanese write no blanks, so each of their
characters is a word. A text names an entity when the entity's name stands in it as a whole sequence
of words ("Film" is not in "filming"). A trailing part of a name in parentheses ("Division
(business)") may be missing from the text.

**Names that do not count.** Names of fewer than three letters (two where they are Chinese or
Japanese characters) and names of digits alone ("U2", "1984") occur by chance in any text.

**An entity's own name.** A mention that lies inside a mention of the entity itself says nothing of
another one: the text of New York City does not name New York by its own title. Where the text *is*
the name (``of_names``), proper parts of it count, since that is all an encoder sees; the name of
another entity with the same name never counts.

Names are looked up by word n-grams, so that the time grows with the length of the texts and not
with the number of pairs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LETTERS", "Statements", "named_in_texts", "named_in_types", "words"]

LETTERS = 3
"""Least number of letters of a name that counts."""
CHARACTERS = 2
"""The same of Chinese and Japanese characters: most of their words have two."""

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_QUALIFIER = re.compile(r"\s*\([^()]*\)\s*$")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

Words = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Statements:
    """Pairs of entities: what is known of the first names the second.

    Attributes:
        keys: [n] int64, ascending: first * N + second of each pair, never an entity with itself.
        speakers: [N] bool: entities of which something is known.
        nameable: [N] bool: entities that could be named.
    """

    keys: NDArray[np.int64]
    speakers: NDArray[np.bool_]
    nameable: NDArray[np.bool_]

    @property
    def n_entities(self) -> int:
        """N."""
        return len(self.speakers)

    def hold(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each pair whether the first entity's statement names the second."""
        if not len(self.keys):
            return np.zeros(len(first), np.bool_)
        wanted = first * self.n_entities + second
        at = np.searchsorted(self.keys, wanted).clip(max=len(self.keys) - 1)
        return np.asarray(self.keys[at] == wanted, np.bool_)

    @cached_property
    def matrix(self) -> Any:
        """Sparse [N, N] of ones at the pairs (a ``scipy.sparse.csr_array``)."""
        from scipy.sparse import csr_array

        first, second = np.divmod(self.keys, self.n_entities)
        ones = np.ones(len(self.keys), np.float64)
        return csr_array((ones, (first, second)), shape=(self.n_entities, self.n_entities))


def words(text: str) -> Words:
    """Return the words of a text: NFKC, case-folded, without punctuation."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def named_in_texts(
    texts: Sequence[str], names: Sequence[str], *, of_names: bool = False
) -> Statements:
    """Return pairs of entities of which the text of the first names the second.

    Args:
        texts: of the entities, "" where there is none.
        names: of the same entities, "" where unknown.
        of_names: the texts are the names themselves, so parts of an entity's own name count.

    Raises:
        ValueError: there are not as many texts as names.
    """
    _same_length("texts", texts, names)
    forms = [_forms(name) for name in names]
    index = _NameIndex(forms)
    pairs: set[tuple[int, int]] = set()
    for entity, text in enumerate(texts):
        for name in index.mentions(words(text), forms[entity], parts_count=of_names):
            pairs.update((entity, other) for other in index.entities[name] if other != entity)
    return _statements(pairs, [bool(text.strip()) for text in texts], list(map(bool, forms)))


def named_in_types(
    types: Sequence[Collection[str]], names: Sequence[str], identifiers: Sequence[str] = ()
) -> Statements:
    """Return which entities stand among each entity's types.

    A type is ``label``, ``vocabulary:label`` or ``vocabulary:identifier:label``. It is an entity
    when the label is a name of the entity, word by word (``MusicGenre`` is two words), or when the
    identifier is the last part of the entity's own. Where some entity has an identifier of a
    vocabulary, the vocabulary's labels are not looked at.

    Args:
        types: of the entities.
        names: of the same entities, "" where unknown.
        identifiers: of the same entities ("http://www.wikidata.org/entity/Q5").

    Raises:
        ValueError: the three do not have the same length.
    """
    _same_length("types", types, names)
    by_name: dict[Words, list[int]] = defaultdict(list)
    for entity, name in enumerate(names):
        for form in _forms(name):
            by_name[form].append(entity)
    by_identifier: dict[str, list[int]] = defaultdict(list)
    if identifiers:
        _same_length("types", types, identifiers)
        for entity, identifier in enumerate(identifiers):
            by_identifier[re.split(r"[/#]", identifier.strip("<>"))[-1]].append(entity)
    stated = {type_: _parts(type_) for of_entity in types for type_ in of_entity}
    identified = {
        vocabulary
        for vocabulary, identifier, _ in stated.values()
        if identifier and identifier in by_identifier
    }
    meant = {
        type_: by_identifier.get(identifier, [])
        if vocabulary in identified
        else by_name.get(words(_CAMEL.sub(" ", label)), [])
        for type_, (vocabulary, identifier, label) in stated.items()
    }
    pairs = {
        (entity, other)
        for entity, of_entity in enumerate(types)
        for type_ in of_entity
        for other in meant[type_]
        if other != entity
    }
    nameable = [bool(_forms(name)) or bool(identifiers) for name in names]
    return _statements(pairs, list(map(bool, types)), nameable)


class _NameIndex:
    """Names by their first word and their length.

    Args:
        forms: the forms of each entity's name.
    """

    def __init__(self, forms: Sequence[Collection[Words]]) -> None:
        self.entities: dict[Words, list[int]] = defaultdict(list)
        lengths: dict[str, set[int]] = defaultdict(set)
        for entity, of_entity in enumerate(forms):
            for form in of_entity:
                self.entities[form].append(entity)
                lengths[form[0]].add(len(form))
        self._lengths = {word: tuple(sorted(sizes)) for word, sizes in lengths.items()}

    def mentions(
        self, text: Words, itself: Collection[Words], *, parts_count: bool
    ) -> Iterator[Words]:
        """Yield the names in a text but for those inside a mention of the entity itself."""
        spans = list(self._spans(text))
        inside = [span for span in spans if text[slice(*span)] in itself]
        for start, end in spans:
            name = text[start:end]
            if name in itself:
                continue
            if parts_count or not any(a <= start and end <= b for a, b in inside):
                yield name

    def _spans(self, text: Words) -> Iterator[tuple[int, int]]:
        for start, word in enumerate(text):
            for length in self._lengths.get(word, ()):
                if text[start : start + length] in self.entities:
                    yield start, start + length


def _forms(name: str) -> tuple[Words, ...]:
    """Return the name, and the name without its qualifier, as far as they count."""
    plain = unicodedata.normalize("NFKC", name)
    forms = dict.fromkeys((words(plain), words(_QUALIFIER.sub("", plain))))
    return tuple(form for form in forms if _counts("".join(form)))


def _counts(name: str) -> bool:
    letters = sum(map(str.isalpha, name))
    return letters >= LETTERS or len(_IDEOGRAPH.findall(name)) >= CHARACTERS


def _parts(type_: str) -> tuple[str, str, str]:
    """Return vocabulary, identifier and label of a type, "" for those that it lacks."""
    parts = type_.split(":", 2)
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return ("", "", type_) if len(parts) == 1 else (parts[0], "", parts[1])


def _statements(
    pairs: Collection[tuple[int, int]], speakers: Sequence[bool], nameable: Sequence[bool]
) -> Statements:
    size = len(speakers)
    keys = np.fromiter((a * size + b for a, b in pairs), np.int64, len(pairs))
    return Statements(np.sort(keys), np.array(speakers, np.bool_), np.array(nameable, np.bool_))


def _same_length(what: str, first: Sequence[object], second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} {what} for {len(second)} entities")
