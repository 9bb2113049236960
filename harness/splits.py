"""Rank a split of a run; the test split under its lock, each access written down first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from harness.data.graph import KnowledgeGraph
from harness.errors import DataError
from harness.evaluation import shadow
from harness.evaluation.evaluator import Progress, rank
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks
from harness.index import FilterIndex
from harness.model import Model
from harness.plan.spec import RunSpec
from harness.store import accesses
from harness.store.accesses import Access
from harness.store.files import RANKS
from harness.store.records import MetricValue
from harness.training.checkpoint import CheckpointFolder

__all__ = [
    "Split",
    "SplitOutcome",
    "counted",
    "metrics_of",
    "rank_split",
    "score_test",
    "sealing",
    "stored_ranks",
]

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class SplitOutcome:
    """What came of ranking a split; ``seconds`` is None where stored ranks were taken."""

    ranks: Ranks
    metrics: tuple[MetricValue, ...]
    seconds: float | None = field(compare=False, default=None)


def rank_split(
    model: Model,
    spec: RunSpec,
    graph: KnowledgeGraph,
    split: Split,
    known: FilterIndex,
    device: torch.device,
    progress: Progress,
) -> SplitOutcome:
    """Return the ranks of a split and what follows from them.

    Args:
        model: on ``device``.
        spec: the run.
        graph: holds the split.
        split: which.
        known: answers that are no competitors.
        device: where to compute.
        progress: called with the number of queries done since the last call.

    Raises:
        NonFiniteError: a score is NaN or infinite.
        LockedSplitError: the split is locked.
    """
    triples = graph.splits[split]
    began = time.perf_counter()
    ranks = rank(model, triples, known, spec.protocol, device=device, progress=progress)
    seconds = time.perf_counter() - began
    ranks = replace(ranks, warm=graph.index.has_seen_entities(triples).numpy())
    return SplitOutcome(ranks, metrics_of(ranks, spec, split), seconds)


def metrics_of(ranks: Ranks, spec: RunSpec, split: Split) -> tuple[MetricValue, ...]:
    """Return the numbers of a split: every metric, side, and of warm and cold triples."""
    return tuple(
        MetricValue(split=split, **m._asdict())
        for m in measure(ranks, spec.protocol, ranks.buckets)
    )


def score_test(
    model: Model,
    spec: RunSpec,
    graph: KnowledgeGraph,
    folder: Path,
    device: torch.device,
    progress: Progress,
    *,
    why: str,
    provenance: dict[str, Any],
) -> tuple[SplitOutcome, Access]:
    """Score the test split, which is written down first; arguments as ``rank_split``.

    Args:
        folder: of the run, with its log of accesses.
        why: the reason to score it again, "" the first time.
        provenance: what scores it.
    """
    access = accesses.note(
        folder,
        "retest" if why else "test",
        len(graph.splits["test"]) * len(spec.protocol.sides),
        weights=CheckpointFolder(folder).best_digest(),
        why=why,
        provenance=provenance,
    )
    known = graph.filter_index(spec.protocol.filter_of("test"))
    return rank_split(model, spec, graph, "test", known, device, progress), access


def stored_ranks(spec: RunSpec, graph: KnowledgeGraph, folder: Path) -> tuple[Ranks | None, str]:
    """Return the ranks of the test split in a folder, or None and why they cannot be used."""
    path = folder / RANKS
    if not path.is_file():
        return None, f"{RANKS} is missing"
    try:
        ranks = Ranks.load(path)
    except DataError:
        return None, f"{RANKS} is damaged"
    same = np.array_equal(ranks.triples, graph.splits["test"].numpy())
    if not same or set(ranks.sides) != set(spec.protocol.sides):
        return None, f"{RANKS} is of other queries"
    return ranks, ""


def counted(folder: Path) -> dict[str, Any]:
    """Return how often the test split was scored as a part of the provenance, {} for never."""
    found = accesses.summary(accesses.read(folder))
    return {"test_split": found} if found else {}


def sealing(
    model: Model, spec: RunSpec, graph: KnowledgeGraph, folder: Path, device: torch.device
) -> Callable[[int], None]:
    """Return what seals the test ranks of an epoch in the folder; it does nothing unless asked.

    Random numbers go on as if it had not been there.
    """
    if not spec.audit.shadow_test:
        return lambda epoch: None
    triples, protocol = graph.splits["test"], spec.protocol
    known = graph.filter_index(protocol.filter_of("test")).to(device)
    nothing = graph.filter_index(()).to(device)

    def seal(epoch: int) -> None:
        accesses.note(folder, "shadow", len(triples) * len(protocol.sides), epoch=epoch)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            filtered, raw = (
                rank(model, triples, answers, protocol, device=device)
                for answers in (known, nothing)
            )
        shadow.write(folder / shadow.FOLDER, epoch, filtered, raw)

    return seal
