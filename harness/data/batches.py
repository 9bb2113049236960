"""Batches of positives."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["epoch_batches", "steps_per_epoch"]


def steps_per_epoch(n_triples: int, batch_size: int) -> int:
    """Return the number of batches of one pass; the last may be smaller."""
    return -(-n_triples // batch_size)


def epoch_batches(triples: Tensor, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield the rows of ``triples`` [n, 3] once each, in an order that only ``seed`` decides.

    The order is drawn on the CPU, so it is the same on every device; the batches are slices on the
    device of ``triples``.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(triples), generator=generator).to(triples.device)
    for start in range(0, len(triples), batch_size):
        yield triples[order[start : start + batch_size]]
