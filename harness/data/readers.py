"""Readers of the published layouts of datasets.

===========  ===========================================  =============================
layout       vocabularies                                 splits
===========  ===========================================  =============================
``openke``   ``entity2id.txt``, ``relation2id.txt``:      ``train2id.txt`` ...: count,
             count, then ``name id``                      then ``head tail relation`` ids
``momok``    the same files without the count             ``train.txt`` ...: names,
                                                          ``head relation tail .``
``mygo``     ``entities.txt``, ``relations.txt``: a name  ``train.txt`` ...: names,
             per line, id = line number from 0            ``head<TAB>relation<TAB>tail``
``tsv``      none: ids in the order in which names        ``train.tsv`` (or ``.txt``) ...:
             first occur in train, valid, test            ``head<TAB>relation<TAB>tail``
``records``  none, likewise                               ``train.csv``, ``.jsonl``, ``.parquet``
                                                          or RDF, also ``data/train-*`` as
                                                          Hugging Face ``datasets``
``pykeen``   ``training/entity_to_id.tsv.gz`` ...         ``training/numeric_triples.tsv.gz`` ...
===========  ===========================================  =============================

The validation split may be called ``valid``, ``dev``, ``val`` or ``validation``.

OpenKE, NATIVE, AdaMF-MAT and MANS share the first; **its third column is the relation**. MyGO and
VISTA share the third.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch

from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.parsing import (
    OPENKE,
    Ids,
    check_name,
    read_id_triples,
    read_lines,
    read_name_triples,
    read_rows,
    read_vocabulary,
)
from harness.data.triple_files import (
    PYKEEN,
    RDF_SUFFIXES,
    RECORD_SUFFIXES,
    read_pykeen,
    read_triple_file,
)
from harness.errors import ConfigError, DataError, MissingDataError, suggest

__all__ = ["Layout", "detect_layout", "graph_files", "read_folder", "record_files", "split_files"]

Layout = Literal["openke", "momok", "mygo", "tsv", "records", "pykeen"]

Rows = Sequence[Sequence[str]]
"""Triples of names: head, relation, tail."""


class _Parts(NamedTuple):
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    splits: Mapping[str, Ids]
    names: Mapping[str, str] = MappingProxyType({})
    """Entity -> readable name."""


ENTITY_NAMES = "entity_names.tsv"
"""Optional file of a folder: ``entity<TAB>readable name``."""

_MARKS: dict[Layout, tuple[str, ...]] = {
    "openke": ("entity2id.txt", "train2id.txt"),
    "mygo": ("entities.txt", "train.txt"),
    "momok": ("entity2id.txt", "train.txt"),
    "tsv": ("train.tsv",),
}
"""Files that identify a layout, in the order of the search: NATIVE's DB15K also has ``train.txt``,
and MyGO's folders also have ``entity2id.txt``."""


_VOCABULARIES: dict[Layout, tuple[str, str]] = {
    "openke": ("entity2id.txt", "relation2id.txt"),
    "momok": ("entity2id.txt", "relation2id.txt"),
    "mygo": ("entities.txt", "relations.txt"),
}
"""Files of the identifiers of entities and relations, in layouts that have them."""


def detect_layout(folder: Path) -> Layout:
    """Return the layout of a dataset's folder, identified by its files.

    Raises:
        MissingDataError: the folder does not exist.
        DataError: its files match no layout.
    """
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder")
    if layout := _layout_of(folder):
        return layout
    layouts = "; ".join(f"{layout}: {', '.join(files)}" for layout, files in _MARKS.items())
    raise DataError(
        f"{folder}: holds no known layout (needed, {layouts}; or train.txt alone: tsv; or "
        f"train with one of {', '.join((*RECORD_SUFFIXES, *RDF_SUFFIXES))}, also data/train-*; "
        f"one file of all triples: `harness data split FILE --out DIR`)"
    )


def _layout_of(folder: Path) -> Layout | None:
    """Return the layout of a folder, None where its files match none."""
    for layout, files in _MARKS.items():
        if all((folder / file).is_file() for file in files):
            return layout
    if (folder / "train.txt").is_file():
        return "tsv"
    if record_files(folder, "train"):
        return "records"
    if (folder / _PYKEEN_FOLDERS["train"] / PYKEEN).is_file():
        return "pykeen"
    return None


def read_folder(folder: Path, name: str, layout: Layout | None = None) -> KnowledgeGraph:
    """Read a dataset from a folder.

    Args:
        folder: folder of the files.
        name: name of the graph.
        layout: layout of the folder; by default identified by its files.

    Raises:
        ConfigError: unknown layout.
        MissingDataError: the folder or one of its files is missing.
        DataError: a file is malformed; the message names file and line.
    """
    actual_layout = detect_layout(folder) if layout is None else layout
    if actual_layout not in _READERS:
        raise ConfigError(
            f"unknown layout '{actual_layout}'{suggest(actual_layout, get_args(Layout))}"
        )
    contents = _READERS[actual_layout](folder)
    tensors = {split: torch.from_numpy(rows) for split, rows in contents.splits.items()}
    names = {**contents.names, **_read_entity_names(folder, contents.entities)}
    named = tuple(names.get(entity, "") for entity in contents.entities) if names else ()
    return KnowledgeGraph(name, contents.entities, contents.relations, tensors, entity_names=named)


def _read_entity_names(folder: Path, entities: Sequence[str]) -> dict[str, str]:
    """Return the readable names in ``entity_names.tsv``, {} without that file."""
    path = folder / ENTITY_NAMES
    if not path.exists():
        return {}
    identifiers, names = set(entities), {}
    line_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        entity, tab, name = line.partition("\t")
        if not tab or not name.strip() or "\t" in name:
            raise DataError(f"{path}:{number}: need 'entity<TAB>name', got {line[:60]!r}")
        if entity not in identifiers:
            raise DataError(f"{path}:{number}: {entity!r} is no entity of the graph")
        if entity in line_of:
            raise DataError(
                f"{path}:{number}: entity '{entity}' is there twice, first on line "
                f"{line_of[entity]}"
            )
        names[entity], line_of[entity] = name, number
    return names


_PYKEEN_FOLDERS = {"train": "training", "valid": "validation", "test": "testing"}
_VALID = ("valid", "dev", "val", "validation")
"""Names of the validation split, as other code bases call it."""


def _split_file(folder: Path, split: str, layout: Layout) -> Path:
    """Return the file of a split, also one of valid that is called dev, val or validation.

    Raises:
        MissingDataError: there is none.
        DataError: there are several.
    """
    ending = "2id.txt" if layout == "openke" else ".txt"
    if layout == "tsv" and (folder / "train.tsv").is_file():
        ending = ".tsv"
    paths = [folder / f"{name}{ending}" for name in _names_of(split)]
    existing = [path for path in paths if path.exists()]
    if len(existing) > 1:
        file_names = ", ".join(path.name for path in existing)
        raise DataError(f"{folder}: has several validation splits, keep one: {file_names}")
    if not existing:
        raise MissingDataError(f"{paths[0]}: no such file; {_advice(split)}")
    return existing[0]


def _names_of(split: str) -> tuple[str, ...]:
    """Return the names that the files of a split may have."""
    return _VALID if split == "valid" else (split,)


def _advice(split: str) -> str:
    """Return how to get a split that is missing."""
    names = f"it may also be called {', '.join(_VALID[1:])}; " if split == "valid" else ""
    return f"{names}`harness data split FILE --out DIR` splits one file of triples"


def record_files(folder: Path, split: str) -> list[Path]:
    """Return the files of a split in the layout "records", [] without any.

    Args:
        folder: folder of the dataset; the files are in it or in its folder ``data``.
        split: "train", "valid" or "test".

    Raises:
        DataError: the split is there in several formats or under several names.
    """
    kinds: dict[tuple[Path, str, str], list[Path]] = {}
    for name in _names_of(split):
        for directory in (folder, folder / "data"):
            for suffix in (*RECORD_SUFFIXES, *RDF_SUFFIXES):
                single = directory / f"{name}{suffix}"
                files = [single] if single.is_file() else []
                files += sorted(directory.glob(f"{name}-[0-9]*{suffix}"))
                if files:
                    kinds[directory, name, suffix] = files
    if len(kinds) > 1:
        file_names = ", ".join(str(files[0]) for files in kinds.values())
        raise DataError(
            f"{folder}: the split {split} is there several times, keep one: {file_names}"
        )
    return next(iter(kinds.values()), [])


def _split_records(folder: Path, split: str) -> list[Path]:
    """Return the files of a split as ``record_files``; MissingDataError without any."""
    files = record_files(folder, split)
    if not files:
        raise MissingDataError(f"{folder}: has no file of the split {split}; {_advice(split)}")
    return files


def split_files(folder: Path) -> list[Path]:
    """Return the files of triples of a folder in the layouts "records" and "pykeen", else []."""
    match _layout_of(folder):
        case "records":
            return [path for split in SPLITS for path in record_files(folder, split)]
        case "pykeen":
            folders = [folder / name for name in _PYKEEN_FOLDERS.values()]
            return sorted(path for directory in folders for path in directory.glob("*.tsv.gz"))
    return []


def graph_files(folder: Path) -> set[Path]:
    """Return the files that :func:`read_folder` reads in a folder.

    Raises:
        MissingDataError: the folder or the file of a split is missing.
        DataError: its files match no layout, or a split is there several times.
    """
    names = folder / ENTITY_NAMES
    layout = detect_layout(folder)
    if layout == "records":
        return {*(path for split in SPLITS for path in _split_records(folder, split)), names}
    if layout == "pykeen":
        return {*split_files(folder), names}
    vocabularies = _VOCABULARIES.get(layout, ())
    files = (_split_file(folder, split, layout) for split in SPLITS)
    return {*files, *(folder / name for name in vocabularies), names}


def _read_records(folder: Path) -> _Parts:
    rows: dict[str, list[tuple[str, str, str]]] = {}
    names: dict[str, str] = {}
    for split in SPLITS:
        contents = [read_triple_file(path) for path in _split_records(folder, split)]
        rows[split] = [triple for content in contents for triple in content.triples]
        names |= {entity: name for content in contents for entity, name in content.names.items()}
    return _of_names(rows)._replace(names=names)


def _read_pykeen(folder: Path) -> _Parts:
    return _of_names(
        {split: read_pykeen(folder / name / PYKEEN) for split, name in _PYKEEN_FOLDERS.items()}
    )


def _of_names(rows: Mapping[str, Rows]) -> _Parts:
    """Return vocabularies in the order of first mention, and the splits as ids."""
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    splits = {}
    for split in SPLITS:
        ids = [
            (
                entities.setdefault(head, len(entities)),
                relations.setdefault(relation, len(relations)),
                entities.setdefault(tail, len(entities)),
            )
            for head, relation, tail in rows[split]
        ]
        splits[split] = np.array(ids, np.int64).reshape(-1, 3)
    return _Parts(tuple(entities), tuple(relations), splits)


def _read_openke(folder: Path) -> _Parts:
    entities = read_vocabulary(folder / "entity2id.txt", header=True)
    relations = read_vocabulary(folder / "relation2id.txt", header=True)
    sizes = len(entities), len(relations)
    splits = {
        split: read_id_triples(_split_file(folder, split, "openke"), *sizes) for split in SPLITS
    }
    return _Parts(entities, relations, splits)


def _read_momok(folder: Path) -> _Parts:
    first = read_lines(folder / "train.txt")[0]
    if re.fullmatch(r"[0-9]+", first.strip()):
        raise DataError(f"{folder / 'train.txt'}:1: {first!r} is no triple of names; {OPENKE}")
    entities = read_vocabulary(folder / "entity2id.txt", header=False)
    relations = read_vocabulary(folder / "relation2id.txt", header=False)
    splits = _named_splits(folder, entities, relations, "momok")
    return _Parts(entities, relations, splits)


def _read_mygo(folder: Path) -> _Parts:
    entities = _read_names(folder / "entities.txt")
    relations = _read_names(folder / "relations.txt")
    splits = _named_splits(folder, entities, relations, "mygo")
    return _Parts(entities, relations, splits)


def _read_tsv(folder: Path) -> _Parts:
    # One split after the other: a malformed train says more than that valid is missing.
    files, rows = {}, {}
    for split in SPLITS:
        files[split] = _split_file(folder, split, "tsv")
        rows[split] = read_rows(files[split])
    for split in ("valid", "test"):
        _refuse_other_order(files[split], rows[split], rows["train"])
    return _of_names(rows)


def _refuse_other_order(path: Path, rows: Rows, train: Rows) -> None:
    """Refuse a row in another column order: its relation is an entity in train, and vice versa."""
    relations = {row[1] for row in train}
    entities = {name for head, _, tail in train for name in (head, tail)}
    relations, entities = relations - entities, entities - relations
    for number, (head, relation, tail) in enumerate(rows, 1):
        if relation in entities and (head in relations or tail in relations):
            last = tail in relations
            order = "head tail relation" if last else "relation head tail"
            raise DataError(
                f"{path}:{number}: {relation!r} is an entity in train, and "
                f"{tail if last else head!r} a relation: the row is in the order '{order}'; need "
                "'head relation tail'"
            )


def _named_splits(
    folder: Path, entities: tuple[str, ...], relations: tuple[str, ...], layout: Layout
) -> dict[str, Ids]:
    dotted = layout == "momok"
    entity_ids = {name: i for i, name in enumerate(entities)}
    relation_ids = {name: i for i, name in enumerate(relations)}
    return {
        split: read_name_triples(
            _split_file(folder, split, layout), entity_ids, relation_ids, dotted=dotted
        )
        for split in SPLITS
    }


def _read_names(path: Path) -> tuple[str, ...]:
    line_of: dict[str, int] = {}
    for number, name in enumerate(read_lines(path), 1):
        if not name:
            raise DataError(f"{path}:{number}: need a name, the line is empty")
        check_name(name, f"{path}:{number}")
        if name in line_of:
            raise DataError(
                f"{path}:{number}: '{name}' is given twice, first on line {line_of[name]}"
            )
        line_of[name] = number
    return tuple(line_of)


_READERS: dict[Layout, Callable[[Path], _Parts]] = {
    "openke": _read_openke,
    "momok": _read_momok,
    "mygo": _read_mygo,
    "tsv": _read_tsv,
    "records": _read_records,
    "pykeen": _read_pykeen,
}
