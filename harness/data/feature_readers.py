"""Readers of feature files with named arrays, one per format.

A reader lists the arrays of a file and loads them one by one; :mod:`harness.data.feature_rows`
interprets their names. No reader runs code from a file: ``.npy`` and ``.npz`` are read without
pickle, ``.pth`` only with ``torch.load(weights_only=True)``. No reader follows references: HDF5
links to other files, external storage and virtual datasets are refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import DataError, HarnessError

__all__ = [
    "ARRAY_SUFFIXES",
    "BARE",
    "KEYS",
    "MASKS",
    "Loader",
    "RawArray",
    "as_tensor",
    "complete",
    "file_sha256",
    "load_npy",
    "not_dense",
    "open_arrays",
]

BARE = "features"
"""Name given to the only, unnamed array of a file."""

MASKS = ("present", "mask")
"""Names of masks of the rows with the modality."""

KEYS = ("ids", "entities", "keys")
"""Names of arrays with the entity of each row."""

RawArray = Tensor | np.ndarray[Any, Any] | Sequence[str]
"""An array as its format stores it; strings as a numpy array or a list."""

Loader = Callable[[], RawArray]
"""Function that reads one array of an open file."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_arrays(path: Path) -> AbstractContextManager[Mapping[str, Loader]]:
    """Open a file whose ending is one of ``ARRAY_SUFFIXES``.

    Returns:
        context manager of a mapping name -> loader. Loaders work only inside it. In ``.h5`` files
        the name of an array in a group is its path without the first slash.

    Raises:
        DataError: on entry or in a loader: the file is truncated, contains code, refers to another
            file or has an entry that is not an array; the message names the file.
    """
    return _READERS[path.suffix](path)


def as_tensor(path: Path, array: RawArray) -> Tensor:
    """Convert an array of numbers to a dense tensor in this machine's byte order.

    Raises:
        DataError: the array is not numeric, sparse or without data.
    """
    if isinstance(array, Tensor):
        if kind := not_dense(array):
            raise DataError(f"{path}: holds a tensor that is {kind}; need a dense one [N, d]")
        if array.is_floating_point() and array.dtype not in _FLOATS:
            kind = str(array.dtype).removeprefix("torch.")
            raise DataError(f"{path}: holds {kind}; features must be float16, 32 or 64")
        return array.detach()
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds a list of strings; features must be float16, 32 or 64")
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except TypeError as error:
        raise DataError(
            f"{path}: holds {array.dtype}; features must be float16, 32 or 64"
        ) from error


def not_dense(tensor: Tensor) -> str:
    """Return the kind of a tensor that is not dense ("sparse_coo"), "" for a dense one."""
    kinds = {"without data": tensor.is_meta, "nested": tensor.is_nested}
    kinds |= {"quantised": tensor.is_quantized}
    kinds |= {str(tensor.layout).removeprefix("torch."): tensor.layout != torch.strided}
    return next((kind for kind, applies in kinds.items() if applies), "")


def load_npy(path: Path) -> np.ndarray[Any, Any]:
    """Read the array of a ``.npy`` file, without pickle.

    Raises:
        DataError: the file is truncated, an archive, or contains Python objects.
    """
    with complete(path, ".npy"):
        array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: need one array in .npy format, not an archive; call it .npz")
    return array


def _pickle_hint(error: Exception) -> str:
    return "; object arrays are pickles and are not read" if "pickle" in str(error) else ""


@contextmanager
def complete(path: Path, kind: str) -> Iterator[None]:
    """Raise a DataError for a damaged file; libraries raise errors of any type."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        message = str(error).strip() or type(error).__name__
        raise DataError(
            f"{path}: not a complete {kind} file ({message}){_pickle_hint(error)}"
        ) from error


@contextmanager
def _open_npy(path: Path) -> Iterator[Mapping[str, Loader]]:
    yield {BARE: lambda: load_npy(path)}


@contextmanager
def _open_npz(path: Path) -> Iterator[Mapping[str, Loader]]:
    # Opened here, because numpy leaves a file open that is not an archive.
    with path.open("rb") as stream:
        with complete(path, ".npz"):
            archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: need an archive in .npz format, not an array; call it .npy")
        repeated = [name for name, n in Counter(archive.files).items() if n > 1]
        if repeated:
            raise DataError(f"{path}: holds '{repeated[0]}' twice; keep one")

        def load(name: str) -> RawArray:
            with complete(path, ".npz"):
                array = archive[name]
            if not isinstance(array, np.ndarray):
                raise DataError(f"{path}: '{name}' is no array in .npy format; take it out")
            return array

        with archive:
            yield {name: _bind(load, name) for name in archive.files}


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Mapping[str, Loader]]:
    from safetensors import safe_open

    with complete(path, "safetensors"):
        archive = safe_open(path, framework="pt")
    with archive as file:
        _check_notes(path, "its metadata", file.metadata() or {})

        def load(name: str) -> RawArray:
            with complete(path, "safetensors"):
                tensor: Tensor = file.get_tensor(name)
            return tensor

        yield {name: _bind(load, name) for name in list(file.keys())}


@contextmanager
def _open_h5(path: Path) -> Iterator[Mapping[str, Loader]]:
    import h5py

    with complete(path, "HDF5"):
        file = h5py.File(path, "r")
    with file:
        with complete(path, "HDF5"):
            _check_notes(path, "attributes of the file", file.attrs)
            datasets = dict(_h5_datasets(path, file))

        def load(name: str) -> RawArray:
            with complete(path, "HDF5"):
                dataset = datasets[name]
                text = h5py.check_string_dtype(dataset.dtype) is not None
                return np.asarray(dataset.asstr()[()] if text else dataset)

        yield {name: _bind(load, name) for name in datasets}


def _h5_datasets(
    path: Path, group: Any, prefix: str = "", parents: tuple[Any, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield the datasets of a group, recursively; refuse references to other files."""
    import h5py

    if group in parents:
        raise DataError(f"{path}: group '{prefix.rstrip('/')}' contains itself; need arrays")
    if prefix and not len(group):
        raise DataError(f"{path}: '{prefix.rstrip('/')}' is an empty group; need an array")
    for key in group:
        name = f"{prefix}{key}"
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(
                f"{path}: '{name}' is a link to another file ({link.filename}); copy the array "
                "into this one"
            )
        entry = group.get(key)
        if entry is None:
            raise DataError(f"{path}: '{name}' is a link that leads nowhere; need an array")
        if isinstance(entry, h5py.Group):
            yield from _h5_datasets(path, entry, f"{name}/", (*parents, group))
            continue
        if not isinstance(entry, h5py.Dataset):
            raise DataError(f"{path}: '{name}' is a {type(entry).__name__}; need an array")
        layout = entry.id.get_create_plist()
        if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
            raise DataError(
                f"{path}: the values of '{name}' are stored in another file; copy them into this "
                "one"
            )
        if entry.shape is None:
            raise DataError(f"{path}: '{name}' is empty; need an array")
        _check_notes(path, f"attributes of '{name}'", entry.attrs)
        yield name, entry


def _check_notes(path: Path, label: str, notes: Mapping[str, Any]) -> None:
    """Refuse masks and keys in a file's metadata, where they would be ignored."""
    for name in notes:
        if name in (*MASKS, *KEYS):
            raise DataError(
                f"{path}: '{name}' is among {label} and is not read there; store it as an array "
                "beside 'features'"
            )


@contextmanager
def _open_pth(path: Path) -> Iterator[Mapping[str, Loader]]:
    content = _load_pth(path)
    if isinstance(content, Tensor):
        content = {BARE: content}
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}; need one tensor [N, d]")
    arrays: dict[str, Loader] = {}
    for key, value in content.items():
        name = str(key)
        if not isinstance(key, str | int) or name in arrays:
            raise DataError(f"{path}: key {key!r} is no string or is there twice")
        array = _pth_array(path, name, value)
        if array is not None:
            arrays[name] = _bind(lambda value: value, array)
    yield arrays


def _pth_array(path: Path, name: str, value: Any) -> RawArray | None:
    """Return an entry of a dictionary as an array, None for a single number or text."""
    if isinstance(value, Tensor):
        return value
    if value is None or isinstance(value, str | int | float):
        _check_notes(path, "single values", {name: value})
        return None
    if isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            return list(value)
        # bool is a subclass of int: a list of both is neither ids nor a mask
        if {type(item) for item in value} in ({int}, {bool}):
            try:
                return torch.tensor(value)
            except (OverflowError, RuntimeError):
                pass
    kind = "group (a dictionary)" if isinstance(value, Mapping) else type(value).__name__
    raise DataError(
        f"{path}: '{name}' is a {kind} where an array is expected; take it out, or save the "
        "features alone"
    )


def _load_pth(path: Path) -> Any:
    import pickle
    import warnings

    with warnings.catch_warnings(), complete(path, ".pth"):
        # Unusual pickle protocols warn; they are read, or the error below says why not.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise DataError(
                f"{path}: not a complete file of plain tensors, so it is not opened: other pickles "
                f"can run code. Where you trust it, convert it once with\n"
                f'  python -c "import torch; from safetensors.torch import save_file; '
                f"x = torch.load('{path.name}', weights_only=False); "
                f"save_file({{'features': torch.as_tensor(x)}}, '{path.stem}.safetensors')\"\n"
                f"and put the .safetensors file in its place"
            ) from error


def _bind(load: Callable[[Any], RawArray], argument: object) -> Loader:
    return lambda: load(argument)


_READERS: dict[str, Callable[[Path], AbstractContextManager[Mapping[str, Loader]]]] = {
    ".safetensors": _open_safetensors,
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".h5": _open_h5,
    ".pth": _open_pth,
    ".pt": _open_pth,
}

ARRAY_SUFFIXES = tuple(_READERS)
"""Endings of files of arrays."""
