"""Tables of texts or types by entity, as ``harness data audit --texts`` and ``--types`` read them.

The first line is the header: ``id``, then a name per column, parted by tabs. ``id`` is the row id
of an entity or its identifier; an entity may have several lines, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.graph import KnowledgeGraph
from harness.data.parsing import read_lines
from harness.errors import ConfigError, DataError, suggest

__all__ = ["read_texts", "read_types"]


def read_texts(path: Path, graph: KnowledgeGraph, columns: Sequence[str] = ()) -> list[str]:
    """Return a text per entity: its lines and columns, one sentence each.

    Args:
        path: the table.
        graph: its entities.
        columns: columns to read, all when empty.

    Raises:
        MissingDataError: the file is absent.
        ConfigError: there is no such column.
        DataError: a line has no entity's id or not as many fields as the header.
    """
    texts = [""] * graph.n_entities
    for entity, fields in _rows(path, graph, columns):
        texts[entity] = " . ".join(filter(None, (texts[entity], *fields)))
    return texts


def read_types(path: Path, graph: KnowledgeGraph, columns: Sequence[str] = ()) -> list[set[str]]:
    """Return the types of each entity; see :func:`read_texts`."""
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
        yield _entity(f"{path}:{number}", fields[0], ids), [fields[at] for at in positions]


def _entity(where: str, text: str, ids: dict[str, int]) -> int:
    """Return the entity of an identifier, else of a row id."""
    if text in ids:
        return ids[text]
    if text.isascii() and text.isdigit() and int(text) < len(ids):
        return int(text)
    raise DataError(f"{where}: '{text}' is no entity: neither an identifier nor below {len(ids)}")
