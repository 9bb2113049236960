"""What is known of a dataset before it is read, and the contract of a dataset's source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from harness.config.base import Config
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.errors import ConfigError
from harness.registry import Registry

__all__ = ["DATASETS", "DatasetCard", "DatasetSource", "FileCard"]


class FileCard(Config):
    """One file of a dataset."""

    path: str
    """Path inside the dataset's folder."""
    sha256: str
    url: str
    """Where the file is published, at a pinned revision; a mirror replaces the part before
    the repository's name (``--base-url``)."""
    optional: bool = False
    """Names and the like: the graph loads without it."""


class DatasetCard(Config):
    """Identity, provenance and the published statistics of a dataset."""

    name: str
    """Canonical name, lower case ("mkg-w")."""
    title: str
    """Name as the paper prints it ("MKG-W")."""
    aliases: tuple[str, ...] = ()
    folder: str
    """Folder in the published layout ("Kuai16K" for KVC16K)."""
    description: str
    files: tuple[FileCard, ...] = ()
    """Empty for datasets that ship with the package or are generated."""
    counts: Mapping[str, int] = {}
    """Published statistics: entities, relations, train, valid, test."""
    modality_counts: Mapping[str, int] = {}
    """Published number of entities that have each modality."""
    licence: str
    citation: str
    source: str
    """Repository and commit, or how it is generated."""
    notes: tuple[str, ...] = ()
    """Printed as footnotes wherever figures on this dataset are shown."""


class DatasetSource(ABC):
    """Loads one dataset; an instance is registered per dataset in ``harness/data/sets/``."""

    card: DatasetCard

    @abstractmethod
    def graph(self) -> KnowledgeGraph:
        """Read the graph.

        Raises:
            MissingDataError: it is not on this machine (the message says which command gets it).
            DataError: a file is wrong (the message names file and line).
        """

    @property
    @abstractmethod
    def feature_sets(self) -> Mapping[str, str]:
        """Name -> one-line description of each feature set; "none" is always there."""

    @abstractmethod
    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        """Build or read a feature set.

        Raises:
            ConfigError: the dataset has no such set (the message offers the nearest).
            MissingDataError: its files or the encoder's package are absent.
        """

    def modalities(self, features: str) -> tuple[str, ...]:
        """Return the modalities of a feature set, in its order; by default by reading it.

        Raises:
            ConfigError, MissingDataError, DataError: as ``features``.
        """
        return tuple(self.features(features, self.graph()).tables)

    def unencoded(self, features: str, graph: KnowledgeGraph) -> Mapping[str, tuple[int, float]]:
        """Return the modalities that ``features`` would have to encode first, which takes minutes.

        Returns:
            name -> (width, share of the entities that have it); {} (the default) when the set is
            read from files or from the cache of what was encoded before.

        Raises:
            ConfigError, MissingDataError: as ``features``.
        """
        return {}

    def variant(self, text: str) -> DatasetSource:
        """Return the source named ``<dataset>:<text>``; its card bears that whole name.

        Raises:
            ConfigError: the dataset has no variants (the default), or not this one.
        """
        raise ConfigError(f"dataset '{self.card.name}' has no variants, so no '{text}'")


DATASETS: Registry[DatasetSource] = Registry("dataset")
