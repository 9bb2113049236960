"""A small graph, a suite and a study on it, and the folders in which commands work."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ENTITIES, RELATIONS = 40, 4
SPLITS = {"train": 120, "valid": 16, "test": 16}
MIRRORED = "/owner/films/0123abc/benchmarks/Films/"

SUITE = """\
name: small
title: A small suite
datasets:
  - {dataset: films, features: none}
rows:
  - transe
  - {model: distmult, label: DistMult, set: {model.dim: 4}}
base:
  training: {epochs: 2, batch_size: 64, evaluate_every: 1, patience: 0}
  model: {dim: 8}
  negatives: {count: 2}
seeds: [0]
"""
STUDY = """\
name: search
datasets: [films]
rows: [transe]
base:
  training: {epochs: 1, batch_size: 64, evaluate_every: 1, patience: 0}
  model: {dim: 8}
  negatives: {count: 2}
seeds: [0]
study:
  sampler: grid
  space: {optimiser.lr: [0.01, 0.1, 0.2]}
"""

PRUNED = (
    STUDY[: STUDY.index("study:")].replace("name: search", "name: pruned")
    + """\
study:
  sampler: tpe
  trials: 4
  pruner: median
  startup_trials: 2
  at_once: 2
  space: {optimiser.lr: {low: 1e-5, high: 1e-1, log: true}}
"""
)


def one_row(name: str, dataset: str, row: str, features: str = "none") -> str:
    """Return a suite of one run of one epoch."""
    return f"""\
name: {name}
datasets: [{{dataset: "{dataset}", features: {features}}}]
rows: [{row}]
base: {{training: {{epochs: 1}}, model: {{dim: 8}}}}
seeds: [0]
"""


@dataclass(frozen=True)
class Place:
    """Folders in which a command works: data, results, and files of the user's own."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "results"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def data(self) -> Path:
        """The dataset ``films`` where commands find it."""
        return self.cache / "datasets" / "films"

    @property
    def environment(self) -> dict[str, str]:
        return {"HARNESS_HOME": str(self.home), "HARNESS_CACHE": str(self.cache)}

    def copy(self, folder: Path) -> Place:
        """Return a copy of all of it in a new folder."""
        shutil.copytree(self.folder, folder)
        return Place(folder)


def write_place(folder: Path) -> Place:
    """Write the data and the suites; there are no results yet."""
    place = Place(folder)
    write_graph(place.data)
    for name in ("text", "image"):
        (place.data / "features").mkdir(exist_ok=True)
        np.save(place.data / "features" / f"{name}.npy", vectors(name))
    for name, text in {
        "small": SUITE,
        "search": STUDY,
        "pruned": PRUNED,
        "fused": one_row("fused", "films", "mocme", "files"),
        "named": one_row("named", "films", "mocme", "hashed-names"),
        "clean": one_row("clean", "films@clean", "transe"),
    }.items():
        (folder / f"{name}.yaml").write_text(text)
    return place


def write_graph(folder: Path) -> None:
    """Write the graph as a folder of its own."""
    folder.mkdir(parents=True)
    for name, content in graph_files().items():
        (folder / name).write_bytes(content)


def graph_files() -> dict[str, bytes]:
    """Return the files of the graph, in OpenKE's layout; some rows are there twice."""
    draw = random.Random("films")
    files = {
        "entity2id.txt": _listed([f"film {i}" for i in range(ENTITIES)]),
        "relation2id.txt": _listed([f"relation {i}" for i in range(RELATIONS)]),
    }
    train: list[tuple[int, int, int]] = []
    for split, count in SPLITS.items():
        rows = [_row(draw, i if split == "train" else None) for i in range(count)]
        if split == "train":
            train = rows
        else:
            rows[:2] = train[:2]
        lines = [str(count), *(" ".join(map(str, row)) for row in rows)]
        files[f"{split}2id.txt"] = ("\n".join(lines) + "\n").encode()
    return files


def _row(draw: random.Random, head: int | None) -> tuple[int, int, int]:
    head = draw.randrange(ENTITIES) if head is None else head % ENTITIES
    tail = (head + draw.randrange(1, ENTITIES)) % ENTITIES
    return head, tail, draw.randrange(RELATIONS)


def _listed(names: list[str]) -> bytes:
    lines = [str(len(names)), *(f"{name}\t{i}" for i, name in enumerate(names))]
    return ("\n".join(lines) + "\n").encode()


def triples(content: bytes) -> list[tuple[int, int, int]]:
    """Read a split file as plainly as can be: head, relation, tail."""
    rows = [line.split() for line in content.decode().splitlines()[1:]]
    return [(int(head), int(relation), int(tail)) for head, tail, relation in rows]


def vectors(name: str, rows: int = ENTITIES, width: int = 4) -> np.ndarray:
    """Return one vector for each entity."""
    return np.random.default_rng(len(name)).normal(size=(rows, width)).astype(np.float32)


def scores() -> dict[str, np.ndarray]:
    """Return scores of another program for the test split."""
    numbers = np.random.default_rng(1)
    shape = SPLITS["test"], ENTITIES
    return {side: numbers.normal(size=shape).astype(np.float32) for side in ("head", "tail")}


def write_scores(path: Path) -> None:
    """Write these scores as a file that ``harness score`` takes."""
    np.savez(path, **scores())  # type: ignore[arg-type]


def every_command(place: Place) -> Iterator[Sequence[object]]:
    """Yield commands, one of each kind and in an order in which all succeed."""
    folder = place.folder
    for name in ("small", "fused", "named", "clean"):
        yield "run", folder / f"{name}.yaml"
    yield "study", "run", folder / "search.yaml"
    yield "study", "promote", "search"
    yield "study", "show", "search"
    write_scores(folder / "scores.npz")
    yield "score", folder / "scores.npz", "--dataset", "films", "--name", "Other"
    run_id = os.listdir(place.home / "runs")[0]
    yield "runs", "list"
    yield "runs", "show", run_id
    yield "db", "check"
    yield "report"
    yield "report", "--html", "--out", folder / "page.html"
    yield "compare", "small:transe", "small:distmult"
    yield "db", "export", "--out", folder / "records"
    yield "db", "import", folder / "records", "--home", folder / "other"
    yield "db", "merge", place.home / "harness.db", "--home", folder / "third"
    yield "data", "import", place.data, "--name", "again"
    yield "data", "verify", "films"
    yield "data", "audit", "films"
    yield "data", "show", "films"
    yield "runs", "rm", run_id, "--yes"
