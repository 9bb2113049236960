"""Parsers of text files of ids and names; every error names the line.

The published files are small (at most 200,000 rows), so a file is read at once; rows are checked
with array operations, and Python looks only at a malformed line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.encoding import decoded, without_mark
from harness.errors import DataError, MissingDataError

__all__ = [
    "HEADERS",
    "OPENKE",
    "check_name",
    "check_regular",
    "read_id_triples",
    "read_lines",
    "read_name_triples",
    "read_packaged",
    "read_rows",
    "read_vocabulary",
]

Ids = NDArray[np.int64]

OPENKE = (
    "ids with a count before them are OpenKE's layout: it needs entity2id.txt, relation2id.txt, "
    "and the splits as train2id.txt, valid2id.txt and test2id.txt"
)
"""Hint for files of ids with the file names of another layout."""
_ENTRY = re.compile(r"(.*\S)[ \t]+(\S+)[ \t]*", re.ASCII)
"""``name<whitespace>id``: names may have spaces, so the last whitespace separates."""
HEADERS = (
    frozenset({"head", "subject", "subj", "source", "from", "head_entity", "head entity"}),
    frozenset({"relation", "rel", "predicate", "pred", "property", "edge", "relationship"}),
    frozenset({"tail", "object", "obj", "target", "to", "tail_entity", "tail entity"}),
)
"""Words of a header line for head, relation and tail; single letters also occur as names in toy
graphs."""
_MOST_DIGITS = 18
"""Digits of numbers that always fit int64."""


def check_regular(path: Path) -> None:
    """Refuse a pipe, on which reading would wait, or a device, which never ends.

    Raises:
        DataError: ``path`` is not a regular file or a link to one.
    """
    if not path.is_file():
        raise DataError(f"{path}: is not a regular file; put one there, or take it away")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file, without line ends and trailing blank lines.

    Raises:
        MissingDataError: the file does not exist.
        DataError: the file is unreadable, empty or not UTF-8 (with the line).
    """
    text = decoded(_read(path), path, DataError)
    return [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]


def read_packaged(name: str) -> list[dict[str, str]]:
    """Read a tab-separated table of this package ("sets/native.tsv"), heading -> field per row."""
    lines = (files("harness.data") / name).read_text("utf-8").splitlines()
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_vocabulary(path: Path, *, header: bool) -> tuple[str, ...]:
    """Read ``name<whitespace>id`` lines and return the names, position = id.

    Args:
        path: the file.
        header: True if the first line is the number of rows.

    Raises:
        DataError: the header is wrong, a line is not ``name id``, an id is not an integer, is out
            of range or repeated, or a name is repeated.
    """
    lines = read_lines(path)
    first = 1
    if header:
        lines, first = _without_header(path, lines), 2
    names: list[str] = [""] * len(lines)
    line_of_id: dict[int, int] = {}
    line_of_name: dict[str, int] = {}
    for number, line in enumerate(lines, first):
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise DataError(f"{path}:{number}: need 'name id', got {_quote(line)}")
        name, digits = entry.groups()
        check_name(name, f"{path}:{number}")
        entry_id = _integer(path, number, digits)
        if entry_id not in range(len(lines)):
            raise DataError(
                f"{path}:{number}: id {entry_id} is out of range: "
                f"{len(lines)} rows need the ids 0 to {len(lines) - 1}"
            )
        if entry_id in line_of_id:
            raise DataError(
                f"{path}:{number}: id {entry_id} is given twice, first on line "
                f"{line_of_id[entry_id]}"
            )
        if name in line_of_name:
            raise DataError(
                f"{path}:{number}: {_quote(name)} is given twice, "
                f"first on line {line_of_name[name]}"
            )
        names[entry_id] = name
        line_of_id[entry_id] = line_of_name[name] = number
    return tuple(names)


def read_id_triples(path: Path, n_entities: int, n_relations: int) -> Ids:
    """Read a ``*2id.txt`` split: a count, then rows of **head tail relation**.

    Args:
        path: the file.
        n_entities: number of entities N.
        n_relations: number of relations R.

    Returns:
        int64 [n, 3] as (head, relation, tail).

    Raises:
        DataError: the header is wrong, a row does not have three fields, a field is not an integer
            or an id is out of range. If the rows would fit the order head relation tail, the
            message says so. Columns in a wrong order with ids in range cannot be detected.
    """
    head, _, body = _read(path).rstrip().partition(b"\n")
    expected = _count(path, head.decode(errors="replace"))
    n_rows = body.count(b"\n") + 1 if body else 0
    _check_count(path, expected, n_rows)
    if not n_rows:
        return np.empty((0, 3), np.int64)
    rows = _integers(path, body, n_rows)
    fits = (rows < np.array([n_entities, n_entities, n_relations])).all(1)
    if not fits.all():
        _explain_range(path, rows, int(np.argmin(fits)), n_entities, n_relations)
    return np.ascontiguousarray(rows[:, [0, 2, 1]])


def read_rows(path: Path, *, dotted: bool = False) -> list[list[str]]:
    """Read triples of names, **head relation tail**, one per line.

    Args:
        path: the file. Fields are separated by a TAB; lines without a TAB by a space.
        dotted: True if lines end in a field ``.``, which is dropped.

    Raises:
        DataError: a line does not have three fields, or the first line is a header.
    """
    rows: list[list[str]] = []
    form = "'head relation tail .'" if dotted else "'head<TAB>relation<TAB>tail'"
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t" if "\t" in line or not dotted else " ")
        if dotted and len(fields) == 4 and fields[3] == ".":
            del fields[3]
        if len(fields) != 3 or not all(fields):
            raise DataError(f"{path}:{number}: need {form}, got {_quote(line)}{_openke_hint(line)}")
        for name in fields:
            check_name(name, f"{path}:{number}")
        rows.append(fields)
    if not dotted and all(a.strip().lower() in b for a, b in zip(rows[0], HEADERS, strict=True)):
        raise DataError(
            f"{path}:1: {_quote(' / '.join(rows[0]))} is a header; take the line out, every line "
            "is a triple"
        )
    return rows


def check_name(name: str, location: str) -> None:
    """Refuse a name with a carriage return, a line end of another system.

    Args:
        name: name of an entity or a relation.
        location: file and line, for the message.

    Raises:
        DataError: the name contains one.
    """
    if "\r" in name:
        raise DataError(f"{location}: {_quote(name)} holds a '\\r'; convert the line ends to '\\n'")


def read_name_triples(
    path: Path, entities: Mapping[str, int], relations: Mapping[str, int], *, dotted: bool = False
) -> Ids:
    """Read triples of names (see :func:`read_rows`) and return their ids.

    Returns:
        int64 [n, 3] as (head, relation, tail).

    Raises:
        DataError: a line does not have three fields or has an unknown name. If it would fit the
            order head tail relation, the message says so.
    """
    rows = read_rows(path, dotted=dotted)
    columns = (entities, relations, entities)
    ids = np.array(
        [[vocabulary.get(row[c], -1) for row in rows] for c, vocabulary in enumerate(columns)],
        np.int64,
    ).T
    unknown = ids < 0
    if unknown.any():
        row = int(np.argmax(unknown.any(1)))
        _explain_name(path, row + 1, rows[row], entities, relations)
    return np.ascontiguousarray(ids)


def _read(path: Path) -> bytes:
    if path.exists():
        check_regular(path)
    try:
        data = without_mark(path.read_bytes())
    except FileNotFoundError:
        raise MissingDataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not data.strip():
        raise DataError(f"{path}: the file is empty")
    return data


def _openke_hint(line: str) -> str:
    """Return a hint if the line is a count or a row of ids, as in OpenKE's layout; else ""."""
    if not re.fullmatch(r"[0-9]+([ \t]+[0-9]+[ \t]+[0-9]+)?[ \t]*", line):
        return ""
    return f"; {OPENKE}"


def _quote(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _integer(path: Path, line: int, text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise DataError(f"{path}:{line}: {_quote(text)} is not an integer id")
    return int(text)


def _count(path: Path, line: str) -> int:
    number = line.strip(" \t\r")  # ``strip`` alone takes characters that ``int`` refuses
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise DataError(f"{path}:1: need the number of rows, got {_quote(line)}")
    return int(number)


def _check_count(path: Path, expected: int, n_rows: int) -> None:
    if n_rows != expected:
        hint = "; was the file cut off?" if n_rows < expected else ""
        raise DataError(f"{path}:1: the header says {expected} rows, the file holds {n_rows}{hint}")


def _without_header(path: Path, lines: Sequence[str]) -> list[str]:
    _check_count(path, _count(path, lines[0]), len(lines) - 1)
    return list(lines[1:])


def _integers(path: Path, body: bytes, n_lines: int) -> Ids:
    """Parse rows of three integers into int64 [n, 3]; the body starts on line 2 of the file."""
    raw = np.frombuffer(body, np.uint8)
    newline = raw == ord("\n")
    blank = newline | (raw == ord(" ")) | (raw == ord("\t")) | (raw == ord("\r"))
    first = ~blank
    first[1:] &= blank[:-1]
    last = ~blank
    last[:-1] &= blank[1:]
    starts = np.flatnonzero(first)
    line_of_token = np.cumsum(newline)[starts]
    wrong = np.bincount(line_of_token, minlength=n_lines) != 3
    wrong[line_of_token[np.flatnonzero(last) - starts >= _MOST_DIGITS]] = True
    odd = ~blank & ((raw < ord("0")) | (raw > ord("9")))
    wrong[np.cumsum(newline)[odd]] = True
    if wrong.any():
        row = int(np.argmax(wrong))
        _explain_row(path, row + 2, body.split(b"\n")[row].decode(errors="replace"))
    return np.fromstring(body.decode("ascii"), np.int64, sep=" ").reshape(-1, 3)


def _explain_row(path: Path, line: int, text: str) -> NoReturn:
    fields = text.split()
    if len(fields) != 3:
        raise DataError(f"{path}:{line}: need 'head tail relation', got {_quote(text)}")
    for field in fields:
        value = _integer(path, line, field)
        if value < 0:
            raise DataError(f"{path}:{line}: id {value} is out of range: ids start at 0")
    raise DataError(f"{path}:{line}: need three integers, got {_quote(text)}")


def _explain_range(path: Path, rows: Ids, row: int, n_entities: int, n_relations: int) -> None:
    location = f"{path}:{row + 2}"
    if (rows < np.array([n_entities, n_relations, n_entities])).all():
        raise DataError(
            f"{location}: relation id {rows[row, 2]} is out of range (0 to {n_relations - 1}), but "
            "every row fits the order 'head relation tail'; this layout needs "
            "'head tail relation': swap the last two columns"
        )
    limits = (n_entities, n_entities, n_relations)
    for column, value, limit in zip(("head", "tail", "relation"), rows[row], limits, strict=True):
        if value >= limit:
            raise DataError(
                f"{location}: {column} id {value} is out of range: ids run from 0 to {limit - 1}"
            )


def _explain_name(
    path: Path, line: int, row: list[str], entities: Mapping[str, int], relations: Mapping[str, int]
) -> None:
    head, relation, tail = row
    if relation not in relations and tail in relations and relation in entities:
        raise DataError(
            f"{path}:{line}: {_quote(relation)} is no relation, but {_quote(tail)} is: the row is "
            "in the order 'head tail relation'; this layout needs 'head relation tail'"
        )
    for column, name, vocabulary in (
        ("head", head, entities),
        ("relation", relation, relations),
        ("tail", tail, entities),
    ):
        if name not in vocabulary:
            raise DataError(f"{path}:{line}: {column} {_quote(name)} has no id")
