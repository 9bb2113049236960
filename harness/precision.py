"""Which floating-point numbers a device has."""

from __future__ import annotations

import torch

__all__ = ["widest_float"]

WITHOUT_FLOAT64 = frozenset({"mps"})
"""Device types without double precision: torch raises TypeError where such a tensor would lie."""


def widest_float(device: torch.device | str) -> torch.dtype:
    """Return float64, or float32 where the device has no wider one.

    Args:
        device: or its name: "cpu", "cuda:1", "mps".
    """
    return torch.float32 if torch.device(device).type in WITHOUT_FLOAT64 else torch.float64
