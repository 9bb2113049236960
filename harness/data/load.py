"""The one entrance to datasets."""

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

__all__ = ["Dataset", "load_dataset", "load_graph", "source", "sources", "unencoded"]


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

    ``base:variant`` asks the source of ``base`` for a variant ("synthetic:mkg-w,seed=1"),
    ``name@clean`` is the dataset with cleaned splits (:mod:`harness.data.derive`).

    A name that is not registered is that of a folder of the user's own, where there is one.

    Raises:
        ConfigError: there is no such dataset or variant, or no dataset may be called so.
    """
    _discover()
    whole, at, form = name.lower().partition("@")
    wanted, colon, variant = whole.partition(":")
    check_name(wanted)
    if at:
        return derived(source(whole), form)
    if colon:
        return source(wanted).variant(variant)
    for known in DATASETS:
        entry = DATASETS.get(known)
        if wanted in {alias.lower() for alias in entry.card.aliases}:
            return entry
    if wanted in DATASETS:
        return DATASETS.get(wanted)
    own = find_local(wanted)
    if own is None:
        raise ConfigError(f"unknown dataset '{name}'{suggest(wanted, _names())}")
    return own


def _names() -> list[str]:
    """Return the names and aliases of all datasets, the user's own among them."""
    cards = [entry.card for entry in sources()]
    return [name for card in cards for name in (card.name, *card.aliases)]


def sources() -> list[DatasetSource]:
    """Return the sources of all datasets, by name; the user's own come last."""
    _discover()
    known = [DATASETS.get(name) for name in DATASETS]
    taken = {name for entry in known for name in folders.names_of(entry.card)}
    return [*known, *local_sources(taken)]


@cache
def _graph(name: str, roots: tuple[Path, ...]) -> KnowledgeGraph:
    """``roots`` is part of the key alone: another data folder may hold another copy."""
    return source(name).graph()


def load_graph(name: str) -> KnowledgeGraph:
    """Load the graph of a dataset alone; see ``load_dataset``."""
    return _graph(source(name).card.name, folders.roots())


def unencoded(name: str, features: str) -> Mapping[str, tuple[int, float, int]]:
    """Return the modalities that ``load_dataset`` would have to encode first, with their sizes.

    Returns:
        modality -> (width, share present, tokens of an entity with most of them or 0).

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
    return source(name).features(features, _graph(name, roots))


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
        MissingDataError: not on this machine; the message says which command gets it.
        DataError: a file is wrong.
    """
    entry = source(name)
    canonical = entry.card.name
    roots = folders.roots()
    chosen = _features(canonical, features, roots).select(modalities)
    return Dataset(_graph(canonical, roots), chosen, entry.card)
