"""What a dataset's files hold, beside what is published of them.

Errors (the dataset must not be used): a missing file, another sha256, a file that cannot be read;
splits of a cleaned variant that are not those which are pinned. Warnings (look first): identifiers
that are easily confused (:mod:`harness.data.names`), unless somebody has acknowledged them.
Counts that differ from the paper's are shown as they are. What makes figures misleading though the
files are right is counted by :mod:`harness.data.audit`.
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

__all__ = ["FileState", "Report", "coverage", "default_features", "sizes", "verify"]


class FileState(Config):
    """One file of the card."""

    path: str
    state: Literal["ok", "differs", "missing", "absent"]
    """ok; another sha256; a required file is missing; an optional one is absent."""
    sha256: str = ""
    """What was found, "" when there is no file."""


class Report(Config):
    """What :func:`verify` found."""

    name: str
    title: str
    folder: Path | None
    """Where the files lie; None for datasets that ship with the package or are generated."""
    digest: str = ""
    """Digest of the graph, the one that is stored with results."""
    files: tuple[FileState, ...] = ()
    published: Mapping[str, int] = {}
    """Table 1: entities, relations, train, valid, test; of a cleaned variant, as pinned."""
    pinned: str = ""
    """The digest that the graph must have, "" where the files alone are pinned."""
    counts: Mapping[str, int] = {}
    """The same, counted in the files."""
    highest: Mapping[str, int] = {}
    """Highest entity and relation id used in a split."""
    published_modalities: Mapping[str, int] = {}
    """Entities with each modality, as published."""
    feature_set: str = ""
    """Feature set whose coverage was counted, "" when none was."""
    modalities: Mapping[str, int] = {}
    """Entities with each modality, counted in that feature set."""
    notes: tuple[str, ...] = ()
    names: tuple[NameFinding, ...] = ()
    """Identifiers that are easily confused."""
    warnings: tuple[NameFinding, ...] = ()
    """Those of them that nobody has acknowledged."""
    errors: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """No file is missing, differs or cannot be read; no identifiers are easily confused."""
        return not (self.errors or self.warnings)

    def text(self) -> str:
        """Return the report as text of at most 80 columns."""
        from harness.data.verify_text import render

        return render(self)


def verify(
    source: DatasetSource, features: str | None = None, allowed: Sequence[NameKind] = ()
) -> Report:
    """Check a dataset's files and count what they hold.

    Args:
        source: the dataset.
        features: feature set whose coverage is shown beside the published one; when not given,
            the set "published" if its files are here, or the one that ships with the package.
        allowed: kinds of confusable identifiers that are meant, beside those of the card.

    Raises:
        MissingDataError: the dataset is not on this machine, or the features asked for are not.
        ConfigError: there is no such feature set.
    """
    card = source.card
    folder = folders.locate(card) if card.files else None
    files = _check_files(card, folder) if folder is not None else ()
    found: dict[str, object] = {
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
        found |= _graph_facts(graph) | {"notes": (*card.notes, *graph.notes)}
        names = audit_names(graph)
        found |= {"names": names, "warnings": excess_names(names, card.lookalikes, allowed)}
        if card.digest not in ("", graph.digest):
            errors.append(f"the splits have digest {graph.digest}, pinned is {card.digest}")
        try:
            feature_set, found["modalities"] = coverage(source, graph, features)
            found["feature_set"] = feature_set
        except MissingDataError:
            if features is not None:
                raise
        except DataError as error:
            errors.append(str(error))
    return Report.model_validate({**found, "errors": tuple(errors)})


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
        graph: what it holds.
        features: feature set, by default as :func:`verify` chooses it.

    Returns:
        the feature set ("" when none is chosen) and the counts.

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
        found = acquire.sha256_of(path)
        right = found == file.sha256
        states.append(FileState(path=file.path, state="ok" if right else "differs", sha256=found))
    return tuple(states)


def _file_error(state: FileState, card: DatasetCard) -> str:
    if state.state == "missing":
        return f"{state.path} is missing"
    expected = next(file.sha256 for file in card.files if file.path == state.path)
    return f"{state.path} has sha256 {state.sha256[:16]}..., published is {expected[:16]}..."


def _graph_facts(graph: KnowledgeGraph) -> dict[str, object]:
    used = torch.cat([graph.splits[split] for split in SPLITS])
    return {
        "digest": graph.digest,
        "counts": sizes(graph),
        "highest": {
            "entity": int(used[:, [0, 2]].max()) if len(used) else -1,
            "relation": int(used[:, 1].max()) if len(used) else -1,
        },
    }


def default_features(source: DatasetSource) -> str | None:
    """Return a set that is read from files, or None.

    Building the others may need an encoder, and time.
    """
    if "published" in source.feature_sets:
        return "published"
    shipped = source.card.modality_counts and not source.card.files
    return next((name for name in source.feature_sets if shipped and name != "none"), None)
