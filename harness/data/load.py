"""Lookup and loading of datasets."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.data import folders, sets
from harness.data.card import DATASETS, DatasetCard, DatasetSource, check_name
from harness.data.derive import derived
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.data.local import find_local, local_sources
from harness.errors import ConfigError, suggest
from harness.plugins import load_plugins, plugin_problem

__all__ = ["Dataset", "load_dataset", "load_graph", "source", "sources", "unencoded"]


@dataclass(frozen=True, repr=False)
class Dataset:
    """A graph, the features of a run, and the dataset's card."""

    graph: KnowledgeGraph
    features: FeatureSet
    card: DatasetCard

    def __repr__(self) -> str:
        modalities = ", ".join(self.features.tables)
        features = self.features.name + (f" ({modalities})" if modalities else "")
        return f"<Dataset {self.graph}, features {features}>"


@cache
def _discover() -> None:
    for module in pkgutil.iter_modules(sets.__path__):
        importlib.import_module(f"{sets.__name__}.{module.name}")
    load_plugins("harness.datasets")


def source(name: str) -> DatasetSource:
    """Return the source of a dataset by name or alias, in any case.

    ``base:variant`` is a variant of ``base`` ("synthetic:mkg-w,seed=1"),
    ``name@clean`` is the dataset with cleaned splits (:mod:`harness.data.derive`).

    A name that is not registered is looked up among the user's own folders.

    Raises:
        ConfigError: the dataset or variant is unknown, or the name is invalid.
    """
    _discover()
    full, at, form = name.lower().partition("@")
    base, colon, variant = full.partition(":")
    check_name(base)
    if at:
        return derived(source(full), form)
    if colon:
        return source(base).variant(variant)
    for name_ in DATASETS:
        entry = DATASETS.get(name_)
        if base in {alias.lower() for alias in entry.card.aliases}:
            return entry
    if base in DATASETS:
        return DATASETS.get(base)
    local = find_local(base)
    if local is None:
        problem = plugin_problem("harness.datasets", base)
        raise ConfigError(problem or f"unknown dataset '{name}'{suggest(base, _names())}")
    return local


def _names() -> list[str]:
    """Return the names and aliases of all datasets, including the user's own."""
    cards = [entry.card for entry in sources()]
    return [name for card in cards for name in (card.name, *card.aliases)]


def sources() -> list[DatasetSource]:
    """Return the sources of all registered datasets by name, then of the user's own."""
    _discover()
    registered = [DATASETS.get(name) for name in DATASETS]
    names = {name for entry in registered for name in folders.names_of(entry.card)}
    return [*registered, *local_sources(names)]


@cache
def _graph(name: str, roots: tuple[Path, ...]) -> KnowledgeGraph:
    """Load a graph; ``roots`` is only part of the cache key, as data folders may differ."""
    return source(name).graph()


def load_graph(name: str) -> KnowledgeGraph:
    """Load only the graph of a dataset; see ``load_dataset``."""
    return _graph(source(name).card.name, folders.roots())


def unencoded(name: str, features: str) -> Mapping[str, tuple[int, float, int]]:
    """Return the sizes of the modalities that ``load_dataset`` would have to encode first.

    Returns:
        modality -> (width, share of entities with it, largest number of tokens or 0).

    Raises:
        ConfigError, MissingDataError, DataError: as ``load_dataset``.
    """
    return _unencoded(source(name).card.name, features, folders.roots())


@cache
def _unencoded(
    name: str, features: str, roots: tuple[Path, ...]
) -> Mapping[str, tuple[int, float, int]]:
    return source(name).unencoded(features, _graph(name, roots))


@cache
def _features(name: str, features: str, roots: tuple[Path, ...]) -> FeatureSet:
    loaded = source(name).features(features, _graph(name, roots))
    _unencoded.cache_clear()  # what was encoded now need not be
    return loaded


def load_dataset(
    name: str, features: str = "none", modalities: Sequence[str] | None = None
) -> Dataset:
    """Load a dataset; graphs and feature sets are read once per process.

    Args:
        name: dataset name or alias.
        features: name of one of its feature sets.
        modalities: modalities of the set to keep, all when None.

    Raises:
        ConfigError: unknown dataset, feature set or modality.
        MissingDataError: not on this machine; the message names the command that gets it.
        DataError: a file is malformed.
    """
    entry = source(name)
    canonical = entry.card.name
    roots = folders.roots()
    feature_set = _features(canonical, features, roots).select(modalities)
    return Dataset(_graph(canonical, roots), feature_set, entry.card)
