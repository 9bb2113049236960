"""Which implementation of the kernels is used."""

from __future__ import annotations

import os
from types import ModuleType

from torch import Tensor

from harness.errors import ConfigError
from harness.kernels import reference

__all__ = ["implementation", "name"]


def name(device: str) -> str:
    """Return the implementation for a device type ("cpu", "cuda", "mps").

    Raises:
        ConfigError: HARNESS_KERNELS holds something else than "reference" or "auto".
    """
    wish = os.environ.get("HARNESS_KERNELS", "auto")
    if wish not in ("auto", "reference"):
        raise ConfigError(f"HARNESS_KERNELS={wish}: choose reference or auto")
    return "reference"


def implementation(tensor: Tensor) -> ModuleType:
    """Return the module that computes on the tensor's device."""
    name(tensor.device.type)
    return reference
