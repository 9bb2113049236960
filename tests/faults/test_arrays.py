"""Feature files, scores and ranks that are odd or were changed at random: read, or refused."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.faults import films, mutate, outcomes
from tests.faults.commands import Commands, problems_of
from tests.faults.conftest import MakeCases
from tests.faults.families import seeds
from tests.faults.films import Place

Arrays = Mapping[str, Any]

NAMES = [f"film {i}" for i in range(films.ENTITIES)]
DTYPES = (
    "f4",
    "f4",
    "f8",
    "f2",
    "i4",
    "u1",
    "?",
    "c8",
    ">f4",
    ">i8",
    "M8[s]",
    "S3",
    "U3",
    "O",
    "g",
)
MASKS = ("present", "mask", "ids", "entities", "keys", "name", "weights", "scale", "extra")


def odd(array: np.ndarray, draw: random.Random) -> np.ndarray:
    """Return an array in another type or shape, or with odd values, of odd layout."""
    numbers = np.random.default_rng(draw.randrange(2**32))
    match draw.randrange(9):
        case 0 | 1:
            dtype = draw.choice(DTYPES)
            with np.errstate(all="ignore"):
                return array.astype("i8").astype(dtype) if dtype == "M8[s]" else array.astype(dtype)
        case 2:
            array = array.copy()
            array[draw.randrange(len(array))] = draw.choice((np.nan, np.inf, 0.0, 3e38))
            return array
        case 3:
            return array[: draw.randrange(len(array) + 1)]
        case 4:
            return draw.choice(
                (array[None], array[..., None], array.ravel(), array[:, :0], array.T)
            )
        case 5:
            return np.array(draw.choice((0.0, "x", [], [[]])))
        case 6:
            return np.concatenate([array, array[:1]])
        case 7:
            return array[numbers.permutation(len(array))]
        case _:
            return np.zeros(len(array), dtype=[("a", "f4"), ("b", "i4")])


def beside(draw: random.Random, rows: int) -> dict[str, np.ndarray]:
    """Return arrays that stand beside vectors in a file: masks, ids, or something else."""
    values = (
        np.arange(rows) % 2 == 0,
        np.arange(rows)[::-1].copy(),
        np.arange(rows) + draw.choice((0, 1, -5, 2**40)),
        np.array(NAMES[:rows]),
        np.array([NAMES[0]] * rows),
        np.zeros((rows, 2), np.float32),
        np.array(3.0),
    )
    return {draw.choice(MASKS): draw.choice(values) for _ in range(draw.choice((0, 1, 1, 2)))}


def _npy(path: Path, arrays: Arrays) -> None:
    np.save(path, next(iter(arrays.values())), allow_pickle=True)


def _npz(path: Path, arrays: Arrays) -> None:
    np.savez(path, allow_pickle=True, **arrays)


def _torch(path: Path, arrays: Arrays) -> None:
    values: dict[str, Any] = {}
    for name, array in arrays.items():
        try:
            values[name] = torch.from_numpy(np.ascontiguousarray(array))
        except (TypeError, ValueError):
            values[name] = array.tolist()
    alone = len(values) == 1 and path.stem != "image"
    torch.save(next(iter(values.values())) if alone else values, path)


def _safetensors(path: Path, arrays: Arrays) -> None:
    plain = {
        name: np.ascontiguousarray(array)
        for name, array in arrays.items()
        if array.dtype.kind in "fiub" and array.dtype.itemsize <= 8
    }
    save_file({k: v.astype(v.dtype.newbyteorder("=")) for k, v in plain.items()}, path)


def _hdf5(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            kind = array.dtype.kind
            if kind in "UM":
                file[name] = [str(value) for value in array.ravel()]
            elif kind == "O":
                file.create_group(name)
            else:
                file[name] = array
        if len(arrays) > 2:
            file["link"] = h5py.ExternalLink("/etc/passwd", "/x")


def _table(separator: str) -> Callable[[Path, Arrays], None]:
    def write(path: Path, arrays: Arrays) -> None:
        vectors, stream = next(iter(arrays.values())), io.StringIO()
        writer = csv.writer(stream, delimiter=separator)
        width = vectors.shape[1] if vectors.ndim > 1 else 1
        writer.writerow(["entity", *(f"x{i}" for i in range(width))])
        rows = vectors.tolist() if vectors.ndim == 2 else [[value] for value in vectors.ravel()]
        for name, row in zip(NAMES, rows, strict=False):
            writer.writerow([name, *row])
        path.write_text(stream.getvalue(), encoding="utf-8", errors="replace")

    return write


WRITERS = {
    ".npy": _npy,
    ".npz": _npz,
    ".pt": _torch,
    ".pth": _torch,
    ".safetensors": _safetensors,
    ".h5": _hdf5,
    ".csv": _table(","),
    ".tsv": _table("\t"),
}
TEXTS = (".csv", ".tsv")


def _damage(path: Path, draw: random.Random) -> None:
    if path.suffix in TEXTS and draw.random() < 0.8:
        changed = mutate.text(path.read_text(encoding="utf-8"), draw)
        path.write_bytes(changed.encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(mutate.binary(path.read_bytes(), draw))


@pytest.mark.parametrize("part", seeds(220, sample=8, size=55))
def test_feature_files(commands: Commands, place: Place, cases: MakeCases, part: range) -> None:
    """What an import accepts can be read; what it refuses leaves nothing."""
    with cases("features") as counted:
        for seed in part:
            draw, own = random.Random(f"features {seed}"), Place(place.folder / f"own{seed}")
            folder = own.folder / "mine"
            films.write_graph(folder)
            (folder / "features").mkdir()
            suffix = list(WRITERS)[seed % len(WRITERS)]
            path = folder / "features" / f"{draw.choice(('image', 'text'))}{suffix}"
            vectors, is_odd = films.vectors("image"), draw.random() < 0.6
            arrays = {"features": odd(vectors, draw) if is_odd else vectors}
            WRITERS[suffix](path, {**arrays, **beside(draw, len(vectors))})
            if not is_odd or draw.random() < 0.2:
                _damage(path, draw)
            ended = commands.run(own, "data", "import", folder, "--name", "second")
            problems = problems_of(ended, (0, 3))
            data = own.cache / "datasets"
            if ended.code and (data / "second").exists():
                problems.append("refused, and yet imported")
            if ended.code == 0:
                read = "inside.print_features('second', 'files')"
                problems += problems_of(commands.run(own, first=read))
            problems += [f"left behind: {left}" for left in outcomes.leftovers(own.folder)]
            counted.add(f"seed {seed} ({path})", problems)


def _ranks() -> list[list[object]]:
    rows = films.triples(films.graph_files()["test2id.txt"])
    named = [[f"film {h}", f"relation {r}", f"film {t}"] for h, r, t in rows]
    return [[*row, side, 1 + i % 5] for i, row in enumerate(named) for side in ("head", "tail")]


def _write_ranks(path: Path, draw: random.Random) -> None:
    columns = ("head", "relation", "tail", "side", "rank")
    rows = _ranks()
    if path.suffix == ".npz":
        arrays = dict(zip(columns, map(np.array, zip(*rows, strict=True)), strict=True))
        if draw.random() < 0.5:
            name = draw.choice(columns)
            arrays[name] = draw.choice((arrays[name][:-1], arrays[name][None], np.array(1.0)))
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="," if path.suffix == ".csv" else "\t")
        writer.writerows([columns, *rows])


@pytest.mark.parametrize("part", seeds(110, sample=5, size=55))
def test_scores_and_ranks(commands: Commands, place: Place, cases: MakeCases, part: range) -> None:
    """What is refused is not stored."""
    with cases("scores") as counted:
        for seed in part:
            draw, own = random.Random(f"scores {seed}"), Place(place.folder / f"own{seed}")
            own.folder.mkdir()
            suffix = (".npz", ".npy", ".safetensors", ".csv", ".tsv")[seed % 5]
            path = own.folder / f"scores{suffix}"
            scores = films.scores()
            is_odd = draw.random() < 0.5
            if suffix in TEXTS or (suffix == ".npz" and draw.random() < 0.4):
                _write_ranks(path, draw)
                is_odd = is_odd and suffix == ".npz"
            else:
                both = np.concatenate([scores["tail"], scores["head"]])
                chosen = {"scores": both} if suffix == ".npy" or draw.random() < 0.5 else scores
                changed = {k: odd(v, draw) if is_odd else v for k, v in chosen.items()}
                WRITERS[suffix](path, {**changed, **beside(draw, 4)})
            if not is_odd:
                _damage(path, draw)
            ended = commands.run(
                own,
                *("score", path, "--dataset", "films", "--name", "Other"),
                HARNESS_CACHE=str(place.cache),
            )
            problems = problems_of(ended, (0, 2, 3))
            if ended.code and outcomes.stored(own.home):
                problems.append("refused, and yet stored")
            if list(own.home.glob("runs/*")) and ended.code:
                problems.append("refused, and yet a run folder was made")
            counted.add(f"seed {seed} ({path})", problems)
