"""Feature files: one modality, one file, read into one row per entity.

A file holds arrays (``.safetensors``, ``.npy``, ``.npz``, ``.h5``, ``.pth``, ``.pt``) or a table
with a column of keys (``.csv``, ``.tsv``, ``.parquet``). Its rows are in the order of the entity
ids, or the file names the entity of each (:mod:`harness.data.feature_rows`). The mask of entities
with the modality comes from :mod:`harness.data.feature_presence`.

A tensor [N, k, d] (k images or sentences per entity, zero rows where there are fewer) is reduced to
the mean over an entity's non-zero rows. How the published vectors were pooled is not known, so this
choice is recorded in the provenance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from harness.data.feature_keys import nearest_entity
from harness.data.feature_presence import presence
from harness.data.feature_readers import ARRAY_SUFFIXES, file_sha256
from harness.data.feature_rows import FeatureRows, read_only_array, read_rows
from harness.data.feature_tables import TABLE_SUFFIXES, Literal, read_literals
from harness.data.features import FeatureTable
from harness.data.parsing import check_regular
from harness.errors import DataError, MissingDataError

__all__ = [
    "ARRAY_SUFFIXES",
    "COMPANIONS",
    "SUFFIXES",
    "check_readable",
    "file_sha256",
    "holds_arrays",
    "only_file",
    "read_feature_file",
    "read_tensor",
]

SUFFIXES = (*ARRAY_SUFFIXES, *TABLE_SUFFIXES)
"""File endings that can be read."""

COMPANIONS = (".present.npy", ".ids.tsv")
"""Suffixes of files that belong to the feature file of the same stem."""

_PICKLES = frozenset({".pkl", ".pickle", ".p", ".joblib", ".dill"})

_OTHER_ARRAYS = frozenset(
    {".hdf5", ".hdf", ".he5", ".mat", ".fvecs", ".vec", ".arrow", ".feather", ".parq", ".pq"}
    | {".ckpt", ".zarr", ".lmdb", ".rds", ".bin", ".dat", ".onnx"}
)

_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip"})


def read_feature_file(
    path: Path, modality: str, n_entities: int, entities: Sequence[str] = ()
) -> FeatureTable:
    """Read one modality of a dataset.

    Args:
        path: the file; its ending chooses the reader. A table with the columns entity, attribute
            and value holds numeric literals, a row for each.
        modality: "text", "image", "numeric", "audio", "video" or any other name.
        n_entities: N, the required number of rows of a file without keys.
        entities: identifier of each entity, needed for a file with keys.

    Returns:
        table whose provenance holds the file's name and sha256, the reader, the pooling and the
        rule of the mask.

    Raises:
        MissingDataError: the file, or the package that reads it, is missing.
        DataError: the file is truncated, contains code or unknown arrays, masks or keys that
            contradict each other, unknown or repeated keys, the wrong number of rows, no columns,
            NaN, infinity or values outside float32, is not floating point, or no entity has the
            modality; the message names the file.
    """
    _require(path, SUFFIXES)
    if (literals := read_literals(path)) is not None:
        return _literal_table(path, modality, literals, entities)
    rows = read_rows(path, n_entities, entities)
    _check(path, rows, n_entities)
    matrix, pooling = _pool(rows.features)
    present, rule = presence(path, matrix, rows, n_entities)
    if not bool(present.any()):
        raise DataError(
            f"{path}: no entity has the modality '{modality}' (mask: "
            f"{rule.get('file', rule['rule'])}); correct the mask, or take the file away"
        )
    provenance = {
        "file": path.name,
        "sha256": file_sha256(path),
        "reader": path.suffix[1:],
        "dtype": str(rows.features.dtype).removeprefix("torch."),
        "pooling": pooling,
        "mask": rule,
        **rows.extra,
    }
    matrix = matrix.masked_fill(~present[:, None], 0.0).contiguous()
    if matrix.dtype == torch.float64:
        matrix = matrix.float()
    _check_range(rows, matrix)
    if rows.entity_ids is not None:
        provenance["rows"] = f"of the entities that the {rows.named_by.removeprefix('the ')} name"
        matrix, present = _in_order(matrix, present, rows.entity_ids, n_entities)
    return FeatureTable(modality, matrix, present, provenance)


def _literal_table(
    path: Path, modality: str, literals: Sequence[Literal], entities: Sequence[str]
) -> FeatureTable:
    """Return numeric literals as standardised columns (``harness.data.encoders.numeric``)."""
    from harness.data.encoders.numeric import NumericLiterals

    if modality != "numeric":
        raise DataError(
            f"{path}: holds entity, attribute, value; call the file numeric{path.suffix}"
        )
    ids = {entity: i for i, entity in enumerate(entities)}
    rows: list[dict[str, float]] = [{} for _ in entities]
    counts: list[Counter[str]] = [Counter() for _ in entities]
    for literal in literals:
        if literal.entity not in ids:
            raise DataError(
                f"{literal.location}: '{literal.entity}' is no entity of the dataset"
                f"{nearest_entity(literal.entity, entities)}"
            )
        row, seen = rows[ids[literal.entity]], counts[ids[literal.entity]]
        seen[literal.attribute] += 1  # several values of an attribute: their mean
        mean = row.get(literal.attribute, 0.0)
        row[literal.attribute] = mean + (literal.value - mean) / seen[literal.attribute]
    table = NumericLiterals().table(rows)
    origin = {"file": path.name, "sha256": file_sha256(path), "reader": "literals"}
    return replace(table, provenance={**table.provenance, **origin})


def read_tensor(path: Path) -> Tensor:
    """Return the only tensor of a file of arrays, of any shape and type.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is truncated, contains code or several tensors.
    """
    _require(path, ARRAY_SUFFIXES)
    return read_only_array(path)


def only_file(modality: str, paths: Iterable[Path]) -> Path | None:
    """Return the only existing file of a modality, None without one.

    Raises:
        DataError: several exist.
    """
    files = [path for path in paths if path.exists()]
    if len(files) > 1:
        raise DataError(
            f"modality '{modality}' has several files, keep one: {', '.join(map(str, files))}"
        )
    return files[0] if files else None


def check_readable(path: Path, stems: Collection[str]) -> None:
    """Refuse a file whose name looks like features but which cannot be read.

    Args:
        path: file or folder; only its name is checked.
        stems: names of modalities; a file of that name looks like features.

    Raises:
        DataError: its ending is an unsupported feature format, or its stem is a modality.
    """
    if path.suffix in SUFFIXES and not path.is_dir():
        return
    reason = _why_unreadable(path)
    if reason is None and path.name.partition(".")[0].lower() in stems:
        kind = "a folder" if path.is_dir() else f"'{path.suffix}'"
        reason = f"cannot read {kind}; use one of {', '.join(SUFFIXES)}"
    if reason is not None:
        raise DataError(f"{path}: {reason}")


def holds_arrays(path: Path) -> bool:
    """Tell by its name whether a file holds arrays, in a format that is read or not."""
    endings = {ending.lower() for ending in path.suffixes}
    return bool(endings & {*ARRAY_SUFFIXES, ".parquet", *_PICKLES, *_OTHER_ARRAYS})


def _why_unreadable(path: Path) -> str | None:
    """Return the reason and the remedy for a feature file of an unread format, else None."""
    ending = path.suffix.lower()
    if ending in _COMPRESSED and Path(path.stem).suffix.lower() in {*SUFFIXES, *_OTHER_ARRAYS}:
        return f"compressed files are not read; unpack it to {path.stem}"
    if ending in SUFFIXES:
        return f"the ending '{path.suffix}' is not read; rename it to {path.stem}{ending}"
    if ending in _PICKLES:
        return (
            f"cannot read '{path.suffix}': pickles can run code, so it is not opened. Where you "
            "trust it, convert it once with\n"
            '  python -c "import pickle, numpy as np; '
            f"x = pickle.load(open('{path.name}', 'rb')); np.savez('{path.stem}.npz', **("
            "{'ids': list(x), 'features': np.stack(list(x.values()))} "
            "if isinstance(x, dict) else {'features': x}))\"\n"
            f"and put {path.stem}.npz in its place"
        )
    if ending in _OTHER_ARRAYS:
        return f"cannot read '{path.suffix}'; use one of {', '.join(SUFFIXES)}"
    return None


def _require(path: Path, endings: Sequence[str]) -> None:
    if not path.exists():
        raise MissingDataError(f"{path}: no such feature file")
    check_regular(path)
    if path.suffix not in endings:
        reason = None if path.suffix in SUFFIXES else _why_unreadable(path)
        instead = f"cannot read '{path.suffix}'; use one of {', '.join(endings)}"
        raise DataError(f"{path}: {reason or instead}")


def _check(path: Path, rows: FeatureRows, n_entities: int) -> None:
    features = rows.features
    if features.ndim not in (2, 3):
        raise DataError(f"{path}: shape {list(features.shape)}; need [N, d] or [N, k, d]")
    if 0 in features.shape[1:]:
        raise DataError(f"{path}: shape {list(features.shape)} holds no feature; need a column")
    if not features.is_floating_point():
        kind = str(features.dtype).removeprefix("torch.")
        raise DataError(f"{path}: holds {kind}; features must be floating point")
    if rows.entity_ids is None and len(features) != n_entities:
        raise DataError(
            f"{path}: {len(features)} rows found, {n_entities} expected (one per entity, in the "
            "order of the dataset's entity ids; or name the entity of each row in an array 'ids')"
        )
    finite = torch.isfinite(features).flatten(1).all(1)
    if not bool(finite.all()):
        bad = int((~finite).sum())
        row = int((~finite).nonzero()[0])
        location = rows.location(row)
        if rows.columns:
            column = int((~torch.isfinite(features[row])).nonzero()[0])
            location += f": column '{rows.columns[column]}'"
        others = f" ({bad} such rows)" if bad > 1 else ""
        raise DataError(f"{location} holds NaN or infinity{others}")


def _check_range(rows: FeatureRows, matrix: Tensor) -> None:
    """Refuse values that became infinite in float32; the file's own values are finite."""
    fits = torch.isfinite(matrix).all(1)
    if not bool(fits.all()):
        raise DataError(
            f"{rows.location(int((~fits).nonzero()[0]))} holds what float32 cannot (its largest is "
            f"{torch.finfo(torch.float32).max:.3g}); scale the features"
        )


def _pool(features: Tensor) -> tuple[Tensor, str]:
    if features.ndim == 2:
        return features, "none"
    available = features.bool().any(2, keepdim=True)
    total = features.float().sum(1)
    pooled = total / available.sum(1).clamp(min=1)
    return pooled.to(features.dtype), f"mean over an entity's non-zero rows (k={features.shape[1]})"


def _in_order(
    matrix: Tensor, present: Tensor, entity_ids: Sequence[int], n_entities: int
) -> tuple[Tensor, Tensor]:
    """Put rows in the order of the entities; entities without a row are absent."""
    positions = torch.tensor(entity_ids)
    ordered = matrix.new_zeros(n_entities, matrix.shape[1])
    mask = torch.zeros(n_entities, dtype=torch.bool)
    ordered[positions], mask[positions] = matrix, present
    return ordered, mask
