"""Audits of feature sets for leaks: pinned on the card, or stored in the dataset's folder.

``harness data audit`` stores those that no card pins in ``audits/<feature set>.json``: of own
datasets, and of own features of public ones. A stored audit holds the digests of the graph and the
features that it saw, so that it never speaks for runs on other files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from harness.data.card import LeakAudit
from harness.data.feature_leaks import SetLeaks
from harness.data.features import FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.data.load import source
from harness.data.local import folder_of
from harness.writing import replacing

__all__ = ["FOLDER", "audit_of", "leak_audit", "write_audit"]

FOLDER = "audits"
"""Folder of the audits, in the dataset's folder."""


def audit_of(
    leaks: SetLeaks, graph: KnowledgeGraph, tables: Mapping[str, FeatureTable]
) -> LeakAudit:
    """Return the verdict of an audit on the files that it saw."""
    return LeakAudit(
        leaks={m.label: m.leak for m in leaks.modalities if any(m.rows.values())},
        enough={m.label: m.enough for m in leaks.modalities},
        dataset_digest=graph.digest,
        feature_digests={name: table.digest for name, table in tables.items()},
    )


def write_audit(dataset: Path, features: str, audit: LeakAudit) -> Path:
    """Write the audit of a feature set into a dataset's folder, and return the file.

    Raises:
        OSError: the folder cannot be written.
    """
    path = _path(dataset, features)
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(audit.model_dump(mode="json"), indent=1, ensure_ascii=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())
    return path


def leak_audit(dataset: str, features: str) -> LeakAudit | None:
    """Return the audit of a feature set; None without one, or where its file cannot be read.

    The audit of a cleaned variant is that of the official splits.

    Raises:
        ConfigError: there is no such dataset.
    """
    base, at, _ = dataset.partition("@")
    entry = source(base)
    pinned = entry.card.feature_leaks.get(features)
    if pinned is not None:
        return LeakAudit(leaks=pinned)
    folder = folder_of(entry)
    if folder is None:
        return None
    try:
        audit = LeakAudit.model_validate_json(_path(folder, features).read_bytes())
    except (OSError, ValidationError):
        return None
    return audit.model_copy(update={"dataset_digest": ""}) if at else audit


def _path(dataset: Path, features: str) -> Path:
    return dataset / FOLDER / f"{quote(features, safe='')}.json"
