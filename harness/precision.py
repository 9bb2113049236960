"""Floating-point types by device and processor."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

__all__ = ["multiplies_bf16", "widest_float"]

WITHOUT_FLOAT64 = frozenset({"mps"})
"""Device types without double precision, where torch raises TypeError for such tensors."""
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names of bf16 products in Linux's description of x86 and Arm processors."""


def widest_float(device: torch.device | str) -> torch.dtype:
    """Return float64, or float32 on devices without it.

    Args:
        device: a device or its name, such as "cpu", "cuda:1" or "mps".
    """
    return torch.float32 if torch.device(device).type in WITHOUT_FLOAT64 else torch.float64


def multiplies_bf16() -> bool | None:
    """Return whether this processor multiplies in bf16; None if that is not known (no Linux)."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return not BF16_FLAGS.isdisjoint(text.split())
    return None
