"""Floating-point types by device."""

from __future__ import annotations

import torch

__all__ = ["widest_float"]

WITHOUT_FLOAT64 = frozenset({"mps"})
"""Device types without double precision, where torch raises TypeError for such tensors."""


def widest_float(device: torch.device | str) -> torch.dtype:
    """Return float64, or float32 on devices without it.

    Args:
        device: a device or its name, such as "cpu", "cuda:1" or "mps".
    """
    return torch.float32 if torch.device(device).type in WITHOUT_FLOAT64 else torch.float64
