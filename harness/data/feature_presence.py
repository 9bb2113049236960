"""Who has a modality: masks, keys and rows that stand for nothing.

Taken, in this order, from

1. a mask in the file (``present`` or ``mask``),
2. ``<stem>.present.npy`` beside it,
3. the keys, when the file names the entity of each row or array,
4. the matrix itself: published files fill the rows of entities without the modality. A row counts
   as filler when it is exactly zero, equals the mean of the non-zero rows within 1e-6, or occurs
   more than 10 times. The rule and its counts are kept in the provenance.

Sources 1 to 3 must not contradict each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.data.feature_readers import as_tensor, file_sha256, load_npy
from harness.data.feature_rows import FeatureRows
from harness.data.parsing import check_regular
from harness.errors import DataError

__all__ = ["DUPLICATE_LIMIT", "MEAN_TOLERANCE", "filler_rows", "presence"]

DUPLICATE_LIMIT = 10
"""A row that occurs more often than this is a filler, not a coincidence."""

MEAN_TOLERANCE = 1e-6
"""Largest difference, per component, between a row and the mean that still counts as equal."""


def presence(
    path: Path, matrix: Tensor, rows: FeatureRows, n_entities: int
) -> tuple[Tensor, dict[str, Any]]:
    """Tell which rows of a feature file hold the modality.

    Args:
        path: the file.
        matrix: [n, d], one vector per row.
        rows: content of the file.
        n_entities: N.

    Returns:
        bool [n] and the provenance of the mask.

    Raises:
        DataError: a mask has another type or shape, or two sources contradict each other.
    """
    mask, rule = _mask_in_file(path, rows)
    beside = path.with_name(f"{path.stem}.present.npy")
    if beside.exists():
        mask_beside = _mask_beside(beside, path, rows, n_entities)
        if mask is None:
            return mask_beside, {
                "rule": "file",
                "file": beside.name,
                "sha256": file_sha256(beside),
            }
        if not torch.equal(mask, mask_beside):
            raise DataError(
                f"{beside}: contradicts the {rule} {path.name} in "
                f"{rows.place(int((mask != mask_beside).nonzero()[0]))}; keep the right one"
            )
    if mask is not None:
        return mask, {"rule": rule}
    if rows.entity_ids is not None:
        return torch.ones(len(matrix), dtype=torch.bool), {
            "rule": f"entities named by the {rows.named_by.removeprefix('the ')}"
        }
    filler, counts = filler_rows(matrix)
    return ~filler, {
        "rule": "filler rows are absent: exact zeros, equal to the mean within "
        f"{MEAN_TOLERANCE:g}, duplicates occurring more than {DUPLICATE_LIMIT} times",
        "filler": counts,
    }


def _mask_in_file(path: Path, rows: FeatureRows) -> tuple[Tensor | None, str]:
    masks = list(rows.masks.items())
    for name, mask in masks[1:]:
        if not torch.equal(mask, masks[0][1]):
            raise DataError(
                f"{path}: {masks[0][0]} and {name} contradict each other in "
                f"{rows.place(int((mask != masks[0][1]).nonzero()[0]))}; keep the right one"
            )
    return (masks[0][1], masks[0][0]) if masks else (None, "")


def _mask_beside(beside: Path, path: Path, rows: FeatureRows, n_entities: int) -> Tensor:
    """Read ``<stem>.present.npy``: one value per row of the file it lies beside.

    The arrays of a dictionary have no order, so there it has one value per entity and must say what
    the keys say. Where a file holds a row for every entity in an order of its own, both readings
    must agree.
    """
    check_regular(beside)
    mask = as_tensor(beside, load_npy(beside))
    n = len(rows.features) if rows.ordered else n_entities
    if mask.dtype != torch.bool or mask.shape != (n,):
        raise DataError(
            f"{beside}: the mask is {str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}; "
            f"need bool [{n}]"
        )
    if rows.entity_ids is None:
        return mask
    entity_ids = torch.tensor(rows.entity_ids)
    if not rows.ordered:
        named = torch.zeros(n_entities, dtype=torch.bool)
        named[entity_ids] = True
        if not torch.equal(mask, named):
            raise DataError(
                f"{beside}: contradicts the keys of {path.name} at entity "
                f"{int((mask != named).nonzero()[0])}; correct it, or take it away"
            )
        return mask[entity_ids]
    if n == n_entities and rows.keys_in_file and not torch.equal(mask, mask[entity_ids]):
        raise DataError(
            f"{beside}: in the order of the entities or of the rows of {path.name}? They differ; "
            "store the mask in the file, as 'present'"
        )
    return mask


def filler_rows(matrix: Tensor) -> tuple[Tensor, dict[str, int]]:
    """Find the rows that stand for "no such modality".

    The mean and duplicate rules apply only to matrices with more than 10 non-zero rows: in a
    smaller one a real row can be the mean.

    Args:
        matrix: [N, d] finite.

    Returns:
        [N] boolean, True for a filler, and how many rows each rule found (a row counts for the
        first rule that holds, in the order zero, mean, duplicate).
    """
    zero = ~matrix.bool().any(1)
    filler = zero.clone()
    counts = {"zero": int(zero.sum()), "mean": 0, "duplicate": 0}
    if int((~zero).sum()) <= DUPLICATE_LIMIT:
        return filler, counts
    mean = matrix.sum(0, dtype=torch.float64) / (~zero).sum()
    close = torch.zeros_like(filler)
    for start in range(0, len(matrix), 4096):  # bounded memory: a float64 copy of a chunk
        chunk = matrix[start : start + 4096].double()
        tolerance = MEAN_TOLERANCE * (1 + mean.abs())
        close[start : start + 4096] = ((chunk - mean).abs() <= tolerance).all(1)
    counts["mean"] = int((close & ~filler).sum())
    filler |= close
    rows = matrix.contiguous().view(torch.uint8).numpy()
    keys = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
    often = {key for key, n in Counter(keys).items() if n > DUPLICATE_LIMIT}
    repeated = torch.tensor([key in often for key in keys])
    counts["duplicate"] = int((repeated & ~filler).sum())
    return filler | repeated, counts
