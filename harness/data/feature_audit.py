"""Feature rows that say nothing of their entity: filler, and vectors that entities share.

Published feature files have a row for every entity and no mask: who has no image still has a row of
zeros, of the mean, or of one vector that many share.
:func:`harness.data.feature_presence.filler_rows` tells them, and readers take them for absent where
a file says nothing else; where it has a mask, such rows stay and are counted here.
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
    """What one modality of a feature set holds; all numbers but the width count entities."""

    modality: str
    width: int
    """Columns d."""
    present: int
    """Entities that have it."""
    dropped: int
    """Rows that were taken for absent because they are filler."""
    zero: int
    """Present rows that are all zero."""
    mean: int
    """Present rows that equal the mean, not zero."""
    duplicate: int
    """Present rows whose vector more than ten entities have, neither zero nor the mean."""
    shared: int
    """Present rows with the very vector of another entity."""


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
    """Count the rows [n, d] that are equal to another one."""
    if not rows.size:
        return 0
    # Adding zero makes -0.0 the same bytes as 0.0.
    whole = np.ascontiguousarray(rows + np.float32(0))
    keys = whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1]))).ravel()
    counts = np.unique(keys, return_counts=True)[1]
    return int(counts[counts > 1].sum())
