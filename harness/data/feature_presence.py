"""Masks of the entities with a modality, from a mask, keys or filler rows.

Sources, in this order:

1. a mask in the file (``present`` or ``mask``);
2. the file ``<stem>.present.npy`` in the same folder;
3. the keys, if the file names the entity of each row or array;
4. the matrix: published files fill the rows of entities without the modality. A row counts as
   filler if it is exactly zero, equals the mean of the non-zero rows within 1e-6, or occurs more
   than 10 times. The provenance records the rule and its counts.

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
"""Largest number of equal rows that is a coincidence; rows that occur more often are filler."""

MEAN_TOLERANCE = 1e-6
"""Largest difference per component at which a row equals the mean."""


def presence(
    path: Path, matrix: Tensor, rows: FeatureRows, n_entities: int
) -> tuple[Tensor, dict[str, Any]]:
    """Return the mask of the rows of a feature file that have the modality.

    Args:
        path: the file.
        matrix: [n, d], one vector per row.
        rows: content of the file.
        n_entities: N.

    Returns:
        mask bool [n], and its provenance.

    Raises:
        DataError: a mask has the wrong type or shape, or two sources contradict each other.
    """
    mask, rule = _mask_in_file(path, rows)
    mask_file = path.with_name(f"{path.stem}.present.npy")
    if mask_file.exists():
        file_mask = _read_mask_file(mask_file, path, rows, n_entities)
        if mask is None:
            return file_mask, {
                "rule": "file",
                "file": mask_file.name,
                "sha256": file_sha256(mask_file),
            }
        if not torch.equal(mask, file_mask):
            raise DataError(
                f"{mask_file}: contradicts the {rule} {path.name} in "
                f"{rows.location(int((mask != file_mask).nonzero()[0]))}; keep the right one"
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
                f"{rows.location(int((mask != masks[0][1]).nonzero()[0]))}; keep the right one"
            )
    return (masks[0][1], masks[0][0]) if masks else (None, "")


def _read_mask_file(mask_file: Path, path: Path, rows: FeatureRows, n_entities: int) -> Tensor:
    """Read ``<stem>.present.npy``, one value per row of the feature file.

    The arrays of a dictionary have no order, so its mask has one value per entity and must agree
    with the keys. If a file has a row for every entity in its own order, both readings must agree.
    """
    check_regular(mask_file)
    mask = as_tensor(mask_file, load_npy(mask_file))
    n = len(rows.features) if rows.ordered else n_entities
    if mask.dtype != torch.bool or mask.shape != (n,):
        raise DataError(
            f"{mask_file}: the mask is {str(mask.dtype).removeprefix('torch.')} "
            f"{list(mask.shape)}; need bool [{n}]"
        )
    if rows.entity_ids is None:
        return mask
    entity_ids = torch.tensor(rows.entity_ids)
    if not rows.ordered:
        has_key = torch.zeros(n_entities, dtype=torch.bool)
        has_key[entity_ids] = True
        if not torch.equal(mask, has_key):
            raise DataError(
                f"{mask_file}: contradicts the keys of {path.name} at entity "
                f"{int((mask != has_key).nonzero()[0])}; correct it, or take it away"
            )
        return mask[entity_ids]
    if n == n_entities and rows.keys_in_file and not torch.equal(mask, mask[entity_ids]):
        raise DataError(
            f"{mask_file}: in the order of the entities or of the rows of {path.name}? They "
            "differ; store the mask in the file, as 'present'"
        )
    return mask


def filler_rows(matrix: Tensor) -> tuple[Tensor, dict[str, int]]:
    """Find the rows that stand for a missing modality.

    The rules on mean and duplicates apply only to matrices with more than 10 non-zero rows: in a
    smaller matrix a real row can equal the mean.

    Args:
        matrix: features [N, d], finite.

    Returns:
        mask bool [N] of the filler rows, and the number of rows by rule (a row counts for the first
        rule that matches, in the order zero, mean, duplicate).
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
