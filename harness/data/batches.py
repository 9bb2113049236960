"""Batches of positive triples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Batches", "batches_of", "drawn_batches", "epoch_batches", "steps_per_epoch"]

Traversal = Literal["pass", "draws"]
Batches = Callable[[int, int], Iterator[Tensor]]
"""Batch size and seed -> batches int64 [B, 3] of an epoch."""


def steps_per_epoch(n_rows: int, batch_size: int, traversal: Traversal = "pass") -> int:
    """Return the number of batches of an epoch.

    Args:
        n_rows: rows of train; for ``draws``, distinct rows.
        batch_size: rows of a batch; the last batch of a pass may be smaller.
        traversal: option of ``TrainingSpec``.
    """
    return max(1, n_rows // batch_size) if traversal == "draws" else -(-n_rows // batch_size)


def batches_of(triples: Tensor, traversal: Traversal) -> Batches:
    """Return the function that batches ``triples`` [n, 3] by option ``traversal``."""
    if traversal == "pass":
        return lambda batch_size, seed: epoch_batches(triples, batch_size, seed)
    distinct = torch.unique(triples, dim=0)
    return lambda batch_size, seed: drawn_batches(distinct, batch_size, seed)


def drawn_batches(triples: Tensor, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield ``len(triples) // batch_size`` batches, at least one, drawn with replacement.

    Each row of a batch is drawn independently and uniformly from ``triples`` [n, 3]. The draws are
    made on the CPU, so that they are the same on every device.
    """
    if not len(triples):
        return
    generator = torch.Generator().manual_seed(seed)
    steps = steps_per_epoch(len(triples), batch_size, "draws")
    drawn = torch.randint(len(triples), (steps, batch_size), generator=generator)
    for rows in drawn.to(triples.device):
        yield triples[rows]


def epoch_batches(triples: Tensor, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield the rows of ``triples`` [n, 3] once each, in an order determined by ``seed`` alone.

    The order is drawn on the CPU, so that it is the same on every device; batches are on the device
    of ``triples``.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(triples), generator=generator).to(triples.device)
    for start in range(0, len(triples), batch_size):
        yield triples[order[start : start + batch_size]]
