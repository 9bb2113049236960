"""Readers of feature files: one modality, one file, one row per entity.

Formats: ``.safetensors``, ``.npy``, ``.h5`` and ``.pth``/``.pt``. No reader runs code from a file:
``.npy`` is read without pickle and ``.pth`` only through ``torch.load(weights_only=True)``.

Who has the modality is taken, in this order, from

1. a boolean tensor ``present`` [N] inside the file (``.safetensors``, ``.h5``),
2. a file ``<stem>.present.npy`` beside it,
3. the keys, when an ``.h5`` file holds one dataset per entity,
4. the matrix itself: published files fill the rows of entities without the modality. A row counts
   as filler when it is exactly zero, equals the mean of the non-zero rows within 1e-6, or occurs
   more than 10 times. The rule and its counts are kept in the provenance.

A tensor [N, k, d] (k images or sentences per entity, zero rows where there are fewer) is reduced
to the mean over an entity's non-zero rows: how the published vectors were reduced from such files
is not known, so the choice is ours and is recorded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.features import FeatureTable
from harness.data.parsing import check_regular, read_lines
from harness.errors import DataError, MissingDataError

__all__ = [
    "SUFFIXES",
    "file_sha256",
    "filler_rows",
    "only_file",
    "read_feature_file",
    "read_tensor",
]

DUPLICATE_LIMIT = 10
"""A row that occurs more often than this is a filler, not a coincidence."""

MEAN_TOLERANCE = 1e-6
"""Largest difference, per component, between a row and the mean that still counts as equal."""

Raw = tuple[Tensor, Tensor | None, dict[str, Any]]
"""Features [N, d] or [N, k, d], the mask [N] if the file has one, extra provenance."""


def read_feature_file(
    path: Path, modality: str, n_entities: int, entities: Sequence[str] = ()
) -> FeatureTable:
    """Read one modality of a dataset.

    Args:
        path: the file; its ending chooses the reader.
        modality: "text", "image", "numeric", "audio", "video" or a user's own.
        n_entities: N, the number of rows the file must have.
        entities: identifier of each entity, for an ``.h5`` file with one dataset per entity.

    Returns:
        A table whose provenance holds the file's name and sha256, the reader, the pooling and how
        the mask was found.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is truncated, holds code, has the wrong number of rows or no columns,
            NaN, infinity or what float32 cannot hold, is not floating point, or nobody has the
            modality; the message names the file.
    """
    features, mask, extra = _read(path, n_entities, entities)
    _check(path, features, n_entities)
    matrix, pooling = _pool(features)
    present, rule = _presence(path, matrix, mask)
    if not bool(present.any()):
        raise DataError(
            f"{path}: no entity has the modality '{modality}' (mask: "
            f"{rule.get('file', rule['rule'])}); correct the mask, or take the file away"
        )
    provenance = {
        "file": path.name,
        "sha256": file_sha256(path),
        "reader": path.suffix[1:],
        "dtype": str(features.dtype).removeprefix("torch."),
        "pooling": pooling,
        "mask": rule,
        **extra,
    }
    matrix = matrix.masked_fill(~present[:, None], 0.0).contiguous()
    if matrix.dtype == torch.float64:
        matrix = matrix.float()
    _check_range(path, matrix)
    return FeatureTable(modality, matrix, present, provenance)


def read_tensor(path: Path) -> Tensor:
    """Return the one tensor of a file, whatever it holds.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is truncated, holds code or several tensors.
    """
    return _read(path, 0, ())[0]


def _read(path: Path, n_entities: int, entities: Sequence[str]) -> Raw:
    if not path.exists():
        raise MissingDataError(f"{path}: no such feature file")
    check_regular(path)
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise DataError(f"{path}: cannot read '{path.suffix}'; use one of {', '.join(SUFFIXES)}")
    return reader(path, n_entities, entities)


def only_file(modality: str, paths: Iterable[Path]) -> Path | None:
    """Return the one file of a modality that is there, None when there is none.

    Raises:
        DataError: there are several.
    """
    found = [path for path in paths if path.exists()]
    if len(found) > 1:
        raise DataError(
            f"modality '{modality}' has several files, keep one: {', '.join(map(str, found))}"
        )
    return found[0] if found else None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def _check(path: Path, features: Tensor, n_entities: int) -> None:
    if features.ndim not in (2, 3):
        raise DataError(f"{path}: shape {list(features.shape)}; need [N, d] or [N, k, d]")
    if 0 in features.shape[1:]:
        raise DataError(f"{path}: shape {list(features.shape)} holds no feature; need a column")
    if not features.is_floating_point():
        kind = str(features.dtype).removeprefix("torch.")
        raise DataError(f"{path}: holds {kind}; features must be floating point")
    if len(features) != n_entities:
        raise DataError(
            f"{path}: {len(features)} rows found, {n_entities} expected (one per entity, in the "
            f"order of the dataset's entity ids)"
        )
    finite = torch.isfinite(features).flatten(1).all(1)
    if not bool(finite.all()):
        bad = int((~finite).sum())
        row = int((~finite).nonzero()[0])
        raise DataError(f"{path}: row {row} holds NaN or infinity ({bad} such rows)")


def _check_range(path: Path, matrix: Tensor) -> None:
    """Refuse what became infinite on its way to float32; the file itself holds finite values."""
    fits = torch.isfinite(matrix).all(1)
    if not bool(fits.all()):
        raise DataError(
            f"{path}: row {int((~fits).nonzero()[0])} holds what float32 cannot (its largest is "
            f"{torch.finfo(torch.float32).max:.3g}); scale the features"
        )


def _pool(features: Tensor) -> tuple[Tensor, str]:
    if features.ndim == 2:
        return features, "none"
    available = features.bool().any(2, keepdim=True)
    total = features.float().sum(1)
    pooled = total / available.sum(1).clamp(min=1)
    return pooled.to(features.dtype), f"mean over an entity's non-zero rows (k={features.shape[1]})"


def _presence(path: Path, matrix: Tensor, mask: Tensor | None) -> tuple[Tensor, dict[str, Any]]:
    beside = path.with_name(f"{path.stem}.present.npy")
    found = {"rule": "tensor 'present' in the file"}
    if mask is None and beside.exists():
        check_regular(beside)
        mask = _load_npy(beside)
        found = {"rule": "file", "file": beside.name, "sha256": file_sha256(beside)}
    if mask is None:
        filler, counts = filler_rows(matrix)
        return ~filler, {
            "rule": "filler rows are absent: exact zeros, equal to the mean within "
            f"{MEAN_TOLERANCE:g}, duplicates occurring more than {DUPLICATE_LIMIT} times",
            "filler": counts,
        }
    if mask.dtype != torch.bool or mask.shape != matrix.shape[:1]:
        raise DataError(
            f"{beside if 'file' in found else path}: the mask is "
            f"{str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}; "
            f"need bool [{len(matrix)}]"
        )
    return mask, found


def _pick(path: Path, names: Sequence[str]) -> str:
    """The one tensor of a file that holds the features."""
    others = [name for name in names if name != "present"]
    if len(others) == 1:
        return others[0]
    for name in ("features", "matrix"):
        if name in others:
            return name
    listed = ", ".join(sorted(others)[:8]) or "nothing"
    raise DataError(f"{path}: holds {listed}; need one tensor, or one called 'features'")


def _read_safetensors(path: Path, n_entities: int, entities: Sequence[str]) -> Raw:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            features = file.get_tensor(_pick(path, names))
            mask = file.get_tensor("present") if "present" in names else None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a complete safetensors file ({error})") from error
    return features, mask, {}


def _tensor(path: Path, array: np.ndarray[Any, Any]) -> Tensor:
    """The array as a tensor, in this machine's byte order."""
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except TypeError as error:
        raise DataError(
            f"{path}: holds {array.dtype}; features must be float16, 32 or 64"
        ) from error


def _load_npy(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        hint = "; object arrays are pickles and are not read" if "pickle" in str(error) else ""
        raise DataError(f"{path}: not a complete .npy file ({error}){hint}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: need one array in .npy format, not an archive")
    return _tensor(path, array)


def _read_npy(path: Path, n_entities: int, entities: Sequence[str]) -> Raw:
    return _load_npy(path), None, {}


def _read_h5(path: Path, n_entities: int, entities: Sequence[str]) -> Raw:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = {k: v for k, v in file.items() if isinstance(v, h5py.Dataset)}
            others = [name for name in arrays if name != "present"]
            if len(others) == 1 or "features" in arrays or "matrix" in arrays:
                features = _tensor(path, np.asarray(arrays[_pick(path, others)]))
                mask = arrays.get("present")
                return features, None if mask is None else _tensor(path, np.asarray(mask)), {}
            return _rows_by_key(path, arrays, n_entities, entities)
    except OSError as error:
        raise DataError(f"{path}: not a complete HDF5 file ({error})") from error


def _rows_by_key(
    path: Path, arrays: Mapping[str, Any], n_entities: int, entities: Sequence[str]
) -> Raw:
    """One dataset [d] or [k, d] per entity -> mean of its rows, [N, d] and the mask."""
    ids = _key_ids(path, entities)
    matrix: Tensor | None = None
    present = torch.zeros(n_entities, dtype=torch.bool)
    unknown = 0
    for key, array in arrays.items():
        entity = ids.get(key)
        if entity is None:
            unknown += 1
            continue
        rows = _tensor(path, np.asarray(array))
        if not rows.is_floating_point() or rows.ndim not in (1, 2) or not rows.numel():
            raise DataError(f"{path}: key '{key}': need floating point [d] or [k, d]")
        if not bool(torch.isfinite(rows).all()):
            raise DataError(f"{path}: key '{key}' (row {entity}) holds NaN or infinity")
        row = rows.float().reshape(-1, rows.shape[-1]).mean(0)
        if not bool(torch.isfinite(row).all()):
            raise DataError(f"{path}: key '{key}' holds what float32 cannot; scale the features")
        if matrix is None:
            matrix = torch.zeros(n_entities, len(row))
        if len(row) != matrix.shape[1]:
            raise DataError(f"{path}: key '{key}': width {len(row)}, others {matrix.shape[1]}")
        matrix[entity], present[entity] = row, True
    if matrix is None:
        example = next(iter(arrays), "none at all")
        raise DataError(
            f"{path}: none of its keys (such as '{example}') is an entity; "
            f"give the map in {path.stem}.ids.tsv, one 'key<TAB>entity identifier' per line"
        )
    used = {"keys": int(present.sum()), "unknown_keys": unknown, "key_rows": "mean"}
    return matrix, present, used


def _key_ids(path: Path, entities: Sequence[str]) -> dict[str, int]:
    """Key -> entity id: the identifiers themselves, or the map in ``<stem>.ids.tsv``."""
    ids = {name: i for i, name in enumerate(entities)}
    table = path.with_name(f"{path.stem}.ids.tsv")
    if not table.exists():
        return ids
    mapped: dict[str, int] = {}
    for number, line in enumerate(read_lines(table), 1):
        key, tab, entity = line.partition("\t")
        if not tab or entity not in ids:
            raise DataError(f"{table}:{number}: '{line}': need 'key<TAB>entity identifier'")
        mapped[key] = ids[entity]
    return mapped


def _read_pth(path: Path, n_entities: int, entities: Sequence[str]) -> Raw:
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():
            # of unusual pickle protocols: either it is read or the error below says why not
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: not a complete file of plain tensors, so it is not opened: other pickles "
            f"can run code. Where you trust it, convert it once with\n"
            f'  python -c "import torch; from safetensors.torch import save_file; '
            f"x = torch.load('{path.name}', weights_only=False); "
            f"save_file({{'features': torch.as_tensor(x)}}, '{path.stem}.safetensors')\"\n"
            f"and put the .safetensors file in its place"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a complete .pth file ({error})") from error
    if isinstance(content, Mapping):
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        content = tensors[_pick(path, list(tensors))]
    if not isinstance(content, Tensor):
        raise DataError(f"{path}: holds a {type(content).__name__}; need one tensor [N, d]")
    if content.layout != torch.strided or content.is_meta:
        kind = "without data" if content.is_meta else str(content.layout).removeprefix("torch.")
        raise DataError(f"{path}: holds a tensor that is {kind}; need a dense one [N, d]")
    return content.detach(), None, {}


_READERS: dict[str, Callable[[Path, int, Sequence[str]], Raw]] = {
    ".safetensors": _read_safetensors,
    ".npy": _read_npy,
    ".h5": _read_h5,
    ".pth": _read_pth,
    ".pt": _read_pth,
}

SUFFIXES = tuple(_READERS)
"""File endings that can be read."""
