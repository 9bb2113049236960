"""Files of triples in the formats of others: tables with columns, JSON lines, RDF, PyKEEN.

============================  ====================================================================
``.tsv``, ``.txt``            ``head<TAB>relation<TAB>tail`` without a header, as everywhere here
``.csv``                      the same with commas, with or without a header
``.parquet``, ``.jsonl``      columns or keys head, relation, tail (or subject, predicate, object;
                              source, target; h, r, t), as Hugging Face ``datasets`` has them
``.nt``, ``.ttl``, ``.n3``,   RDF through rdflib (extra ``[rdf]``): statements between resources are
``.rdf``, ``.owl``            triples, numbers and dates are literals, labels are names
``numeric_triples.tsv.gz``    PyKEEN's ids, with the names in files beside it
============================  ====================================================================
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.parsing import HEADERS, check_name, check_regular, read_lines, read_rows
from harness.errors import DataError, MissingDataError

__all__ = [
    "PYKEEN",
    "RDF_SUFFIXES",
    "RECORD_SUFFIXES",
    "TripleFile",
    "read_pykeen",
    "read_triple_file",
]

RDF_SUFFIXES = (".nt", ".ttl", ".n3", ".rdf", ".owl")
RECORD_SUFFIXES = (".parquet", ".jsonl", ".csv")
"""Endings of files of a folder for Hugging Face ``datasets``."""
PYKEEN = "numeric_triples.tsv.gz"
"""File of triples that PyKEEN's ``TriplesFactory.to_path_binary`` writes."""

_COLUMNS = ("head", "relation", "tail")
_LABELS = frozenset(
    {
        "http://www.w3.org/2000/01/rdf-schema#label",
        "http://www.w3.org/2004/02/skos/core#prefLabel",
        "http://xmlns.com/foaf/0.1/name",
        "http://schema.org/name",
        "https://schema.org/name",
    }
)
_YEAR = re.compile(r"-?\d{4,}")


@dataclass
class TripleFile:
    """Content of a file.

    Attributes:
        triples: head, relation, tail, in the order of the file.
        literals: entity, attribute, number.
        names: entity -> readable name.
        left_out: number of statements that are none of these: texts, blank nodes.
    """

    triples: list[tuple[str, str, str]]
    literals: list[tuple[str, str, float]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    left_out: int = 0


def read_triple_file(path: Path) -> TripleFile:
    """Read a file of triples; its ending chooses the reader.

    Raises:
        MissingDataError: there is no such file, or the package that reads it is not installed.
        DataError: the file is malformed, lacks a column, or has an unknown ending; the message
            names file and line.
    """
    if path.name == PYKEEN:
        return TripleFile(read_pykeen(path))
    if path.suffix in (".tsv", ".txt"):
        return TripleFile([_triple(row) for row in read_rows(path)])
    reader = _READERS.get(path.suffix)
    if reader is None:
        endings = ", ".join([".tsv", ".txt", *_READERS])
        raise DataError(f"{path}: cannot read '{path.suffix}'; use one of {endings}, or {PYKEEN}")
    if not path.exists():
        raise MissingDataError(f"{path}: no such file")
    check_regular(path)
    content = reader(path)
    if not content.triples:
        raise DataError(f"{path}: holds no triple")
    return content


def _triple(row: Sequence[str]) -> tuple[str, str, str]:
    head, relation, tail = row
    return head, relation, tail


# --- tables -------------------------------------------------------------------------------------


def _read_csv(path: Path) -> TripleFile:
    lines = [f"{line}\n" for line in read_lines(path)]
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from error
    plain = [name.strip().lower() for name in rows[0]]
    is_header = any(name in words for words in HEADERS for name in plain)
    positions = _positions(path, rows[0]) if is_header else (0, 1, 2)
    triples = []
    for number, row in enumerate(rows[is_header:], 1 + is_header):
        if len(row) != len(rows[0]) or len(row) < 3:
            raise DataError(f"{path}:{number}: has {len(row)} columns, need {max(3, len(rows[0]))}")
        triples.append(_checked((row[i] for i in positions), f"{path}:{number}"))
    return TripleFile(triples)


def _read_jsonl(path: Path) -> TripleFile:
    triples = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: no JSON: {error}") from error
        if not isinstance(entry, dict):
            raise DataError(f"{path}:{number}: need an object with the keys {', '.join(_COLUMNS)}")
        names = list(entry)
        values = [entry[names[i]] for i in _positions(path, names, number)]
        triples.append(_checked(values, f"{path}:{number}"))
    return TripleFile(triples)


def _read_parquet(path: Path) -> TripleFile:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDataError(
            f"{path}: Parquet files are read by pyarrow, which is not installed; get it with\n"
            "  pip install -e '.[parquet]'"
        ) from error
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    positions = _positions(path, table.column_names)
    columns = [table.column(i).to_pylist() for i in positions]
    rows = zip(*columns, strict=True)
    return TripleFile([_checked(row, f"{path}: row {i}") for i, row in enumerate(rows)])


def _positions(path: Path, names: Sequence[str], line: int = 1) -> tuple[int, ...]:
    """Return the positions of head, relation and tail among the names of columns."""
    plain = [str(name).strip().lower() for name in names]
    positions = []
    for column, words in zip(_COLUMNS, HEADERS, strict=True):
        found = [i for i, name in enumerate(plain) if name in words or name == column[0]]
        if len(found) != 1:
            what = "no column" if not found else "several columns"
            raise DataError(
                f"{path}:{line}: {what} for the {column}; has {', '.join(map(str, names))}; name "
                f"the columns {', '.join(_COLUMNS)}"
            )
        positions.append(found[0])
    return tuple(positions)


def _checked(values: Iterable[Any], location: str) -> tuple[str, str, str]:
    texts = []
    for column, value in zip(_COLUMNS, values, strict=True):
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise DataError(f"{location}: the {column} is {value!r}; need a text or an integer")
        text = str(value)
        check_name(text, location)
        if not text.strip() or "\t" in text or "\n" in text:
            raise DataError(f"{location}: the {column} is {text[:60]!r}; need a name in one line")
        texts.append(text)
    return _triple(texts)


# --- RDF ----------------------------------------------------------------------------------------


def _read_rdf(path: Path) -> TripleFile:
    try:
        import rdflib
    except ImportError as error:
        raise MissingDataError(
            f"{path}: RDF is read by rdflib, which is not installed; get it with\n"
            "  pip install -e '.[rdf]'"
        ) from error
    graph = rdflib.Graph()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rdflib's own use of its deprecated names
            graph.parse(path, format=_RDF_FORMATS[path.suffix])
    except Exception as error:  # every parser of rdflib has its own
        line = re.search(r"line (\d+)", str(error))
        where = f":{line[1]}" if line else ""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}{where}: cannot be read as RDF: {reason}") from error
    content = TripleFile([])
    for subject, predicate, value in sorted(graph):  # a set otherwise, in any order
        if not isinstance(subject, rdflib.URIRef):
            content.left_out += 1
        elif isinstance(value, rdflib.URIRef):
            content.triples.append((str(subject), str(predicate), str(value)))
        elif isinstance(value, rdflib.Literal):
            _add_literal(content, str(subject), str(predicate), value)
        else:
            content.left_out += 1
    for triple in content.triples:
        _checked(triple, str(path))
    return content


def _add_literal(content: TripleFile, subject: str, predicate: str, value: Any) -> None:
    if predicate in _LABELS:
        text = " ".join(str(value).split())
        if value.language in (None, "en") or subject not in content.names:
            content.names[subject] = text
        return
    number = _number(value)
    if number is None:
        content.left_out += 1
    else:
        content.literals.append((subject, predicate, number))


def _number(literal: Any) -> float | None:
    """Return a number, a date as its year; None for other literals."""
    datatype = str(literal.datatype or "").rpartition("#")[2]
    if datatype in ("date", "dateTime", "gYear", "gYearMonth"):
        year = _YEAR.match(str(literal))
        return float(year[0]) if year else None
    value = literal.value
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


_RDF_FORMATS = {".nt": "nt", ".ttl": "turtle", ".n3": "n3", ".rdf": "xml", ".owl": "xml"}


# --- PyKEEN -------------------------------------------------------------------------------------


def read_pykeen(path: Path) -> list[tuple[str, str, str]]:
    """Read the triples that PyKEEN's ``TriplesFactory.to_path_binary`` wrote.

    Args:
        path: ``numeric_triples.tsv.gz``; ``entity_to_id.tsv.gz`` and ``relation_to_id.tsv.gz`` lie
            beside it.

    Raises:
        MissingDataError: a file is missing.
        DataError: a file is malformed or has an unknown id; names file and line.
    """
    entities, relations = (_pykeen_names(path.parent / f"{kind}_to_id.tsv.gz")
                           for kind in ("entity", "relation"))  # fmt: skip
    triples = []
    for number, row in _pykeen_rows(path, ("head", "relation", "tail")):
        try:
            head, relation, tail = (
                names[int(text)] for names, text in zip((entities, relations, entities), row,
                                                        strict=True)
            )  # fmt: skip
        except (ValueError, KeyError):
            raise DataError(f"{path}:{number}: no ids of this folder: {' '.join(row)}") from None
        triples.append(_checked((head, relation, tail), f"{path}:{number}"))
    return triples


def _pykeen_names(path: Path) -> Mapping[int, str]:
    names: dict[int, str] = {}
    line_of_name: dict[str, int] = {}
    for number, (text, name) in _pykeen_rows(path, ("id", "label")):
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise DataError(f"{path}:{number}: {text[:60]!r} is no id")
        if int(text) in names:
            raise DataError(f"{path}:{number}: id {text} is given twice")
        if name in line_of_name:
            raise DataError(
                f"{path}:{number}: {name!r} is given twice, first on line {line_of_name[name]}"
            )
        names[int(text)] = name
        line_of_name[name] = number
    return names


def _pykeen_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of some columns of a compressed table, with the number of the line."""
    if not path.exists():
        raise MissingDataError(f"{path}: no such file; PyKEEN's folder of triples has it")
    check_regular(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file, delimiter="\t")
            header = next(reader, [])
            if not set(columns) <= set(header):
                raise DataError(f"{path}:1: needs the columns {', '.join(columns)}, has {header}")
            positions = [header.index(column) for column in columns]
            for row in reader:
                if len(row) != len(header):
                    raise DataError(f"{path}:{reader.line_num}: has {len(row)} columns")
                yield reader.line_num, [row[i] for i in positions]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


_READERS: Mapping[str, Callable[[Path], TripleFile]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    **dict.fromkeys(RDF_SUFFIXES, _read_rdf),
}
