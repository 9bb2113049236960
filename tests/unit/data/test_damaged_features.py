"""Feature files with any bytes changed: they are read, or refused by name."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.data.feature_files import read_feature_file
from harness.errors import DataError

ENTITIES = [f"e{i}" for i in range(8)]
ROWS = torch.arange(32.0).reshape(8, 4)


def read(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_feature_file(path, "text", len(ENTITIES), ENTITIES)


def h5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["features"] = ROWS.numpy()
        file["entities"] = np.array(ENTITIES, dtype=object)


def parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"entity": ENTITIES, "x": ROWS[:, 1].tolist()}), path)


WRITERS: dict[str, Callable[[Path], Any]] = {
    ".npy": lambda path: np.save(path, ROWS.numpy()),
    ".npz": lambda path: np.savez(path, features=ROWS.numpy(), ids=np.array(ENTITIES)),
    ".safetensors": lambda path: save_file({"features": ROWS}, path),
    ".pth": lambda path: torch.save({"features": ROWS, "ids": ENTITIES}, path),
    ".pt": lambda path: torch.save(ROWS, path, _use_new_zipfile_serialization=False),
    ".h5": h5,
    ".parquet": parquet,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_changed_bytes_are_read_or_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    WRITERS[suffix](path)
    read(path)
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(40):
        changed = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.choice([1, 2, 8])):
            place = chance.randrange(max(1, min(len(changed), chance.choice([256, len(whole)]))))
            changed[place : place + 1] = bytes([chance.choice([0, 255, chance.randrange(256)])])
        path.write_bytes(changed)
        with suppress(DataError):
            read(path)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".npy", b"\x93NUMPY\x01\x00\x14\x00{'descr': (((((((((\n"),
        (".npy", b"\x93NUMPY\x01\x00\x02\x00{\n"),
        (".npy", b"\x93NUMPY\x09\x00\x02\x00{}"),
        (".h5", b"\x89HDF\r\n\x1a\n" + bytes(64)),
        (".pth", b"\x80\x02]q\x00q\x01"),
        (".parquet", b"PAR1PAR1PAR1"),
    ],
)
def test_a_header_that_lies_is_refused_with_the_file(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"text\{suffix}: not a complete"):
        read(path)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (ROWS.to(torch.float8_e4m3fn), "holds float8_e4m3fn; features must be float16, 32 or 64"),
        (ROWS + 0j, "holds complex64"),
        (ROWS.to_sparse(), "holds a tensor that is sparse_coo"),
    ],
    ids=["fp8", "complex", "sparse"],
)
def test_tensors_of_other_kinds_are_refused(
    tmp_path: Path, tensor: torch.Tensor, said: str
) -> None:
    torch.save(tensor, tmp_path / "text.pth")
    with pytest.raises(DataError, match=said):
        read(tmp_path / "text.pth")


def test_nested_and_quantised_tensors_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([ROWS[:3], ROWS[3:]])
        quantised = torch.quantize_per_tensor(ROWS, 0.5, 0, torch.quint8)
    for tensor, said in ((nested, "nested"), (quantised, "quantised")):
        torch.save({"features": tensor}, tmp_path / "text.pth")
        with pytest.raises(DataError, match=rf"text\.pth: holds a tensor that is {said}"):
            read(tmp_path / "text.pth")
