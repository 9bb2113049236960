"""Counts of uninformative feature rows: filler, and vectors that several entities share.

Published feature files have a row for every entity and no mask: an entity without an image has a
row of zeros, of the mean, or of a vector that many entities share.
:func:`harness.data.feature_presence.filler_rows` finds them, and readers treat them as absent if
the file has no mask; with a mask, such rows stay and are counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.data.feature_presence import filler_rows
from harness.data.features import FeatureTable

__all__ = ["FeatureCount", "count_features"]


@dataclass(frozen=True)
class FeatureCount:
    """Counts for one modality of a feature set, in entities (except ``width``)."""

    modality: str
    width: int
    """Columns d."""
    present: int
    """Entities with the modality."""
    dropped: int
    """Rows treated as absent because they are filler."""
    zero: int
    """Present rows that are all zero."""
    mean: int
    """Present non-zero rows equal to the mean."""
    duplicate: int
    """Present rows with a vector of more than ten entities, neither zero nor the mean."""
    shared: int
    """Present rows equal to the row of another entity."""


def count_features(tables: Mapping[str, FeatureTable]) -> tuple[FeatureCount, ...]:
    """Count the rows of each modality."""
    return tuple(_count(table) for table in tables.values())


def _count(table: FeatureTable) -> FeatureCount:
    rows = table.matrix[table.present]
    mask = table.provenance.get("mask")
    dropped = mask.get("filler", {}) if isinstance(mask, Mapping) else {}
    return FeatureCount(
        modality=table.name,
        width=rows.shape[1],
        present=len(rows),
        dropped=sum(dropped.values()),
        shared=_shared(rows.float().numpy()),
        **filler_rows(rows)[1],
    )


def _shared(rows: np.ndarray) -> int:
    """Count the rows of a matrix [n, d] that equal another row."""
    if not rows.size:
        return 0
    # Adding zero makes -0.0 the same bytes as 0.0.
    vectors = np.ascontiguousarray(rows + np.float32(0))
    keys = vectors.view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()
    counts = np.unique(keys, return_counts=True)[1]
    return int(counts[counts > 1].sum())
