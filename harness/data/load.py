"""The one entrance to datasets."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from harness.data import sets
from harness.data.card import DATASETS, DatasetCard, DatasetSource
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph

__all__ = ["Dataset", "load", "source"]


@dataclass(frozen=True)
class Dataset:
    """A graph with the features a run sees."""

    graph: KnowledgeGraph
    features: FeatureSet
    card: DatasetCard


@cache
def _discover() -> None:
    for module in pkgutil.iter_modules(sets.__path__):
        importlib.import_module(f"{sets.__name__}.{module.name}")


def source(name: str) -> DatasetSource:
    """Return the source of a dataset by name or alias, in any case.

    Raises:
        ConfigError: there is no such dataset.
    """
    _discover()
    wanted = name.lower()
    for known in DATASETS:
        entry = DATASETS.get(known)
        if wanted in {alias.lower() for alias in entry.card.aliases}:
            return entry
    return DATASETS.get(wanted)


@cache
def _graph(name: str) -> KnowledgeGraph:
    return source(name).graph()


@cache
def _features(name: str, features: str) -> FeatureSet:
    return source(name).features(features, _graph(name))


def load(name: str, features: str = "none", modalities: Sequence[str] | None = None) -> Dataset:
    """Load a dataset; graphs and feature sets are read once per process.

    Args:
        name: dataset name or alias.
        features: name of one of its feature sets.
        modalities: modalities of the set to keep, all when None.

    Raises:
        ConfigError: unknown dataset, feature set or modality.
        MissingDataError: not on this machine; the message says which command gets it.
        DataError: a file is wrong.
    """
    entry = source(name)
    canonical = entry.card.name
    chosen = _features(canonical, features).select(modalities)
    return Dataset(_graph(canonical), chosen, entry.card)
