"""Ranking of a run's splits; every access to the test split is recorded beforehand."""

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
    "metrics_of",
    "rank_split",
    "score_test",
    "shadow_test_writer",
    "stored_ranks",
    "test_access_summary",
]

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class SplitOutcome:
    """Ranks and metrics of a split; ``seconds`` is None for stored ranks."""

    ranks: Ranks
    metrics: tuple[MetricValue, ...]
    seconds: float | None = field(compare=False, default=None)


def rank_split(
    model: Model,
    spec: RunSpec,
    graph: KnowledgeGraph,
    split: Split,
    filter_index: FilterIndex,
    device: torch.device,
    progress: Progress,
) -> SplitOutcome:
    """Rank a split and compute its metrics.

    Args:
        model: the model, on ``device``.
        spec: the run.
        graph: the graph, with the split.
        split: the split to rank.
        filter_index: known answers to filter out.
        device: device of the model.
        progress: callback, given the number of queries ranked since the last call.

    Raises:
        NonFiniteError: a score is NaN or infinite.
        LockedSplitError: the split is locked.
    """
    triples = graph.splits[split]
    began = time.perf_counter()
    ranks = rank(model, triples, filter_index, spec.protocol, device=device, progress=progress)
    seconds = time.perf_counter() - began
    ranks = replace(ranks, warm=graph.index.has_seen_entities(triples).numpy())
    return SplitOutcome(ranks, metrics_of(ranks, spec, split), seconds)


def metrics_of(ranks: Ranks, spec: RunSpec, split: Split) -> tuple[MetricValue, ...]:
    """Return every metric of a split by side and subset (triples of seen and unseen entities)."""
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
    reason: str,
    provenance: dict[str, Any],
) -> tuple[SplitOutcome, Access]:
    """Rank the test split after recording the access; further arguments as ``rank_split``.

    Args:
        folder: folder of the run, with its log of accesses.
        reason: reason to score the split again, "" the first time.
        provenance: code, versions and machine of this access.
    """
    access = accesses.note(
        folder,
        "retest" if reason else "test",
        len(graph.splits["test"]) * len(spec.protocol.sides),
        weights=CheckpointFolder(folder).best_digest(),
        why=reason,
        provenance=provenance,
    )
    filter_index = graph.filter_index(spec.protocol.filter_of("test"))
    return rank_split(model, spec, graph, "test", filter_index, device, progress), access


def stored_ranks(spec: RunSpec, graph: KnowledgeGraph, folder: Path) -> tuple[Ranks | None, str]:
    """Return the stored ranks of the test split, or None and the reason they are unusable."""
    path = folder / RANKS
    if not path.is_file():
        return None, f"{RANKS} is missing"
    try:
        ranks = Ranks.load(path)
    except DataError:
        return None, f"{RANKS} is damaged"
    matches = np.array_equal(ranks.triples, graph.splits["test"].numpy())
    if not matches or set(ranks.sides) != set(spec.protocol.sides):
        return None, f"{RANKS} is of other queries"
    return ranks, ""


def test_access_summary(folder: Path) -> dict[str, Any]:
    """Return the provenance entry with the accesses to the test split, {} if there are none."""
    summary = accesses.summary(accesses.read(folder))
    return {"test_split": summary} if summary else {}


def shadow_test_writer(
    model: Model, spec: RunSpec, graph: KnowledgeGraph, folder: Path, device: torch.device
) -> Callable[[int], None]:
    """Return a callback that stores the held-out test ranks of an epoch in the folder.

    It does nothing unless ``audit.shadow_test`` is set, and leaves random numbers unchanged.
    """
    if not spec.audit.shadow_test:
        return lambda epoch: None
    triples, protocol = graph.splits["test"], spec.protocol
    filtered_index = graph.filter_index(protocol.filter_of("test")).to(device)
    unfiltered = graph.filter_index(()).to(device)

    def write_ranks(epoch: int) -> None:
        accesses.note(folder, "shadow", len(triples) * len(protocol.sides), epoch=epoch)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            filtered_ranks, raw_ranks = (
                rank(model, triples, filter_index, protocol, device=device)
                for filter_index in (filtered_index, unfiltered)
            )
        shadow.write(folder / shadow.FOLDER, epoch, filtered_ranks, raw_ranks)

    return write_ranks
