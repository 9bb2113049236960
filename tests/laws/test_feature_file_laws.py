"""Laws of feature files: the format and the order of rows do not matter, damage never passes.

The same vectors, written in any format and order with the entity of each row, are the same table;
a changed key, mask or array is an error or a table that says what the file says.
"""

from __future__ import annotations

import csv
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import save_file

from harness.data.feature_files import read_feature_file
from harness.data.features import FeatureTable
from harness.errors import DataError

Vectors = np.ndarray
Names = Sequence[str]

RESERVED = {"present", "mask", "ids", "entities", "keys", "features", "matrix",
            "id", "entity", "name"}  # fmt: skip

names: st.SearchStrategy[str] = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8
).filter(lambda name: name.lower() not in RESERVED and "/" not in name and name != ".")
"""Identifiers that every format can hold as they are."""


def _write_csv(path: Path, keys: Names, vectors: Vectors) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        _rows(csv.writer(stream), keys, vectors)


def _write_tsv(path: Path, keys: Names, vectors: Vectors) -> None:
    lines = [["entity", *(f"x{i}" for i in range(vectors.shape[1]))]]
    lines += [[key, *map(repr, map(float, row))] for key, row in zip(keys, vectors, strict=True)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def _rows(writer, keys: Names, vectors: Vectors) -> None:
    writer.writerow(["entity", *(f"x{i}" for i in range(vectors.shape[1]))])
    for key, row in zip(keys, vectors, strict=True):
        writer.writerow([key, *(repr(float(value)) for value in row)])


def _write_parquet(path: Path, keys: Names, vectors: Vectors) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {f"x{i}": pa.array(vectors[:, i]) for i in range(vectors.shape[1])}
    pq.write_table(pa.table({**columns, "entity": pa.array(list(keys))}), path)


def _write_parquet_lists(path: Path, keys: Names, vectors: Vectors) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"name": pa.array(list(keys)), "vector": lists}), path)


def _write_npz(path: Path, keys: Names, vectors: Vectors) -> None:
    np.savez(path, features=vectors, entities=np.array(keys))


def _write_pt(path: Path, keys: Names, vectors: Vectors) -> None:
    torch.save({"features": torch.tensor(vectors), "keys": list(keys)}, path)


def _write_h5(path: Path, keys: Names, vectors: Vectors) -> None:
    with h5py.File(path, "w") as file:
        file["features"], file["ids"] = vectors, list(keys)


def _write_pt_dictionary(path: Path, keys: Names, vectors: Vectors) -> None:
    torch.save({k: torch.tensor(v) for k, v in zip(keys, vectors, strict=True)}, path)


def _write_safetensors_dictionary(path: Path, keys: Names, vectors: Vectors) -> None:
    save_file({k: torch.tensor(v) for k, v in zip(keys, vectors, strict=True)}, path)


def _write_npz_dictionary(path: Path, keys: Names, vectors: Vectors) -> None:
    np.savez(path, **dict(zip(keys, vectors, strict=True)))


def _write_h5_dictionary(path: Path, keys: Names, vectors: Vectors) -> None:
    with h5py.File(path, "w") as file:
        for key, vector in zip(keys, vectors, strict=True):
            file[key] = vector


def _write_npy_and_list(path: Path, keys: Names, vectors: Vectors) -> None:
    np.save(path, vectors)
    path.with_name(f"{path.stem}.ids.tsv").write_text("".join(f"{k}\n" for k in keys), "utf-8")


WRITERS: dict[str, tuple[str, Callable[[Path, Names, Vectors], None]]] = {
    "csv": (".csv", _write_csv),
    "tsv": (".tsv", _write_tsv),
    "parquet": (".parquet", _write_parquet),
    "parquet-lists": (".parquet", _write_parquet_lists),
    "npz": (".npz", _write_npz),
    "pt": (".pt", _write_pt),
    "h5": (".h5", _write_h5),
    "pt-dictionary": (".pt", _write_pt_dictionary),
    "safetensors-dictionary": (".safetensors", _write_safetensors_dictionary),
    "npz-dictionary": (".npz", _write_npz_dictionary),
    "h5-dictionary": (".h5", _write_h5_dictionary),
    "npy-and-list": (".npy", _write_npy_and_list),
}
formats = pytest.mark.parametrize("kind", WRITERS)


@pytest.fixture(autouse=True)
def _parquet_is_optional(request: pytest.FixtureRequest) -> None:
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    needed = str(parameters.get("kind", "")).startswith("parquet")
    if needed and importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed (extra [parquet])")


@contextmanager
def _written(kind: str, keys: Names, vectors: Vectors) -> Iterator[Path]:
    suffix, write = WRITERS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        write(path, keys, vectors)
        yield path


def _read(path: Path, entities: Names) -> tuple[FeatureTable | None, str]:
    """Return the table, or None and the message of the error."""
    try:
        return read_feature_file(path, "image", len(entities), entities), ""
    except DataError as error:
        return None, str(error)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], Vectors, list[int]]:
    """Entities, vectors without a zero row, and the entities that have one, in any order."""
    entities = draw(st.lists(names, min_size=2, max_size=8, unique=True))
    shape = len(entities), draw(st.integers(1, 4))
    values = st.floats(width=32, allow_nan=False, allow_infinity=False)
    vectors = draw(arrays.arrays(np.float32, shape, elements=values))
    vectors += 0.0  # no -0.0: a mean of one row is 0.0
    vectors[:, 0] = np.arange(1, len(entities) + 1)
    order = draw(st.permutations(range(len(entities))))
    return entities, vectors, order[: draw(st.integers(2, len(order)))]


@formats
@given(table=tables())
@settings(deadline=None, max_examples=12)
def test_every_format_in_any_order_is_the_same_table(
    kind: str, table: tuple[list[str], Vectors, list[int]]
) -> None:
    entities, vectors, order = table
    keys = [entities[i] for i in order]
    with _written(kind, keys, vectors[order]) as path:
        read = read_feature_file(path, "image", len(entities), entities)
    expected = np.zeros_like(vectors)
    expected[order] = vectors[order]
    assert np.array_equal(read.matrix.numpy(), expected)
    assert read.present.nonzero().flatten().tolist() == sorted(order)


@formats
@given(table=tables())
@settings(deadline=None, max_examples=8)
def test_a_file_of_all_entities_has_the_digest_of_the_plain_array(
    kind: str, table: tuple[list[str], Vectors, list[int]]
) -> None:
    entities, vectors, _ = table
    with _written(kind, entities, vectors) as path:
        np.save(path.with_name("plain.npy"), vectors)
        plain = read_feature_file(path.with_name("plain.npy"), "image", len(entities))
        keyed = read_feature_file(path, "image", len(entities), entities)
    assert keyed.digest == plain.digest


@formats
@given(table=tables(), data=st.data())
@settings(deadline=None, max_examples=8)
def test_an_unknown_entity_is_refused_by_name(
    kind: str, table: tuple[list[str], Vectors, list[int]], data: st.DataObject
) -> None:
    entities, vectors, order = table
    keys = [entities[i] for i in order]
    stranger = data.draw(names.filter(lambda name: name not in entities))
    keys[data.draw(st.integers(0, len(keys) - 1))] = stranger
    with _written(kind, keys, vectors[order]) as path, pytest.raises(DataError) as caught:
        read_feature_file(path, "image", len(entities), entities)
    assert f"'{stranger}' is no entity of the dataset" in str(caught.value)


@formats
@given(table=tables(), data=st.data())
@settings(deadline=None, max_examples=8)
def test_an_entity_that_is_there_twice_is_refused_with_both_places(
    kind: str, table: tuple[list[str], Vectors, list[int]], data: st.DataObject
) -> None:
    if kind.endswith("dictionary"):
        return  # a dictionary cannot hold a key twice
    entities, vectors, order = table
    keys = [entities[i] for i in order]
    first, second = sorted(data.draw(st.permutations(range(len(keys))))[:2])
    keys[second] = keys[first]
    with _written(kind, keys, vectors[order]) as path, pytest.raises(DataError) as caught:
        read_feature_file(path, "image", len(entities), entities)
    lines = 2 if kind in ("csv", "tsv") else 1 if kind == "npy-and-list" else 0
    mark = ":" if lines else "row "
    assert f"{mark}{second + lines}" in str(caught.value)
    assert "is there twice, first in" in str(caught.value)
    assert f"{mark}{first + lines}" in str(caught.value).partition("first in")[2]


@formats
@given(table=tables(), data=st.data())
@settings(deadline=None, max_examples=8)
def test_a_damaged_file_is_an_error_or_the_same_table(
    kind: str, table: tuple[list[str], Vectors, list[int]], data: st.DataObject
) -> None:
    entities, vectors, order = table
    keys = [entities[i] for i in order]
    with _written(kind, keys, vectors[order]) as path:
        right = read_feature_file(path, "image", len(entities), entities)
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        read, message = _read(path, entities)
    if read is None:
        assert path.name in message
        return
    assert kind in ("csv", "tsv")  # of a text the end of a line, a digit or a line may be gone
    lost = right.present & ~read.present
    assert not bool((read.present & ~right.present).any())
    same = (read.matrix == right.matrix).all(1) | lost
    assert int((~same).sum()) <= 1


@given(
    table=tables(),
    masks=st.lists(st.sampled_from(["present", "mask", "beside"]), min_size=1, unique=True),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_masks_are_used_and_must_not_contradict_each_other(
    table: tuple[list[str], Vectors, list[int]], masks: list[str], data: st.DataObject
) -> None:
    entities, vectors, order = table
    flags = st.lists(st.booleans(), min_size=len(order), max_size=len(order)).filter(any)
    values = {name: np.array(data.draw(flags)) for name in masks}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.npz"
        inside: dict[str, Any] = {name: mask for name, mask in values.items() if name != "beside"}
        np.savez(path, features=vectors[order], ids=np.array(order), **inside)
        if "beside" in values:
            np.save(Path(folder) / "image.present.npy", values["beside"])
        read, message = _read(path, [f"entity {i}" for i in range(len(entities))])
    equal = all(np.array_equal(mask, values[masks[0]]) for mask in values.values())
    beside = values.get("beside")
    every = beside is not None and len(order) == len(entities)
    ambiguous = every and not np.array_equal(beside, beside[order])
    if ambiguous or not equal:
        assert read is None
        assert "contradict" in message or "order of the entities" in message
        return
    having = sorted(i for i, flag in zip(order, values[masks[0]], strict=True) if flag)
    assert read.present.nonzero().flatten().tolist() == having
    assert np.array_equal(read.matrix.numpy()[having], vectors[having])
