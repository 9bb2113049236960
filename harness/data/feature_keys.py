"""Keys of feature files, which name the entity of each row or array.

A key is an entity's identifier. An integer may also be an entity's number (its row in the order of
the dataset's ids), but only if its array, column or file is called ``id`` or ``ids``, if all keys
are entity numbers and none is the identifier of another entity: keys that can be read both ways
with different results are refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.parsing import read_lines
from harness.errors import DataError

__all__ = ["IdsFile", "Keys", "nearest_entity", "read_ids_file", "resolve"]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Keys:
    """Keys of a file's rows, in their order.

    Attributes:
        values: keys as text.
        label: origin of the keys for messages ("array 'ids'").
        location: position -> location for messages ("a.csv:3").
        numbers: True if integers may be entity numbers.
        map_file: name of the file that may map keys to entities; "" without one.
    """

    values: Sequence[str]
    label: str
    location: Callable[[int], str]
    numbers: bool = False
    map_file: str = ""


@dataclass(frozen=True)
class IdsFile:
    """Content of ``<stem>.ids.tsv``: a map of keys, or the entities of the rows.

    Attributes:
        path: the file.
        entity_of: key -> entity id, for lines 'key<TAB>entity identifier'; else None.
        rows: keys of the rows, for lines with one entity each; else None.
    """

    path: Path
    entity_of: Mapping[str, int] | None = None
    rows: Keys | None = None


def nearest_entity(key: str, entities: Sequence[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or "" without a similar entity.

    An identifier that ends in ``/<key>`` (the address of Q42) is preferred.
    """
    end = "/" + key.strip("<>").lower()
    near = [name for name in entities if name.strip("<>").lower().endswith(end)][:1]
    near = near or difflib.get_close_matches(key, entities, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def resolve(keys: Keys, n_entities: int, entities: Sequence[str]) -> list[int]:
    """Return the entity id of each key.

    Args:
        keys: keys of a file.
        n_entities: N.
        entities: identifier of each entity.

    Raises:
        DataError: a key is no entity, an entity occurs twice, or integers can be read as
            identifiers and as numbers with different results; the message names file and row.
    """
    id_of = {name: i for i, name in enumerate(entities)}
    by_name = [id_of.get(key, -1) for key in keys.values]
    by_number = [int(key) if _NUMBER.fullmatch(key) else n_entities for key in keys.values]
    are_numbers = keys.numbers and all(number < n_entities for number in by_number)
    if are_numbers:
        for position, (name_id, number) in enumerate(zip(by_name, by_number, strict=True)):
            if name_id not in (-1, number):
                raise DataError(
                    f"{keys.location(position)}: '{keys.values[position]}' is the identifier of "
                    f"entity {name_id} and the number of another ('{entities[number]}'); write "
                    f"identifiers and call {keys.label} 'entities' (of a table: 'entity')"
                )
    elif -1 in by_name:
        _refuse_unknown(keys, by_name, n_entities, entities)
    entity_ids = by_number if are_numbers else by_name
    first: dict[int, int] = {}
    for position, entity in enumerate(entity_ids):
        if entity in first:
            raise DataError(
                f"{keys.location(position)}: '{keys.values[position]}' is there twice, first in "
                f"{keys.location(first[entity])}; keep one"
            )
        first[entity] = position
    return entity_ids


def _refuse_unknown(
    keys: Keys, by_name: Sequence[int], n_entities: int, entities: Sequence[str]
) -> None:
    position = by_name.index(-1)
    key, unknown = keys.values[position], sum(entity < 0 for entity in by_name)
    hint = nearest_entity(key, entities)
    if not hint and _NUMBER.fullmatch(key):
        hint = (
            f"; entity numbers run from 0 to {n_entities - 1}, and all keys must be numbers"
            if keys.numbers
            else "; entity numbers are read only where the array is called 'ids' (a column 'id')"
        )
    if not hint and keys.map_file:
        hint = (
            f"; take the line out, or map the keys in {keys.map_file} ('key<TAB>entity identifier')"
        )
    note = f" ({unknown} such keys)" if unknown > 1 else ""
    raise DataError(f"{keys.location(position)}: '{key}' is no entity of the dataset{note}{hint}")


def read_ids_file(path: Path, entities: Sequence[str]) -> IdsFile | None:
    """Read the file ``<stem>.ids.tsv`` of a feature file; None without one.

    Args:
        path: the feature file.
        entities: identifier of each entity.

    Raises:
        DataError: a line has neither form, names no entity, or repeats a key or an entity; the
            message names both lines.
    """
    table = path.with_name(f"{path.stem}.ids.tsv")
    if not table.exists():
        return None
    lines = read_lines(table)

    def location(position: int) -> str:
        return f"{table}:{position + 1}"

    if not any("\t" in line for line in lines):
        return IdsFile(table, rows=Keys(lines, f"lines of {table.name}", location))
    id_of = {name: i for i, name in enumerate(entities)}
    entity_of: dict[str, int] = {}
    line_of_key: dict[str, int] = {}
    line_of_entity: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        key, tab, entity = line.partition("\t")
        if not tab or not key or entity not in id_of:
            hint = nearest_entity(entity, entities) if tab else ""
            raise DataError(f"{table}:{number}: '{line}': need 'key<TAB>entity identifier'{hint}")
        if key in entity_of:
            raise DataError(
                f"{table}:{number}: key '{key}' is there twice, first on line {line_of_key[key]}"
            )
        if id_of[entity] in line_of_entity:
            raise DataError(
                f"{table}:{number}: entity '{entity}' is there twice, first on line "
                f"{line_of_entity[id_of[entity]]}"
            )
        entity_of[key] = id_of[entity]
        line_of_key[key] = line_of_entity[id_of[entity]] = number
    return IdsFile(table, entity_of=entity_of)
