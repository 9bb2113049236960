"""Compilation of a model's encoder (``training.compile``)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.errors import MachineError
from harness.model import Tables

__all__ = ["Encode", "compiled"]

Encode = Callable[[Tensor | None], Tables]
"""Signature of ``Model.encode``."""


def compiled(encode: Encode) -> Encode:
    """Compile ``encode`` with torch, once for all numbers of entities.

    Dropout is torch's own, which on CPUs drops other components than the kernels do. Code that
    torch cannot compile runs uncompiled.

    Raises:
        MachineError: in the first call, if torch finds no compiler on the machine.
    """
    # Functions compiled in earlier runs of the process count against torch's limit.
    torch.compiler.reset()
    # Imported here, because it takes seconds.
    from torch._dynamo.exc import TorchDynamoException

    fast = torch.compile(encode, dynamic=True, options={"fallback_random": True})

    def encode_fast(entities: Tensor | None) -> Tables:
        try:
            return fast(entities)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise MachineError(
                f"training.compile: torch cannot compile here: {reason}; it takes a C++ compiler "
                "(g++, or the one $CXX names), on a GPU Triton too; training.compile=false trains "
                "without"
            ) from error

    return encode_fast
