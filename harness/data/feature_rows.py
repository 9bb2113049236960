"""Rows of a feature file: vectors, their entities, and masks.

Files of arrays have one of two layouts:

* a matrix: the only array, or the array called ``features`` or ``matrix``, optionally with masks
  (``present``, ``mask``: bool, one value per row) and keys (``ids``, ``entities``, ``keys``: the
  entity of each row); without keys it has a row per entity, in the order of the entity ids;
* a dictionary: one array [d] or [k, d] per entity, named by the entity's identifier or by a key
  that ``<stem>.ids.tsv`` maps to it.

Any other array is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.feature_keys import IdsFile, Keys, nearest_entity, read_ids_file, resolve
from harness.data.feature_readers import (
    ARRAY_SUFFIXES,
    KEYS,
    MASKS,
    Loader,
    RawArray,
    as_tensor,
    file_sha256,
    not_dense,
    open_arrays,
)
from harness.data.feature_tables import read_table
from harness.errors import DataError

__all__ = ["FeatureRows", "read_only_array", "read_rows"]

_MATRICES = ("features", "matrix")


@dataclass(frozen=True)
class FeatureRows:
    """Rows of a feature file, in its order.

    Attributes:
        features: vectors [n, d] or [n, k, d].
        entity_ids: entity of each row; None for one row per entity, in their order.
        masks: name -> mask bool [n] of the rows with the modality.
        named_by: origin of ``entity_ids`` for messages; "" without them.
        keys_in_file: True if the feature file itself has the keys.
        ordered: False for the arrays of a dictionary, which have no order.
        location: row -> location for messages.
        columns: name of each component; () where the file names none.
        extra: further provenance.
    """

    features: Tensor
    entity_ids: Sequence[int] | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    named_by: str = ""
    keys_in_file: bool = False
    ordered: bool = True
    location: Callable[[int], str] = str
    columns: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_rows(path: Path, n_entities: int, entities: Sequence[str]) -> FeatureRows:
    """Read the rows of a feature file.

    Args:
        path: file with one of the supported endings.
        n_entities: N.
        entities: identifier of each entity.

    Raises:
        DataError: the file or ``<stem>.ids.tsv`` is malformed, has an unknown array, or masks or
            keys that contradict each other; the message names file and row.
        MissingDataError: the package that reads the format is not installed.
    """
    ids_file = read_ids_file(path, entities)
    if path.suffix in ARRAY_SUFFIXES:
        rows = _read_arrays(path, n_entities, entities, ids_file)
    else:
        table = read_table(path, entities)
        rows = _keyed(
            path,
            FeatureRows(
                table.features,
                masks=table.masks,
                location=table.keys.location,
                columns=table.columns,
            ),
            [table.keys],
            ids_file,
            n_entities,
            entities,
        )
    if ids_file is not None:
        note = {"file": ids_file.path.name, "sha256": file_sha256(ids_file.path)}
        rows = replace(rows, extra={**rows.extra, "ids_file": note})
    return rows


def read_only_array(path: Path) -> Tensor:
    """Return the only array of a file of arrays.

    Raises:
        DataError: the file is truncated, contains code or several arrays.
    """
    with open_arrays(path) as arrays:
        name = _matrix_name(path, arrays)
        for extra in arrays:
            if extra != name:
                raise DataError(f"{path}: array '{extra}' beside '{name}' has no use; take it out")
        return as_tensor(path, arrays[name]())


def _read_arrays(
    path: Path, n_entities: int, entities: Sequence[str], ids_file: IdsFile | None
) -> FeatureRows:
    entity_of = _entity_of(path, entities, ids_file)
    with open_arrays(path) as arrays:
        if _is_dictionary(path, arrays, entity_of):
            return _read_dictionary(path, arrays, entity_of, entities, ids_file)
        name = _matrix_name(path, arrays)
        features = as_tensor(path, arrays[name]())
        for extra in arrays:
            if extra not in (name, *MASKS, *KEYS):
                kind = "group" if "/" in extra else "array"
                raise DataError(
                    f"{path}: {kind} '{extra.partition('/')[0]}' beside '{name}' is not known; "
                    f"take it out, or name it as a mask ({', '.join(MASKS)}: bool, one per row) or "
                    f"as keys ({', '.join(KEYS)}: the entity of each row)"
                )
        masks = {
            f"tensor '{m}' in the file": _mask(path, m, arrays[m](), features)
            for m in MASKS
            if m in arrays
        }
        keys = [_keys(path, k, arrays[k](), features) for k in KEYS if k in arrays]
    rows = FeatureRows(features, masks=masks, location=lambda row: f"{path}: row {row}")
    return _keyed(path, rows, keys, ids_file, n_entities, entities)


def _entity_of(path: Path, entities: Sequence[str], ids_file: IdsFile | None) -> Mapping[str, int]:
    """Return a dictionary's keys -> entity ids."""
    if ids_file is not None and ids_file.entity_of is not None:
        entity_of = ids_file.entity_of
    else:
        entity_of = {name: i for i, name in enumerate(entities)}
    if path.suffix != ".h5":
        return entity_of
    # A slash makes groups in HDF5 and repeated ones are lost: /m/02mjmr is stored as m/02mjmr.
    stored: dict[str, int] = {}
    repeated: set[str] = set()
    for key, entity in entity_of.items():
        name = "/".join(segment for segment in key.split("/") if segment not in ("", "."))
        if name in stored:
            repeated.add(name)
        stored[name] = entity
    return {name: entity for name, entity in stored.items() if name not in repeated}


def _is_dictionary(path: Path, arrays: Mapping[str, Loader], entity_of: Mapping[str, int]) -> bool:
    if any(name in arrays for name in _MATRICES):
        return False
    names = [name for name in arrays if name not in (*MASKS, *KEYS)]
    if len(names) == 1 and "/" not in names[0]:
        return names[0] in entity_of and as_tensor(path, arrays[names[0]]()).ndim == 1
    return any(name in entity_of for name in arrays)


def _matrix_name(path: Path, arrays: Mapping[str, Loader]) -> str:
    for name in _MATRICES:
        if name in arrays:
            return name
    names = [name for name in arrays if name not in (*MASKS, *KEYS)]
    if len(names) == 1 and "/" not in names[0]:
        return names[0]
    array_names = ", ".join(sorted(arrays)[:8]) or "nothing"
    example = f" (such as '{sorted(arrays)[0]}')" if arrays else ""
    raise DataError(
        f"{path}: holds {array_names}: neither one array alone, nor one called 'features', and "
        f"none of its keys{example} is an entity; for one array per entity under keys of its own "
        f"give the map in {path.stem}.ids.tsv, one 'key<TAB>entity identifier' per line"
    )


def _read_dictionary(
    path: Path,
    arrays: Mapping[str, Loader],
    entity_of: Mapping[str, int],
    entities: Sequence[str],
    ids_file: IdsFile | None,
) -> FeatureRows:
    """Read one array [d] or [k, d] per entity; k rows become their mean."""
    mapped = ids_file is not None and ids_file.entity_of is not None
    if ids_file is not None and not mapped:
        raise DataError(
            f"{ids_file.path}:1: {path.name} has one array per entity; need 'key<TAB>entity "
            "identifier', one per line"
        )
    unknown = [key for key in arrays if key not in entity_of]
    # Published .h5 files have more entities than a dataset; their map selects its entities.
    if unknown and not (mapped and path.suffix == ".h5"):
        _refuse_key(path, unknown, entities, ids_file)
    vectors: list[Tensor] = []
    keys = [key for key in arrays if key in entity_of]
    for key in keys:
        vectors.append(_entity_vector(path, key, entity_of[key], arrays[key]()))
        if len(vectors[-1]) != len(vectors[0]):
            raise DataError(
                f"{path}: key '{key}': width {len(vectors[-1])}, others {len(vectors[0])}"
            )
    return FeatureRows(
        torch.stack(vectors),
        entity_ids=[entity_of[key] for key in keys],
        named_by="keys of the file",
        keys_in_file=True,
        ordered=False,
        location=lambda row: f"{path}: key '{keys[row]}'",
        extra={"keys": len(keys), "unknown_keys": len(unknown), "key_rows": "mean"},
    )


def _refuse_key(
    path: Path, unknown: Sequence[str], entities: Sequence[str], ids_file: IdsFile | None
) -> None:
    key = unknown[0]
    if key in (*MASKS, *KEYS):
        raise DataError(
            f"{path}: '{key}' beside one array per entity is not used: the keys say who has the "
            "modality; take it out"
        )
    note = f" ({len(unknown)} such keys)" if len(unknown) > 1 else ""
    if ids_file is not None:
        raise DataError(f"{path}: key '{key}' is not in {ids_file.path.name}{note}; add it there")
    raise DataError(
        f"{path}: key '{key}' is no entity of the dataset{note}{nearest_entity(key, entities)}; "
        f"take it out, or map the keys in {path.stem}.ids.tsv ('key<TAB>entity identifier')"
    )


def _entity_vector(path: Path, key: str, entity: int, array: RawArray) -> Tensor:
    rows = as_tensor(path, array)
    if not rows.is_floating_point() or rows.ndim not in (1, 2) or not rows.numel():
        raise DataError(f"{path}: key '{key}': need floating point [d] or [k, d]")
    if not bool(torch.isfinite(rows).all()):
        raise DataError(f"{path}: key '{key}' (row {entity}) holds NaN or infinity")
    vector = rows.float().reshape(-1, rows.shape[-1]).mean(0)
    if not bool(torch.isfinite(vector).all()):
        raise DataError(f"{path}: key '{key}' holds what float32 cannot; scale the features")
    return vector


def _mask(path: Path, name: str, array: RawArray, features: Tensor) -> Tensor:
    mask = as_tensor(path, array)
    if mask.dtype != torch.bool or mask.shape != features.shape[:1]:
        raise DataError(
            f"{path}: the mask '{name}' is {str(mask.dtype).removeprefix('torch.')} "
            f"{list(mask.shape)}; need bool [{len(features) if features.ndim else 'N'}]"
        )
    return mask


def _keys(path: Path, name: str, array: RawArray, features: Tensor) -> Keys:
    values = _key_texts(array)
    if values is None:
        kind = str(getattr(array, "dtype", "a list")).removeprefix("torch.")
        raise DataError(
            f"{path}: '{name}' holds {kind} {list(getattr(array, 'shape', ()))}; need one integer "
            "or string (UTF-8) per row"
        )
    if features.ndim and len(values) != len(features):
        raise DataError(f"{path}: '{name}' has {len(values)} keys for {len(features)} rows")
    return Keys(
        values,
        f"array '{name}'",
        lambda row: f"{path}: row {row} of '{name}' (counted from 0)",
        numbers=name == "ids",
        map_file=f"{path.stem}.ids.tsv",
    )


def _key_texts(array: RawArray) -> list[str] | None:
    """Return keys as text, None unless they are integers or strings [n]."""
    if isinstance(array, Tensor):
        if not_dense(array):
            return None
        kind = "x" if array.is_floating_point() or array.dtype == torch.bool else "i"
        items: list[Any] = array.tolist() if array.ndim == 1 and kind == "i" else []
        return [str(item) for item in items] if array.ndim == 1 and kind == "i" else None
    if not isinstance(array, np.ndarray):
        return list(array)
    if array.ndim != 1 or array.dtype.kind not in "iuUSO":
        return None
    items = array.tolist()
    if array.dtype.kind in "iu":
        return [str(item) for item in items]
    try:
        texts = [item.decode() if isinstance(item, bytes) else item for item in items]
    except UnicodeDecodeError:
        return None
    return texts if all(isinstance(text, str) for text in texts) else None


def _keyed(
    path: Path,
    rows: FeatureRows,
    keys: Sequence[Keys],
    ids_file: IdsFile | None,
    n_entities: int,
    entities: Sequence[str],
) -> FeatureRows:
    """Add the entities of the rows; several sources of keys must agree."""
    sources = list(keys)
    if ids_file is not None and ids_file.rows is not None:
        lines = ids_file.rows.values
        if rows.features.ndim and len(lines) != len(rows.features):
            raise DataError(
                f"{ids_file.path}: {len(lines)} lines for {len(rows.features)} rows of {path.name};"
                " need an entity per line, in the order of the rows"
            )
        sources.append(ids_file.rows)
    elif ids_file is not None and not keys:
        raise DataError(
            f"{ids_file.path}:1: {path.name} has rows without keys; write an entity per line, in "
            "the order of the rows"
        )
    if not sources:
        return rows
    entity_ids: list[int] = []
    for source in sources:
        ids = _mapped(source, ids_file, n_entities, entities)
        if entity_ids and ids != entity_ids:
            row = next(i for i, (a, b) in enumerate(zip(entity_ids, ids, strict=True)) if a != b)
            raise DataError(
                f"{path}: {sources[0].label} and {source.label} contradict each other in row "
                f"{row} ('{sources[0].values[row]}', '{source.values[row]}'); keep the right one"
            )
        entity_ids = ids
    return replace(rows, entity_ids=entity_ids, named_by=sources[0].label, keys_in_file=bool(keys))


def _mapped(
    keys: Keys, ids_file: IdsFile | None, n_entities: int, entities: Sequence[str]
) -> list[int]:
    if ids_file is None or ids_file.entity_of is None:
        return resolve(keys, n_entities, entities)
    for position, key in enumerate(keys.values):
        if key not in ids_file.entity_of:
            raise DataError(
                f"{keys.location(position)}: '{key}' is not in {ids_file.path.name}; add it there"
            )
    names = [entities[ids_file.entity_of[key]] for key in keys.values]
    return resolve(replace(keys, values=names, numbers=False), n_entities, entities)
