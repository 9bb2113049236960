"""Seeds derived from names.

A stream of random numbers depends on the run's seed, the dataset and the use it is put to, never
on the model or its options: two variants of a model trained with the same seed see the same
initial entity table, the same batches and the same negatives, so their difference is the variant's.
"""

from __future__ import annotations

import hashlib
from typing import Literal

__all__ = ["Stream", "seed_for"]

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
        stream: what the numbers are used for.
        step: epoch (or another number) within the stream; each epoch starts a stream of its own,
            so a run resumed at an epoch needs no generator state.
    """
    text = f"{seed}/{dataset}/{stream}/{step}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
