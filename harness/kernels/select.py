"""Which implementation of the kernels is used."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Protocol, cast

from torch import Tensor

from harness.errors import ConfigError
from harness.index import Free
from harness.kernels.reference import Views, WeightedTerm

__all__ = ["NOT_COMPILED", "Kernels", "implementation", "name"]


class Kernels(Protocol):
    """What every implementation (a module) offers; ``reference`` says what the functions mean."""

    def gathered(
        self,
        op: str,
        query: Tensor,
        table: Tensor,
        offsets: Tensor,
        candidates: Tensor,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Score listed pairs."""
        ...

    def pairwise(
        self, op: str, query: Tensor, table: Tensor, scale: Tensor | None = None
    ) -> Tensor:
        """Score every query against every row."""
        ...

    def rotate(self, anchor: Tensor, phase: Tensor) -> Tensor:
        """Rotate complex vectors."""
        ...

    def count(
        self,
        op: str,
        query: Tensor,
        table: Tensor,
        targets: Tensor,
        offsets: Tensor,
        known: Tensor,
        scale: Tensor | None = None,
        owners: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Count the rows that beat and tie each target."""
        ...

    def count_terms(
        self,
        terms: Sequence[WeightedTerm],
        targets: Tensor,
        offsets: Tensor,
        known: Tensor,
        owners: Tensor | None = None,
        views: Views | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Count for the score that weighted terms make."""
        ...

    def draw_free(self, free: Free, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
        """Draw entities that make no known triple."""
        ...

    def dropout(self, x: Tensor, rate: float) -> Tensor:
        """Set numbers to zero at random."""
        ...

    def tanh_dot(self, x: Tensor, query: Tensor) -> Tensor:
        """Multiply tanh of vectors by a query."""
        ...

    def gated_cosines(
        self,
        own: Tensor,
        own_logits: Tensor,
        sizes: Sequence[int],
        others: Tensor,
        logits: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """Compare gated vectors."""
        ...


NOT_COMPILED = frozenset({"l2"})
"""Comparisons without a compiled loop: too rare to be worth one."""

_MODULES = {"reference": "reference", "numba": "cpu", "chunked": "cuda"}


def name(device: str) -> str:
    """Return the implementation for a device type ("cpu", "cuda", "mps").

    "numba" on CPUs (when numba is installed), "chunked" on accelerators, or "reference".

    Raises:
        ConfigError: HARNESS_KERNELS holds something else than "reference" or "auto".
    """
    wish = os.environ.get("HARNESS_KERNELS", "auto")
    if wish not in ("auto", "reference"):
        raise ConfigError(f"HARNESS_KERNELS={wish}: choose reference or auto")
    if wish == "reference":
        return "reference"
    if device != "cpu":
        return "chunked"
    return "numba" if _has_numba() else "reference"


def implementation(tensor: Tensor, *ops: str) -> Kernels:
    """Return the module that computes ``ops`` on the tensor's device.

    What has no compiled loop (``NOT_COMPILED``) is computed in chunks on the CPU too.
    """
    chosen = name(tensor.device.type)
    if chosen == "numba" and not NOT_COMPILED.isdisjoint(ops):
        chosen = "chunked"
    return _module(chosen)


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


@cache
def _module(chosen: str) -> Kernels:
    return cast(Kernels, importlib.import_module(f"harness.kernels.{_MODULES[chosen]}"))
