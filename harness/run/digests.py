"""Digests of the data of runs, and the runs whose data are on this machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.data import folders
from harness.data.load import load_dataset, load_graph, unencoded
from harness.events import Message, OnEvent, ignore
from harness.plan.expand import Plan, without_missing
from harness.plan.spec import DataSpec

__all__ = ["UNKNOWN", "digests", "known_digests", "present"]

UNKNOWN = "?"
"""Digest of features that are not encoded yet."""


def digests(data: DataSpec) -> tuple[str, str]:
    """Return the digest of the graph and of the features of a run's data; encodes where needed."""
    dataset = load_dataset(data.dataset, data.features, data.modalities)
    return dataset.graph.digest, dataset.features.digest


def known_digests(data: DataSpec) -> tuple[str, str]:
    """Return the same without encoding anything; ``UNKNOWN`` for features not encoded yet."""
    if unencoded(data.dataset, data.features):
        return load_graph(data.dataset).digest, UNKNOWN
    return _digests(data, folders.roots())


@cache
def _digests(data: DataSpec, roots: tuple[Path, ...]) -> tuple[str, str]:
    """``roots`` is part of the key alone: another data folder may hold another copy."""
    return digests(data)


def present(plan: Plan, on_event: OnEvent = ignore) -> Plan:
    """Return the plan without the runs whose data are not on this machine.

    Args:
        plan: any plan.
        on_event: receives a message for each reason.

    Raises:
        MissingDataError: no run is left; the message says which command gets the data.
    """
    available = without_missing(plan, digests)
    for reason in {e.reason for e in available.excluded} - {e.reason for e in plan.excluded}:
        on_event(Message(f"left out: {reason}"))
    return available
