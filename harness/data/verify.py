"""Verification of a dataset's files against the published checksums and counts.

Errors (the dataset must not be used): a missing file, another sha256, an unreadable file, splits of
a cleaned variant that differ from the pinned ones. Warnings: confusable identifiers
(:mod:`harness.data.names`) that neither the card nor the user acknowledges. Counts that differ from
the paper's are printed side by side. :mod:`harness.data.audit` looks for problems of correct files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from harness.config.base import Config
from harness.data import acquire, folders
from harness.data.card import DatasetCard, DatasetSource
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.names import NameFinding, NameKind, audit_names, excess_names
from harness.errors import DataError, MissingDataError

__all__ = ["FileState", "VerifyReport", "coverage", "default_features", "sizes", "verify"]


class FileState(Config):
    """State of one file of the card."""

    path: str
    state: Literal["ok", "differs", "missing", "absent"]
    """ok; other sha256; a required file is missing; an optional one is absent."""
    sha256: str = ""
    """Checksum of the file, "" without a file."""


class VerifyReport(Config):
    """Result of :func:`verify`."""

    name: str
    title: str
    folder: Path | None
    """Folder of the files; None for datasets that ship with the package or are generated."""
    digest: str = ""
    """Digest of the graph, stored with every result."""
    files: tuple[FileState, ...] = ()
    published: Mapping[str, int] = {}
    """Published number of entities, relations and rows; for a cleaned variant, the pinned ones."""
    pinned: str = ""
    """Digest that the graph must have; "" where only the files are pinned."""
    counts: Mapping[str, int] = {}
    """Counts of the files, with the keys of ``published``."""
    highest: Mapping[str, int] = {}
    """Highest entity and relation id in the splits."""
    published_modalities: Mapping[str, int] = {}
    """Published number of entities with each modality."""
    feature_set: str = ""
    """Feature set whose coverage was counted; "" for none."""
    modalities: Mapping[str, int] = {}
    """Number of entities with each modality in that feature set."""
    notes: tuple[str, ...] = ()
    names: tuple[NameFinding, ...] = ()
    """Identifiers that are easily confused."""
    warnings: tuple[NameFinding, ...] = ()
    """Confusable identifiers that nobody has acknowledged."""
    errors: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True without errors and warnings."""
        return not (self.errors or self.warnings)

    def text(self) -> str:
        """Return the report as text of at most 80 columns."""
        from harness.data.verify_text import render

        return render(self)


def verify(
    source: DatasetSource, features: str | None = None, allowed: Sequence[NameKind] = ()
) -> VerifyReport:
    """Check a dataset's files and count their content.

    Args:
        source: the dataset.
        features: feature set whose coverage is compared with the published one; by default
            "published" if its files are on this machine, or the set that ships with the package.
        allowed: kinds of confusable identifiers that are intended, in addition to the card's.

    Raises:
        MissingDataError: the dataset or the named features are not on this machine.
        ConfigError: there is no such feature set.
    """
    card = source.card
    folder = folders.locate(card) if card.files else None
    files = _check_files(card, folder) if folder is not None else ()
    fields: dict[str, object] = {
        "name": card.name,
        "title": card.title,
        "folder": folder,
        "files": files,
        "notes": card.notes,
        "published": dict(card.printed_counts),
        "pinned": card.digest,
        "published_modalities": dict(card.modality_counts),
    }
    errors = [_file_error(state, card) for state in files if state.state in ("differs", "missing")]
    try:
        graph = source.graph()
    except DataError as error:
        errors.append(str(error))
    else:
        fields |= _graph_facts(graph) | {"notes": (*card.notes, *graph.notes)}
        names = audit_names(graph)
        fields |= {"names": names, "warnings": excess_names(names, card.lookalikes, allowed)}
        if card.digest not in ("", graph.digest):
            errors.append(f"the splits have digest {graph.digest}, pinned is {card.digest}")
        try:
            feature_set, fields["modalities"] = coverage(source, graph, features)
            fields["feature_set"] = feature_set
        except MissingDataError:
            if features is not None:
                raise
        except DataError as error:
            errors.append(str(error))
    return VerifyReport.model_validate({**fields, "errors": tuple(errors)})


def sizes(graph: KnowledgeGraph) -> dict[str, int]:
    """Count entities, relations and the rows of each split."""
    rows = {split: len(graph.splits[split]) for split in SPLITS}
    return {"entities": graph.n_entities, "relations": graph.n_relations, **rows}


def coverage(
    source: DatasetSource, graph: KnowledgeGraph, features: str | None = None
) -> tuple[str, dict[str, int]]:
    """Count the entities that have each modality.

    Args:
        source: the dataset.
        graph: its graph.
        features: feature set; by default as in :func:`verify`.

    Returns:
        feature set ("" for none), and modality -> number of entities.

    Raises:
        MissingDataError: the features are not on this machine.
        ConfigError: there is no such feature set.
    """
    name = features or default_features(source)
    if name is None:
        return "", {}
    tables = source.features(name, graph).tables
    return name, {kind: int(table.present.sum()) for kind, table in tables.items()}


def _check_files(card: DatasetCard, folder: Path) -> tuple[FileState, ...]:
    states: list[FileState] = []
    for file in card.files:
        path = folder / file.path
        if not path.is_file():
            states.append(FileState(path=file.path, state="absent" if file.optional else "missing"))
            continue
        sha256 = acquire.sha256_of(path)
        right = sha256 == file.sha256
        states.append(FileState(path=file.path, state="ok" if right else "differs", sha256=sha256))
    return tuple(states)


def _file_error(state: FileState, card: DatasetCard) -> str:
    if state.state == "missing":
        return f"{state.path} is missing"
    expected = next(file.sha256 for file in card.files if file.path == state.path)
    return f"{state.path} has sha256 {state.sha256[:16]}..., published is {expected[:16]}..."


def _graph_facts(graph: KnowledgeGraph) -> dict[str, object]:
    triples = torch.cat([graph.splits[split] for split in SPLITS])
    return {
        "digest": graph.digest,
        "counts": sizes(graph),
        "highest": {
            "entity": int(triples[:, [0, 2]].max()) if len(triples) else -1,
            "relation": int(triples[:, 1].max()) if len(triples) else -1,
        },
    }


def default_features(source: DatasetSource) -> str | None:
    """Return a feature set that is read from files, None without one.

    Building other sets may need an encoder, and time.
    """
    if "published" in source.feature_sets:
        return "published"
    shipped = source.card.modality_counts and not source.card.files
    return next((name for name in source.feature_sets if shipped and name != "none"), None)
