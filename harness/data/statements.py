"""Mentions of entities in the texts and types of other entities.

**Words.** Names and texts are compared in Unicode NFKC, case-folded, as sequences of words (runs of
letters and digits). Chinese and Japanese have no blanks, so each of their characters is a word. A
text names an entity if it contains the entity's name as a sequence of words ("Film" is not in
"filming"). A trailing part of a name in parentheses ("Division (business)") may be missing from the
text.

**Short names.** Names of fewer than three letters (two for Chinese or Japanese characters) and
names of digits ("U2", "1984") occur by chance and are ignored.

**Own names.** A mention inside a mention of the entity itself does not count: the text of New York
City does not name New York by its own title. If the text *is* the name (``of_names``), proper parts
of it count, since an encoder sees nothing else; the name of another entity with the same name never
counts.

Names are looked up by word n-grams, so that the cost grows with the length of the texts, not with
the number of pairs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.graph import KnowledgeGraph
from harness.data.parsing import read_lines
from harness.errors import ConfigError, DataError, suggest

__all__ = [
    "LETTERS",
    "Statements",
    "contains",
    "named_in_texts",
    "named_in_types",
    "read_texts",
    "read_types",
    "words",
]

LETTERS = 3
"""Minimum number of letters of a name."""
CHARACTERS = 2
"""Minimum number of Chinese or Japanese characters; most of their words have two."""

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_QUALIFIER = re.compile(r"\s*\([^()]*\)\s*$")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

Words = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Statements:
    """Pairs of entities, the first of which names the second in its text or types.

    Attributes:
        keys: int64 [n], ascending: first * N + second of each pair of different entities.
        speakers: bool [N], entities with a text or types.
        nameable: bool [N], entities that could be named.
    """

    keys: NDArray[np.int64]
    speakers: NDArray[np.bool_]
    nameable: NDArray[np.bool_]

    @property
    def n_entities(self) -> int:
        """Number of entities, N."""
        return len(self.speakers)

    def hold(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return bool [n]: True where the first entity of a pair names the second."""
        return contains(self.keys, first * self.n_entities + second)

    @cached_property
    def matrix(self) -> Any:
        """Sparse matrix [N, N] with ones at the pairs (a ``scipy.sparse.csr_array``)."""
        from scipy.sparse import csr_array

        first, second = np.divmod(self.keys, self.n_entities)
        ones = np.ones(len(self.keys), np.float64)
        return csr_array((ones, (first, second)), shape=(self.n_entities, self.n_entities))


def contains(keys: NDArray[np.int64], queries: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the mask of ``queries`` (any shape) that are in ``keys`` [n], ascending."""
    if not len(keys):
        return np.zeros(queries.shape, np.bool_)
    positions = np.searchsorted(keys, queries).clip(max=len(keys) - 1)
    return np.asarray(keys[positions] == queries, np.bool_)


def words(text: str) -> Words:
    """Return the words of a text: NFKC, case-folded, without punctuation."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def named_in_texts(
    texts: Sequence[str], names: Sequence[str], *, of_names: bool = False
) -> Statements:
    """Return the pairs of entities in which the text of the first names the second.

    Args:
        texts: text of each entity, "" without one.
        names: name of each entity, "" if unknown.
        of_names: True if the texts are the names, so that parts of an entity's own name count.

    Raises:
        ValueError: the numbers of texts and names differ.
    """
    _same_length("texts", texts, names)
    forms = [_forms(name) for name in names]
    index = _NameIndex(forms)
    pairs: set[tuple[int, int]] = set()
    for entity, text in enumerate(texts):
        for name in index.mentions(words(text), forms[entity], parts_count=of_names):
            pairs.update((entity, target) for target in index.entities[name] if target != entity)
    return _statements(pairs, [bool(text.strip()) for text in texts], list(map(bool, forms)))


def named_in_types(
    types: Sequence[Collection[str]], names: Sequence[str], identifiers: Sequence[str] = ()
) -> Statements:
    """Return the pairs of entities in which the types of the first include the second.

    A type is ``label``, ``vocabulary:label`` or ``vocabulary:identifier:label``. It matches an
    entity if the label is the entity's name, word by word (``MusicGenre`` is two words), or if the
    identifier is the last part of the entity's. If some entity has an identifier of a vocabulary,
    the vocabulary's labels are ignored.

    Args:
        types: types of each entity.
        names: name of each entity, "" if unknown.
        identifiers: identifier of each entity ("http://www.wikidata.org/entity/Q5").

    Raises:
        ValueError: the lengths differ.
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
    stated = {type_: _split_type(type_) for of_entity in types for type_ in of_entity}
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
        (entity, target)
        for entity, of_entity in enumerate(types)
        for type_ in of_entity
        for target in meant[type_]
        if target != entity
    }
    nameable = [bool(_forms(name)) or bool(identifiers) for name in names]
    return _statements(pairs, list(map(bool, types)), nameable)


class _NameIndex:
    """Index of names by their first word and their length.

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
        self, text: Words, own_names: Collection[Words], *, parts_count: bool
    ) -> Iterator[Words]:
        """Yield the names in a text, except inside a mention of the entity itself."""
        spans = list(self._spans(text))
        inside = [span for span in spans if text[slice(*span)] in own_names]
        for start, end in spans:
            name = text[start:end]
            if name in own_names:
                continue
            if parts_count or not any(a <= start and end <= b for a, b in inside):
                yield name

    def _spans(self, text: Words) -> Iterator[tuple[int, int]]:
        for start, word in enumerate(text):
            for length in self._lengths.get(word, ()):
                if text[start : start + length] in self.entities:
                    yield start, start + length


def _forms(name: str) -> tuple[Words, ...]:
    """Return the words of a name, and without its qualifier, unless they are too short."""
    plain = unicodedata.normalize("NFKC", name)
    forms = dict.fromkeys((words(plain), words(_QUALIFIER.sub("", plain))))
    return tuple(form for form in forms if _counts("".join(form)))


def _counts(name: str) -> bool:
    letters = sum(map(str.isalpha, name))
    return letters >= LETTERS or len(_IDEOGRAPH.findall(name)) >= CHARACTERS


def _split_type(type_: str) -> tuple[str, str, str]:
    """Return vocabulary, identifier and label of a type, "" for missing ones."""
    fields = type_.split(":", 2)
    if len(fields) == 3:
        return fields[0], fields[1], fields[2]
    return ("", "", type_) if len(fields) == 1 else (fields[0], "", fields[1])


def _statements(
    pairs: Collection[tuple[int, int]], speakers: Sequence[bool], nameable: Sequence[bool]
) -> Statements:
    size = len(speakers)
    keys = np.fromiter((a * size + b for a, b in pairs), np.int64, len(pairs))
    return Statements(np.sort(keys), np.array(speakers, np.bool_), np.array(nameable, np.bool_))


def _same_length(noun: str, first: Sequence[object], second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} {noun} for {len(second)} entities")


def read_texts(path: Path, graph: KnowledgeGraph, columns: Sequence[str] = ()) -> list[str]:
    """Read a table of texts by entity, as for ``harness data audit --texts``.

    The first line is the header: ``id``, then a name per column, separated by tabs. ``id`` is the
    identifier of an entity or its row id; an entity may have several lines, or none.

    Args:
        path: table of texts.
        graph: graph whose entities it describes.
        columns: columns to read; () for all.

    Returns:
        a text per entity: its lines and columns, joined by " . "; "" without any.

    Raises:
        MissingDataError: the file is missing.
        ConfigError: there is no such column.
        DataError: a line has no entity's id, or another number of fields than the header.
    """
    texts = [""] * graph.n_entities
    for entity, fields in _rows(path, graph, columns):
        texts[entity] = " . ".join(filter(None, (texts[entity], *fields)))
    return texts


def read_types(path: Path, graph: KnowledgeGraph, columns: Sequence[str] = ()) -> list[set[str]]:
    """Read a table of types by entity, as for ``--types``; see :func:`read_texts`."""
    types: list[set[str]] = [set() for _ in range(graph.n_entities)]
    for entity, fields in _rows(path, graph, columns):
        types[entity].update(filter(None, fields))
    return types


def _rows(
    path: Path, graph: KnowledgeGraph, columns: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    lines = read_lines(path)
    header = lines[0].split("\t")
    if len(header) < 2 or header[0] != "id":
        raise DataError(f"{path}:1: need a header 'id<TAB>column...', got {lines[0]!r}")
    for column in columns:
        if column not in header[1:]:
            raise ConfigError(f"{path}: no column '{column}'{suggest(column, header[1:])}")
    positions = [header.index(column) for column in (columns or header[1:])]
    ids = {identifier: entity for entity, identifier in enumerate(graph.entities)}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise DataError(f"{path}:{number}: need {len(header)} fields, got {len(fields)}")
        yield _entity(f"{path}:{number}", fields[0], ids), [fields[i] for i in positions]


def _entity(location: str, text: str, ids: dict[str, int]) -> int:
    """Return the entity with an identifier or row id."""
    if text in ids:
        return ids[text]
    if text.isascii() and text.isdigit() and int(text) < len(ids):
        return int(text)
    raise DataError(
        f"{location}: '{text}' is no entity: neither an identifier nor below {len(ids)}"
    )
