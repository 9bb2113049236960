"""Access to the compiled loops (``harness.kernels.loops``), which are imported on first use."""

from __future__ import annotations

import os
from functools import cache, reduce
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.environment import cache_folder
from harness.events import report_step
from harness.index import Pairs

__all__ = ["Array", "array", "arrays", "check_pairs", "grouped_by_row", "loops", "widest"]

Array = NDArray[Any]
_TASK = "compiling kernels, once on this machine"


@cache
def loops(name: str) -> ModuleType:
    """Import a module of ``harness.kernels.loops``; numba caches it in the harness's folder."""
    if "NUMBA_CACHE_DIR" not in os.environ:
        # In the environment, so that worker processes share it.
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder() / "numba")
    import numba

    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]  # type: ignore[attr-defined]
    _report_compilation()
    return import_module(f"harness.kernels.loops.{name}")


@cache
def _report_compilation() -> None:
    """Report the time in which numba compiles; kernels from its cache are not compiled."""
    from numba.core import event

    class Compilation(event.Listener):
        depth = 0
        """Functions in progress: one that is called by another is compiled within it."""

        def on_start(self, event: Any) -> None:
            self.depth += 1
            if self.depth == 1:
                report_step(_TASK, 0, 1)

        def on_end(self, event: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                report_step(_TASK, 1, 1)

    event.register("numba:compile", Compilation())  # type: ignore[no-untyped-call]


def array(tensor: Tensor) -> Array:
    """Return a tensor as a C-contiguous array without a gradient, for the loops."""
    return tensor.detach().contiguous().numpy()


def arrays(*tensors: Tensor) -> tuple[Array, ...]:
    """Return ``array`` of each tensor."""
    return tuple(array(tensor) for tensor in tensors)


def widest(*tensors: Tensor) -> torch.dtype:
    """Return the dtype that tensors promote to, at least float32."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)


def check_pairs(pairs: Pairs, queries: int, rows: int) -> None:
    """Check that pairs have the given number of queries and that their rows lie in a table.

    Compiled code does not check bounds: a wrong index would read foreign memory.

    Raises:
        IndexError: the number of queries or a row is wrong.
    """
    indptr, indices = pairs
    if len(indptr) != queries + 1 or int(indptr[-1]) != len(indices) or int(indptr[0]):
        raise IndexError(
            f"indptr must run from 0 to {len(indices)} in {queries + 1} steps, "
            f"has {len(indptr)} ending at {int(indptr[-1])}"
        )
    if queries and int(indptr.diff().min()) < 0:
        raise IndexError("indptr must not decrease")
    if len(indices):
        low, high = (int(x) for x in indices.aminmax())
        if low < 0 or high >= rows:
            raise IndexError(f"row {low if low < 0 else high} is not in a table of {rows} rows")


def grouped_by_row(pairs: Pairs, rows: int) -> tuple[Array, Array, Array]:
    """Return pairs by table row: indptr [rows + 1], and the ids of pairs and of queries [p]."""
    indptr, indices = arrays(*pairs)
    by_row = np.zeros(rows + 1, np.int64), np.empty_like(indices), np.empty_like(indices)
    loops("pairs").group_by_row((indptr, indices), by_row)
    return by_row
