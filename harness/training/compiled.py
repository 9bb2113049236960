"""``training.compile``: what a model makes of its entities, as one compiled program."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.errors import MachineError
from harness.model import Tables

__all__ = ["Encode", "compiled"]

Encode = Callable[[Tensor | None], Tables]
"""``Model.encode``."""


def compiled(encode: Encode) -> Encode:
    """Return ``encode`` compiled by torch, once for all numbers of entities.

    Dropout is torch's own, which on CPUs drops other numbers than the kernels do. What torch
    cannot compile runs as it is, between the compiled parts.

    Raises:
        MachineError: in the first call: the machine has no compiler that torch can use.
    """
    # What earlier runs of the process compiled would count against torch's limit per function.
    torch.compiler.reset()
    # Loaded when asked for: this takes seconds.
    from torch._dynamo.exc import TorchDynamoException

    fast = torch.compile(encode, dynamic=True, options={"fallback_random": True})

    def encode_fast(entities: Tensor | None) -> Tables:
        try:
            return fast(entities)
        except TorchDynamoException as error:
            why = str(error).strip().partition("\n")[0]
            raise MachineError(
                f"training.compile: torch cannot compile here: {why}; it takes a C++ compiler "
                "(g++, or the one $CXX names), on a GPU Triton too; training.compile=false trains "
                "without"
            ) from error

    return encode_fast
