"""Feature tables with a column of keys: ``.csv``, ``.tsv`` and ``.parquet``.

The key column is called ``id``, ``entity`` or ``name`` (in any case), else it is the first. The
other columns are numbers, one component of the vector each; a Parquet file may instead have one
column of lists. A column ``present`` or ``mask`` of true and false (or 1 and 0) is the mask.

A table whose columns are entity, attribute and value holds numeric literals, one per row.

A text file begins with a header; without one the first column must not be numbers. ``.csv`` is
comma separated and may quote; ``.tsv`` quotes nothing, like files of triples.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from harness.data.feature_keys import Keys, nearest_entity
from harness.data.feature_readers import MASKS, complete
from harness.data.parsing import read_lines
from harness.errors import DataError, MissingDataError

__all__ = ["TABLE_SUFFIXES", "FeatureColumns", "Literal", "read_literals", "read_table"]

_KEY_COLUMNS = ("id", "entity", "name")

_PANDAS_INDEX = "__index_level_0__"
"""Column under which pandas stores the index of a frame in Parquet files."""

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class Literal(NamedTuple):
    """A numeric literal.

    Attributes:
        entity, attribute, value: the statement.
        location: file and line, for messages.
    """

    entity: str
    attribute: str
    value: float
    location: str


class FeatureColumns(NamedTuple):
    """Content of a table.

    Attributes:
        features: vectors [n, d] in the order of the lines.
        keys: key of each row.
        masks: label -> mask bool [n].
        columns: name of each component; () where one column holds the vectors.
    """

    features: Tensor
    keys: Keys
    masks: Mapping[str, Tensor]
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class _TableHeader:
    """Roles of the columns.

    Attributes:
        names: names of the columns.
        key: position of the key column.
        mask: position of the mask column, None without one.
        values: positions of the columns of numbers.
    """

    names: Sequence[str]
    key: int
    mask: int | None
    values: Sequence[int]

    @property
    def key_label(self) -> str:
        """Name of the key column for messages."""
        return f"column '{self.names[self.key]}'" if self.names[self.key] else "the first column"

    @property
    def numbers(self) -> bool:
        """True if keys may be entity numbers."""
        return self.names[self.key].strip().lower() == "id"


def read_table(path: Path, entities: Sequence[str]) -> FeatureColumns:
    """Read a file whose ending is one of ``TABLE_SUFFIXES``.

    Args:
        path: the file.
        entities: identifiers of the dataset's entities, to distinguish a header from a row.

    Raises:
        MissingDataError: pyarrow is not installed.
        DataError: the file is damaged, its key column is ambiguous, or a value is not a number; the
            message names file and line (in Parquet files the row, from 0).
    """
    return _READERS[path.suffix](path, entities)


_LITERALS = ("entity", "attribute", "value")
"""Columns of a table of numeric literals, in this order."""


def read_literals(path: Path) -> list[Literal] | None:
    """Return the numeric literals of a table with the columns entity, attribute and value.

    Returns:
        None for any other file.

    Raises:
        DataError: a value is not a finite number, or a line has other columns.
    """
    if path.suffix == ".parquet":
        return _parquet_literals(path)
    if path.suffix not in (".csv", ".tsv"):
        return None
    lines = read_lines(path)
    separator = "," if path.suffix == ".csv" else "\t"
    if tuple(name.strip().lower() for name in lines[0].split(separator)) != _LITERALS:
        return None
    quoting: Any = csv.QUOTE_MINIMAL if path.suffix == ".csv" else csv.QUOTE_NONE
    reader = csv.reader(lines[1:], delimiter=separator, quoting=quoting)
    literals = []
    for number, fields in enumerate(reader, 2):
        if len(fields) != len(_LITERALS):
            raise DataError(f"{path}:{number}: has {len(fields)} columns, need entity, attribute, "
                            "value")  # fmt: skip
        entity, attribute, text = fields
        literals.append(_literal(entity, attribute, _number(text), text, f"{path}:{number}"))
    if not literals:
        raise DataError(f"{path}: holds a header and no literal")
    return literals


def _parquet_literals(path: Path) -> list[Literal] | None:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        return None  # refused where the table is read
    with complete(path, "Parquet"):
        if tuple(name.lower() for name in pq.read_schema(path).names) != _LITERALS:
            return None
        columns = [column.to_pylist() for column in pq.read_table(path).columns]
    return [
        _literal(str(entity), str(attribute), _number(str(value)), str(value), f"{path}: row {i}")
        for i, (entity, attribute, value) in enumerate(zip(*columns, strict=True))
    ]


def _literal(entity: str, attribute: str, value: float | None, text: str, location: str) -> Literal:
    if not attribute.strip():
        raise DataError(f"{location}: has no attribute")
    if value is None or not math.isfinite(value):
        raise DataError(f"{location}: '{attribute}' is {text[:40]!r}; need a number")
    return Literal(entity, attribute, value, location)


def _roles(path: Path, names: Sequence[str], first_row: Callable[[int], str]) -> _TableHeader:
    """Determine key column, mask and values from the names of the columns.

    Args:
        path: the file.
        names: names of the columns.
        first_row: position -> text of that column in the first row, "" without a row.
    """
    plain = [name.strip().lower() for name in names]
    keys = [i for i, name in enumerate(plain) if name in _KEY_COLUMNS]
    if not keys and _PANDAS_INDEX in names:
        keys = [list(names).index(_PANDAS_INDEX)]
    if len(keys) > 1:
        listed = ", ".join(f"'{names[i]}'" for i in keys)
        raise DataError(f"{path}: several columns name the entities: {listed}; keep one")
    key = keys[0] if keys else 0
    if not keys and _number(first_row(0)) is not None:
        raise DataError(
            f"{path}: the first column holds numbers, and no column is called "
            f"{', '.join(_KEY_COLUMNS)}; give the column of entity identifiers the name 'entity', "
            "that of entity numbers the name 'id'"
        )
    masks = [i for i, name in enumerate(plain) if name in MASKS and i != key]
    if len(masks) > 1:
        raise DataError(f"{path}: several columns are masks: {', '.join(MASKS)}; keep one")
    values = [i for i in range(len(names)) if i != key and i not in masks]
    for i in values:
        # The index that pandas adds would be one more component.
        if not plain[i] or names[i] == _PANDAS_INDEX:
            raise DataError(
                f"{path}: column {i + 1} ('{names[i]}') has no name of its own; name it, or take "
                "it out (pandas: index=False)"
            )
    if not values:
        raise DataError(f"{path}: has no column of numbers beside '{names[key]}'")
    return _TableHeader(names, key, masks[0] if masks else None, values)


def _number(text: str) -> float | None:
    if "_" in text:  # float() takes 1_000
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _read_csv(path: Path, entities: Sequence[str]) -> FeatureColumns:
    # With line ends, since a quoted field may contain one and it belongs to a key.
    lines = [f"{line}\n" for line in read_lines(path)]
    return _from_text(path, csv.reader(lines, strict=True), "comma", entities)


def _read_tsv(path: Path, entities: Sequence[str]) -> FeatureColumns:
    reader = csv.reader(read_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    return _from_text(path, reader, "tab", entities)


def _from_text(path: Path, reader: Any, separator: str, entities: Sequence[str]) -> FeatureColumns:
    lines = _numbered(path, reader)
    width = len(lines[0][1])
    if width < 2:
        raise DataError(
            f"{path}:{lines[0][0]}: has one column; need an entity and its numbers, with a "
            f"{separator} between them"
        )
    for number, fields in lines:
        if len(fields) != width:
            raise DataError(f"{path}:{number}: has {len(fields)} columns, the first line {width}")
    header, body = _split_header(path, lines, set(entities))
    line_numbers = [number for number, _ in body]
    matrix = np.empty((len(body), len(header.values)))
    for row, (number, fields) in enumerate(body):
        try:
            matrix[row] = [float(fields[i]) for i in header.values]
        except ValueError:
            _refuse_text(path, number, fields, header)
        if any("_" in fields[i] for i in header.values):  # float() takes 1_000
            _refuse_text(path, number, fields, header)
    masks: dict[str, Tensor] = {}
    if header.mask is not None:
        column_name = header.names[header.mask]
        flags = [_TRUTH.get(fields[header.mask].strip().lower()) for _, fields in body]
        if None in flags:
            raise DataError(
                f"{path}:{line_numbers[flags.index(None)]}: column '{column_name}' holds "
                f"{body[flags.index(None)][1][header.mask][:40]!r}; need true or false"
            )
        masks[f"column '{column_name}' in the file"] = torch.tensor(flags, dtype=torch.bool)
    keys = Keys(
        [fields[header.key] for _, fields in body],
        header.key_label,
        lambda row: f"{path}:{line_numbers[row]}",
        numbers=header.numbers,
        map_file=f"{path.stem}.ids.tsv",
    )
    columns = [header.names[i] for i in header.values]
    return FeatureColumns(torch.from_numpy(matrix), keys, masks, columns)


def _refuse_text(path: Path, number: int, fields: Sequence[str], header: _TableHeader) -> NoReturn:
    i = next(i for i in header.values if _number(fields[i]) is None)
    raise DataError(
        f"{path}:{number}: column {i + 1} ('{header.names[i]}') holds {fields[i][:40]!r}; need a "
        "number (leave out the line of an entity without the modality)"
    )


def _numbered(path: Path, reader: Any) -> list[tuple[int, list[str]]]:
    """Return the lines with their numbers; an empty line is an error."""
    lines: list[tuple[int, list[str]]] = []
    try:
        for fields in reader:
            lines.append((reader.line_num, fields))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error
    for number, fields in lines:
        if not any(fields):
            raise DataError(f"{path}:{number}: the line is empty; take it out")
    return lines


def _split_header(
    path: Path, lines: Sequence[tuple[int, list[str]]], entities: Set[str]
) -> tuple[_TableHeader, Sequence[tuple[int, list[str]]]]:
    first = lines[0][1]
    has_key_name = any(name.strip().lower() in _KEY_COLUMNS for name in first)
    all_numbers = all(_number(field) is not None for field in first[1:])
    if all_numbers and first[0] in entities and has_key_name:
        raise DataError(
            f"{path}:1: '{first[0]}' may be the name of the column or an entity; add a first line "
            "that gives every column a name, no number"
        )
    if all_numbers and not has_key_name and first[0].strip():
        if first[0] not in entities:
            raise DataError(
                f"{path}:1: '{first[0]}' is no entity of the dataset; in a header the column of "
                f"keys is called {', '.join(_KEY_COLUMNS)}{nearest_entity(first[0], [*entities])}"
            )
        names = ["", *(str(i) for i in range(1, len(first)))]
        return _roles(path, names, lambda i: first[i]), lines
    body = lines[1:]
    if not body:
        raise DataError(f"{path}: holds a header and no entity")
    return _roles(path, first, lambda i: body[0][1][i]), body


def _read_parquet(path: Path, entities: Sequence[str]) -> FeatureColumns:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDataError(
            f"{path}: Parquet files are read by pyarrow, which is not installed; get it with\n"
            "  pip install -e '.[parquet]'\n"
            "or save the table as .csv",
            brief="pyarrow, which reads Parquet files, was not installed",
        ) from error
    with complete(path, "Parquet"), pq.ParquetFile(path) as file:
        table = file.read()
        table.validate(full=True)  # texts, too, that are no UTF-8
    names = table.column_names
    if not names or not len(table):
        raise DataError(f"{path}: holds no row")
    header = _roles(path, names, lambda i: str(table.column(i)[0].as_py()))
    for i, name in enumerate(names):
        if table.column(i).null_count:
            row = next(r for r, item in enumerate(table.column(i)) if not item.is_valid)
            raise DataError(
                f"{path}: row {row} has no value in column '{name}'; leave out the row of an "
                "entity without the modality"
            )
    masks: dict[str, Tensor] = {}
    if header.mask is not None:
        column = table.column(header.mask)
        if not pa.types.is_boolean(column.type):
            raise DataError(f"{path}: column '{names[header.mask]}' is {column.type}; need bool")
        masks[f"column '{names[header.mask]}' in the file"] = torch.tensor(column.to_pylist())
    key_type = table.schema.types[header.key]
    keys = table.column(header.key).to_pylist()
    if not all(type(key) in (str, int) for key in keys):
        raise DataError(
            f"{path}: column '{names[header.key]}' is {key_type}; need strings or integers"
        )
    matrix = _parquet_values(path, table, header)
    columns = [names[i] for i in header.values]
    return FeatureColumns(
        torch.from_numpy(matrix),
        Keys(
            [str(key) for key in keys],
            header.key_label,
            lambda row: f"{path}: row {row}",
            numbers=header.numbers,
            map_file=f"{path.stem}.ids.tsv",
        ),
        masks,
        columns if len(columns) == matrix.shape[1] else (),
    )


def _parquet_values(path: Path, table: Any, header: _TableHeader) -> np.ndarray[Any, Any]:
    import pyarrow as pa

    types = pa.types

    def is_number(kind: Any) -> bool:
        return bool(types.is_floating(kind) or types.is_integer(kind))

    def is_vector(kind: Any) -> bool:
        lists = types.is_list(kind), types.is_large_list(kind), types.is_fixed_size_list(kind)
        return any(lists) and is_number(kind.value_type)

    columns = [table.column(i) for i in header.values]
    kinds = [column.type for column in columns]
    if len(columns) == 1 and is_vector(kinds[0]):
        vectors = columns[0].to_pylist()
        for row, vector in enumerate(vectors):
            if len(vector) != len(vectors[0]) or None in vector:
                raise DataError(
                    f"{path}: row {row} holds {len(vector)} numbers, or an empty one; the first "
                    f"holds {len(vectors[0])}"
                )
        dtype = kinds[0].value_type.to_pandas_dtype()
        return _as_float(np.array(vectors, dtype=dtype))
    for i, kind in zip(header.values, kinds, strict=True):
        if not is_number(kind):
            raise DataError(
                f"{path}: column '{header.names[i]}' is {kind}; need numbers, or one column of "
                "lists of numbers"
            )
    return _as_float(np.stack([column.to_numpy() for column in columns], axis=1))


def _as_float(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64)


_READERS: dict[str, Callable[[Path, Sequence[str]], FeatureColumns]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}

TABLE_SUFFIXES = tuple(_READERS)
"""Endings of tables with a column of keys."""
