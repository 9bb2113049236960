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
===========  ===========================================  =============================

OpenKE, NATIVE, AdaMF-MAT and MANS share the first; **its third column is the relation**. MyGO and
VISTA share the third.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

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
from harness.errors import ConfigError, DataError, MissingDataError, suggest

__all__ = ["Layout", "detect_layout", "read_folder"]

Layout = Literal["openke", "momok", "mygo", "tsv"]

Rows = Sequence[Sequence[str]]
"""Triples of names: head, relation, tail."""
_Parts = tuple[tuple[str, ...], tuple[str, ...], dict[str, Ids]]

_MARKS: dict[Layout, tuple[str, ...]] = {
    "openke": ("entity2id.txt", "train2id.txt"),
    "mygo": ("entities.txt", "train.txt"),
    "momok": ("entity2id.txt", "train.txt"),
    "tsv": ("train.tsv",),
}
"""Files that identify a layout, in the order of the search: NATIVE's DB15K also has ``train.txt``,
and MyGO's folders also have ``entity2id.txt``."""


def detect_layout(folder: Path) -> Layout:
    """Return the layout of a dataset's folder, identified by its files.

    Raises:
        MissingDataError: the folder does not exist.
        DataError: its files match no layout.
    """
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder")
    for layout, files in _MARKS.items():
        if all((folder / file).is_file() for file in files):
            return layout
    if (folder / "train.txt").is_file():
        return "tsv"
    layouts = "; ".join(f"{layout}: {', '.join(files)}" for layout, files in _MARKS.items())
    raise DataError(f"{folder}: holds no known layout (needed, {layouts}; or train.txt alone: tsv)")


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
    entities, relations, splits = _READERS[actual_layout](folder)
    tensors = {split: torch.from_numpy(rows) for split, rows in splits.items()}
    return KnowledgeGraph(name, entities, relations, tensors)


def _read_openke(folder: Path) -> _Parts:
    entities = read_vocabulary(folder / "entity2id.txt", header=True)
    relations = read_vocabulary(folder / "relation2id.txt", header=True)
    sizes = len(entities), len(relations)
    splits = {split: read_id_triples(folder / f"{split}2id.txt", *sizes) for split in SPLITS}
    return entities, relations, splits


def _read_momok(folder: Path) -> _Parts:
    first = read_lines(folder / "train.txt")[0]
    if re.fullmatch(r"[0-9]+", first.strip()):
        raise DataError(f"{folder / 'train.txt'}:1: {first!r} is no triple of names; {OPENKE}")
    entities = read_vocabulary(folder / "entity2id.txt", header=False)
    relations = read_vocabulary(folder / "relation2id.txt", header=False)
    return entities, relations, _named_splits(folder, entities, relations, dotted=True)


def _read_mygo(folder: Path) -> _Parts:
    entities = _read_names(folder / "entities.txt")
    relations = _read_names(folder / "relations.txt")
    return entities, relations, _named_splits(folder, entities, relations, dotted=False)


def _read_tsv(folder: Path) -> _Parts:
    suffix = "tsv" if (folder / "train.tsv").is_file() else "txt"
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    rows = {split: read_rows(folder / f"{split}.{suffix}") for split in SPLITS}
    for split in ("valid", "test"):
        _refuse_other_order(folder / f"{split}.{suffix}", rows[split], rows["train"])
    for split in SPLITS:
        for head, relation, tail in rows[split]:
            entities.setdefault(head, len(entities))
            relations.setdefault(relation, len(relations))
            entities.setdefault(tail, len(entities))
    splits = {
        split: read_name_triples(folder / f"{split}.{suffix}", entities, relations)
        for split in SPLITS
    }
    return tuple(entities), tuple(relations), splits


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
    folder: Path, entities: tuple[str, ...], relations: tuple[str, ...], *, dotted: bool
) -> dict[str, Ids]:
    entity_ids = {name: i for i, name in enumerate(entities)}
    relation_ids = {name: i for i, name in enumerate(relations)}
    return {
        split: read_name_triples(folder / f"{split}.txt", entity_ids, relation_ids, dotted=dotted)
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
}
