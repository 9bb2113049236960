"""Seeds of independent random streams.

A stream depends on the run's seed, the dataset and the purpose, never on the model or its options.
Two variants of a model with the same seed therefore share the initial entity table, the batches and
the negatives, and differ by the variant alone.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

__all__ = ["Stream", "seed_for", "seed_torch"]

Stream = Literal[
    "init",
    "negatives",
    "shuffle",
    "dropout",
    "auxiliary",
    "estimates",
    "adversary",
    "strategy",
    "corruption",
    "split",
]


def seed_for(seed: int, dataset: str, stream: Stream, step: int = 0) -> int:
    """Return a 63-bit seed for one stream.

    Args:
        seed: the run's seed.
        dataset: digest of the dataset.
        stream: purpose of the random numbers.
        step: epoch (or another number) within the stream; epochs have streams of their own, so that
            resuming at an epoch needs no generator state.
    """
    text = f"{seed}/{dataset}/{stream}/{step}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, as ``torch.manual_seed`` does.

    On a machine without an accelerator that function takes a millisecond: it keeps the seed, with
    the stack, for every accelerator that might still be found.
    """
    import torch

    if _accelerated():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@cache
def _accelerated() -> bool:
    import torch

    return torch.accelerator.is_available()
