"""Toy graphs, run specs and records of the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.data.graph import SPLITS, KnowledgeGraph
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks, SideCounts
from harness.index import GraphIndex
from harness.plan.spec import DataSpec, ModelSpec, Protocol, RunSpec
from harness.store.base import ResultStore
from harness.store.records import Cell, MetricValue, RunRecord, TimingSample

if TYPE_CHECKING:
    from harness.index import Side

SMALL = "synthetic:entities=40,relations=4,train=200,valid=20,test=20"
"""A dataset on which a training takes a second."""

Triples = Iterable[Sequence[int]]


def toy_graph(
    train: Triples = ((0, 0, 1),),
    valid: Triples = (),
    test: Triples = (),
    *,
    entities: Sequence[str] | int = 2,
    relations: Sequence[str] | int = 1,
    entity_names: Sequence[str] = (),
    name: str = "toy",
) -> KnowledgeGraph:
    """Return a graph of triples of ids; a number of entities or relations gives "0", "1", ..."""
    splits = zip(SPLITS, (train, valid, test), strict=True)
    return KnowledgeGraph(
        name,
        _labels(entities),
        _labels(relations),
        {
            split: torch.tensor(list(rows), dtype=torch.int64).reshape(-1, 3)
            for split, rows in splits
        },
        tuple(entity_names),
    )


def _rows(triples: Triples) -> torch.Tensor:
    return torch.tensor(list(triples), dtype=torch.int64).reshape(-1, 3)


def _labels(labels: Sequence[str] | int) -> tuple[str, ...]:
    return tuple(map(str, range(labels) if isinstance(labels, int) else labels))


def ring(entities: int, relations: int) -> GraphIndex:
    """Return training triples (i, r, i + r + 1): every entity is head and tail of each relation."""
    heads = torch.arange(entities).repeat(relations)
    kinds = torch.arange(relations).repeat_interleave(entities)
    tails = (heads + kinds + 1) % entities
    return GraphIndex(entities, relations, torch.stack([heads, kinds, tails], 1), "ring")


def toy_spec(
    model: str = "transe", dataset: str = SMALL, *, dim: int = 8, **changes: Any
) -> RunSpec:
    """Return the spec of a small run; a group in ``changes`` replaces the group's values here."""
    return RunSpec.model_validate(
        {
            "model": {"name": model, "dim": dim},
            "data": {"dataset": dataset},
            "negatives": {"count": 2},
            "training": {"epochs": 4, "evaluate_every": 2},
            **changes,
        }
    )


def add_row(
    store: ResultStore,
    home: Path,
    label: str,
    typical: float,
    *,
    suite: str = "toy",
    variant: str = "",
    seeds: Sequence[int] = (0, 1, 2),
    triples: int = 60,
    unseen: bool = True,
    **changes: Any,
) -> list[str]:
    """Add a row of a suite with its ranks, whose mean is ``typical``; return its run ids.

    Of each run's test triples a third are cold, none without ``unseen``.
    """
    values = {"model": label.lower(), "dataset": "atlas", "features": "none", **changes}
    ids = []
    for seed in seeds:
        name = f"{label}{suite}{variant}{values['dataset']}{seed}"
        run_id = hashlib.sha256(name.encode()).hexdigest()[:12]
        rng = np.random.default_rng([seed, *map(ord, label)])
        sides: dict[Side, SideCounts] = {}
        both: tuple[Side, Side] = ("head", "tail")
        for side in both:
            better = rng.geometric(1 / typical, triples).astype(np.int32) - 1
            nothing, many = np.zeros(triples, np.int32), np.full(triples, 1000, np.int32)
            sides[side] = SideCounts(better, nothing, many)
        warm = np.arange(triples) % 3 > 0 if unseen else np.ones(triples, np.bool_)
        ranks = Ranks(np.arange(3 * triples).reshape(triples, 3), sides, warm)
        (home / "runs" / run_id).mkdir(parents=True, exist_ok=True)
        ranks.save(home / "runs" / run_id / "ranks.npz")
        metrics = [
            MetricValue(split="test", **m._asdict())
            for m in measure(ranks, Protocol(), ranks.buckets)
        ]
        store.add(toy_record(run_id, **{"seed": seed, "metrics": tuple(metrics), **values}))
        ids.append(run_id)
    cells = list(store.cells(suite, variant))
    cells += [
        Cell(
            suite=suite,
            variant=variant,
            position=len(cells),
            label=label,
            dataset=values["dataset"],
            features=values["features"],
            seed=seed,
            run_id=run_id,
        )
        for seed, run_id in zip(seeds, ids, strict=True)
    ]
    store.plan(suite, variant, cells)
    return ids


def measured_record(run_id: str, path: Path, **changes: Any) -> RunRecord:
    """Return a record and write its ranks to the path: six test triples, two of them cold."""
    numbers = np.random.default_rng(changes.get("seed", 0))
    sides: dict[Side, SideCounts] = {}
    side: Side
    for side in ("head", "tail"):
        better, tied = numbers.integers(0, 30, 6), numbers.integers(0, 3, 6)
        candidates = numbers.integers(40, 50, 6)
        sides[side] = SideCounts(*(c.astype(np.int32) for c in (better, tied, candidates)))
    ranks = Ranks(numbers.integers(0, 50, (6, 3)), sides)
    path.parent.mkdir(parents=True, exist_ok=True)
    ranks.save(path)
    warm = np.array([True, True, False, True, True, False])
    metrics = tuple(
        MetricValue(split=split, **m._asdict())
        for split in ("valid", "test")
        for m in measure(ranks, Protocol(), {"warm": warm, "cold": ~warm})
    )
    return toy_record(run_id, **{"metrics": metrics, **changes})


def toy_record(run_id: str, **changes: Any) -> RunRecord:
    """Return a complete record of RotatE on atlas."""
    values: dict[str, Any] = {
        "status": "ok",
        "model": "rotate",
        "dataset": "atlas",
        "dataset_digest": "d1",
        "features": "names",
        "feature_digest": "f1",
        "modalities": ("text", "image"),
        "seed": 0,
        "protocol": Protocol().key,
        "metrics": tuple(
            MetricValue(split=split, side=side, bucket=bucket, metric=metric, value=v, queries=8)
            for split in ("valid", "test")
            for side, bucket in (("both", "all"), ("head", "all"), ("both", "cold"))
            for metric, v in (("mrr", 0.3367), ("hits@1", 0.25), ("mr", 12.5))
        ),
        "history": (
            {"epoch": 1.0, "loss": 0.7, "seconds": 0.5},
            {"epoch": 2.0, "loss": 0.1, "seconds": 0.5, "mrr": 0.3},
        ),
        "diagnostics": {"parameters": 1000.0, "best_epoch": 2.0},
        "timings": (
            TimingSample(name="train.epoch", value=0.5),
            TimingSample(name="train.epoch", value=0.25),
            TimingSample(name="memory.peak", value=2.0**30, unit="bytes"),
        ),
        "provenance": {"commit": "c0ffee", "dirty": False, "versions": {"torch": "2.6"}},
        "notes": ("the test split holds 2 rows of train",),
        **changes,
    }
    spec = RunSpec(
        model=ModelSpec(name=values["model"]),
        data=DataSpec(dataset=values["dataset"], features=values["features"]),
        seed=values["seed"],
    )
    return RunRecord(run_id=run_id, **{"spec": spec.model_dump(), **values})
