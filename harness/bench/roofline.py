"""The least time that a machine's ceilings leave for a piece of work.

A piece of work makes demands, each an amount of something the machine does at a measured rate.
Demands on one resource add up (rows that are gathered and rows that are streamed wait in the same
queues of a core); different resources work side by side, so the slowest decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["RESOURCES", "Floor", "floor", "share"]

RESOURCES = {
    "gather table": "memory",
    "gather queries": "memory",
    "gather cached": "memory",
    "stream": "memory",
    "root": "roots",
    "reciprocal": "roots",
    "fp32": "FLOPs",
}
"""Measured rate -> the resource it is a rate of."""


class Floor(NamedTuple):
    """The least time and what sets it.

    Attributes:
        seconds: no implementation is faster.
        bound: the resource that takes so long ("memory", "roots", "FLOPs").
    """

    seconds: float
    bound: str


def floor(demands: Mapping[str, float], rates: Mapping[str, float]) -> Floor:
    """Return the floor of a piece of work.

    Args:
        demands: rate's name (``RESOURCES``) -> amount needed, in bytes, roots or operations.
        rates: the same names -> amount per second.

    Raises:
        KeyError: a demand has no rate or no resource.
    """
    seconds: dict[str, float] = {}
    for name, amount in demands.items():
        resource = RESOURCES[name]
        seconds[resource] = seconds.get(resource, 0.0) + amount / rates[name]
    bound = max(seconds, key=lambda resource: seconds[resource])
    return Floor(seconds[bound], bound)


def share(least: Floor, measured: float) -> float:
    """Return the share of the ceiling that is reached, 1.0 when nothing is lost.

    Args:
        least: of the work.
        measured: seconds it took.
    """
    return least.seconds / measured
