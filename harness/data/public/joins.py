"""Readers of original files, and their joins to the entities of a dataset."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote

import torch
from torch import Tensor

from harness.data.card import FeatureSource
from harness.data.public import originals
from harness.data.sources import read_source
from harness.errors import DataError

__all__ = [
    "Description",
    "Triple",
    "aligned",
    "both_numbers",
    "dbpedia_key",
    "dbpedia_numbers",
    "descriptions_by_wikidata_id",
    "freebase_entities",
    "freebase_rows",
    "image_summaries",
    "linked_entities",
    "numbered",
    "numbers_by_name",
    "plain",
    "read_codebook",
    "read_pickle",
    "rows_of",
    "same_as",
    "wikidata_by_dbpedia",
    "wikidata_descriptions",
    "yago_numbers",
    "year_of",
]

Triple = tuple[str, str, str]
"""Entity, attribute and value, in the original's spelling."""

_DATE = re.compile(r"(-?\d+)-(\d+)-(\d+)")
_YAGO_DATE = re.compile(r"(-?\d+)\.(\d\d)(\d\d)")
_LINK = re.compile(r"(\S+) <SameAs> <http://dbpedia\.org/resource/(.*)> \.\s*")


@dataclass(frozen=True)
class Description:
    """Texts on an entity; missing ones are "".

    Attributes:
        label: label in Wikidata, if it differs from the dataset's name of the entity.
        short: short description in Wikidata.
        summary: description of the entity's images by a vision-language model.
    """

    label: str = ""
    short: str = ""
    summary: str = ""

    def __bool__(self) -> bool:
        """True with a description or a summary; a label does not count."""
        return bool(self.short or self.summary)


def plain(text: str | None) -> str:
    """Return a text with single spaces, without spaces around it; "" of None."""
    return " ".join((text or "").split())


def rows_of(source: FeatureSource, columns: int) -> Iterator[list[str]]:
    """Read the tab-separated rows of a text file without quoting; blank lines are skipped.

    Args:
        source: the file.
        columns: number of fields of a row; the last field may contain tabs.

    Raises:
        DataError: a row has fewer fields; the message names file and line.
    """
    for number, line in enumerate(_text(source).split("\n"), 1):
        if line.strip():
            row = line.rstrip("\r").split("\t", columns - 1)
            if len(row) != columns:
                _refuse(source, f"line {number}: need {columns} columns, got {line[:80]!r}")
            yield row


def numbered(source: FeatureSource) -> list[str]:
    """Read ``id<TAB>text`` below a count; the ids must be 0, 1, 2, ..."""
    lines = _text(source).rstrip("\n").split("\n")
    texts = []
    for number, line in enumerate(lines[1:]):
        number_field, _, text = line.partition("\t")
        if number_field != str(number):
            _refuse(source, f"line {number + 2}: need id {number}, got {line[:80]!r}")
        texts.append(plain(text))
    if lines[0].strip() != str(len(texts)):
        _refuse(source, f"says that it has {lines[0]!r} rows, and has {len(texts)}")
    return texts


def image_summaries(texts: FeatureSource, names: FeatureSource) -> list[str]:
    """Read FICHA's summaries of the entities' images, "" for stubs.

    The stub of an entity without images is its name and a type: "Jack E. Cox is a Person.". It
    describes no image, and the type may be the answer of a test triple.
    """
    return [
        "" if _is_stub(text, name) else text
        for text, name in zip(numbered(texts), numbered(names), strict=True)
    ]


def _is_stub(text: str, name: str) -> bool:
    predicate = text.removeprefix(f"{name} is a")
    return predicate != text and re.fullmatch(r"n? \S+\.", predicate) is not None


def freebase_entities(source: FeatureSource) -> Mapping[str, Mapping[str, Any]]:
    """Read Freebase id -> Wikidata's entry of the entity."""
    content = json.loads(_text(source))
    if not isinstance(content, dict):
        _refuse(source, "need an object that maps Freebase ids to entities")
    return content


def descriptions_by_wikidata_id(
    table: FeatureSource, entities: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, str]:
    """Return Q-id -> short description, from the table, else from the Freebase entities."""
    short: dict[str, str] = {}
    for entity in entities.values():
        if entity.get("description"):
            short.setdefault(entity["wikidata_id"], plain(entity["description"]))
    return {**short, **wikidata_descriptions(table)}


def wikidata_descriptions(table: FeatureSource) -> Mapping[str, str]:
    """Read Q-id -> short description."""
    return {key: plain(text) for key, text in rows_of(table, 2) if plain(text)}


def freebase_rows(source: FeatureSource) -> Mapping[str, int]:
    """Read Freebase id -> row of the summaries, below a count."""
    lines = _text(source).split("\n")[1:]
    return {key: int(row) for key, _, row in (line.partition("\t") for line in lines) if key}


def same_as(source: FeatureSource) -> Mapping[str, str]:
    """Read last part of the DBpedia address -> Freebase id; the first link counts."""
    links: dict[str, str] = {}
    for number, line in enumerate(_text(source).split("\n"), 1):
        if line.strip():
            link = _LINK.fullmatch(line)
            if link is None:
                _refuse(source, f"line {number}: is no link: {line[:80]!r}")
            links.setdefault(link[2], link[1])
    return links


def linked_entities(source: FeatureSource) -> Mapping[str, str]:
    """Read last part of the DBpedia address -> Q-id from MKG-W's pairs of addresses."""
    return {dbpedia_key(name): entity.rsplit("/", 1)[1] for name, entity in rows_of(source, 2)}


def dbpedia_key(address: str) -> str:
    """Return the part of a DBpedia address after ``/resource/``, or a bare name."""
    return address.strip("<>").rpartition("/resource/")[2]


def wikidata_by_dbpedia(
    mapping: FeatureSource, entities: Mapping[str, Mapping[str, Any]], links: Mapping[str, str]
) -> Mapping[str, str]:
    """Return last part of the DBpedia address -> Q-id, from three originals.

    Args:
        mapping: table ``entity,dbpedia``, of lowest priority.
        entities: Freebase entities, whose Wikipedia titles have the next priority.
        links: pairs of highest priority.
    """
    rows = csv.reader(io.StringIO(_text(mapping)))
    pairs = {name: entity for entity, name in rows}
    pages: dict[str, str] = {}
    for entity in entities.values():
        _, separator, title = (entity.get("wikipedia") or "").partition("/wiki/")
        if separator:
            pages.setdefault(unquote(title), entity["wikidata_id"])
    return {**pairs, **pages, **links}


def dbpedia_numbers(source: FeatureSource) -> list[Triple]:
    """Read DBpedia's literals."""
    return [(name, attribute, value) for name, attribute, value in rows_of(source, 3)]


def yago_numbers(source: FeatureSource) -> list[Triple]:
    """Read YAGO's literals, in which dates are years with month and day as decimals."""
    return [
        (entity.strip("<>"), attribute.strip("<>"), value)
        for entity, attribute, value in rows_of(source, 3)
    ]


def both_numbers() -> list[Triple]:
    """Read DBpedia's literals as ``dbo:<attribute>`` and YAGO's as ``yago:<attribute>``."""
    dbpedia = dbpedia_numbers(originals.DBPEDIA_NUMBERS)
    yago = yago_numbers(originals.YAGO_NUMBERS)
    return [
        *((name, f"dbo:{attribute}", value) for name, attribute, value in dbpedia),
        *((name, f"yago:{attribute}", value) for name, attribute, value in yago),
    ]


def year_of(value: str, attribute: str) -> float:
    """Return a literal as a number; a date becomes a year with a fraction.

    Months are twelfths of a year and days 31sts of a month, so dates keep their order; where month
    or day is unknown (0), the first day of the period is used. YAGO writes 9 June 1977 as
    ``1977.0609``.

    Raises:
        ValueError: the literal is neither a date nor a number.
    """
    date = _DATE.fullmatch(value)
    if date is None and attribute.endswith("OnDate"):
        date = _YAGO_DATE.fullmatch(value)
    if date is None:
        return float(value)
    year, month, day = int(date[1]), max(int(date[2]), 1), max(int(date[3]), 1)
    return year + (month - 1) / 12 + (day - 1) / 372


def numbers_by_name(keys: Sequence[str], triples: Iterable[Triple]) -> list[dict[str, float]]:
    """Return the attributes of each entity; several values of an attribute become their mean.

    Args:
        keys: name of each entity in the originals, "" without one.
        triples: literals of all entities.
    """
    ids = {key: i for i, key in enumerate(keys) if key}
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    for name, attribute, value in triples:
        if name in ids:
            try:
                values[ids[name], attribute].append(year_of(value, attribute))
            except ValueError:
                raise DataError(f"'{name}': {attribute} is no number or date: {value!r}") from None
    rows: list[dict[str, float]] = [{} for _ in keys]
    for (entity, attribute), numbers in values.items():
        rows[entity][attribute] = sum(numbers) / len(numbers)
    return rows


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of containers, texts and numbers, which refuses every import and call."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"holds {module_name}.{global_name}")


def read_pickle(source: FeatureSource) -> Any:
    """Read a pickle of lists, dictionaries, texts and numbers.

    Raises:
        DataError: it contains anything else, which could run code.
    """
    try:
        return _PlainUnpickler(io.BytesIO(read_source(source))).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        raise DataError(
            f"{source.location}: no pickle of plain lists and numbers ({error}); it is not opened"
        ) from error


def read_codebook(source: FeatureSource) -> Tensor:
    """Read a float32 codebook [V, c] saved by torch, with ``weights_only``."""
    try:
        vectors = torch.load(io.BytesIO(read_source(source)), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise DataError(f"{source.location}: no file of tensors; it is not opened") from error
    if not isinstance(vectors, Tensor) or vectors.ndim != 2:
        _refuse(source, "need a codebook [V, c]")
    return vectors.float()


def aligned(rows: Sequence[str], n_entities: int, source: FeatureSource) -> Sequence[str]:
    """Return rows in the order of the dataset's ids after a check of their number.

    Raises:
        DataError: there is not one row per entity.
    """
    if len(rows) != n_entities:
        _refuse(source, f"has {len(rows)} rows, the dataset {n_entities} entities")
    return rows


def _text(source: FeatureSource) -> str:
    try:
        return read_source(source).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{source.location}: not UTF-8 ({error})") from error


def _refuse(source: FeatureSource, problem: str) -> NoReturn:
    raise DataError(f"{source.location}: {problem}")
