"""Floating-point types by device."""

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


def multiplies_bf16(device: torch.device | str) -> bool | None:
    """Return whether a device has instructions for products in bf16; None if that is not known.

    torch computes such products on every processor, but slower than in fp32 without them.

    Args:
        device: a device or its name.
    """
    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):  # the question is of the current one
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        with contextlib.suppress(OSError):
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
            return not BF16_FLAGS.isdisjoint(text.split())
    return None
