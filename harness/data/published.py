"""Base class of the datasets of the NATIVE repository.

The five benchmarks are published as OpenKE folders in one repository; ``sets/native.tsv`` pins
their files. A dataset's own file in ``harness/data/sets/`` has its card and the rule that turns
identifiers into names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from harness.data import folders
from harness.data.card import DatasetCard, DatasetSource, FeatureSource, FileCard
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.data.parsing import read_packaged
from harness.data.public.sets import PublicFeatures
from harness.data.readers import read_folder

__all__ = ["NATIVE", "NATIVE_LICENCE", "PublishedSource", "name_of", "native_files"]

NATIVE = "github.com/zjukg/NATIVE at c72291c3d571b36c754897935d21718aa4568fe7"
"""Repository of the triples, with the commit that is pinned."""

NATIVE_LICENCE = (
    "none declared by the repository that holds the triples (its README shows a licence badge, "
    "but there is no licence file)"
)

_NATIVE_RAW = (
    "https://raw.githubusercontent.com/zjukg/NATIVE/c72291c3d571b36c754897935d21718aa4568fe7"
)
_RESOURCE = "/resource/"


def native_files(folder: str) -> tuple[FileCard, ...]:
    """Return the files in ``benchmarks/<folder>/`` of the NATIVE repository, as pinned."""
    return tuple(
        FileCard(
            path=row["file"],
            sha256=row["sha256"],
            url=f"{_NATIVE_RAW}/benchmarks/{folder}/{row['file']}",
        )
        for row in read_packaged("sets/native.tsv")
        if row["folder"] == folder
    )


def name_of(identifier: str) -> str:
    """Return the readable name of a DBpedia or YAGO identifier.

    It is the part after ``/resource/`` (which may have slashes: AC/DC), else after the last ``/``
    or ``#`` of an address, else the identifier; percent-decoded, with underscores as spaces.
    """
    bare = identifier.removeprefix("<").removesuffix(">")
    if "://" in bare:
        _, separator, resource = bare.partition(_RESOURCE)
        bare = resource if separator else re.split(r"[/#]", bare)[-1]
    return unquote(bare).replace("_", " ")


class PublishedSource(DatasetSource):
    """A dataset in the OpenKE layout, located by :mod:`harness.data.folders`.

    Subclasses set ``card`` and define the names of entities and relations.
    """

    card: DatasetCard
    public: PublicFeatures = PublicFeatures()

    def graph(self) -> KnowledgeGraph:
        """Read the graph; see :class:`DatasetSource`."""
        folder = folders.locate(self.card)
        graph = read_folder(folder, self.card.name, "openke")
        return replace(
            graph,
            entity_names=self.entity_names(folder, graph.entities),
            relation_names=self.relation_names(folder, graph.relations),
        )

    def entity_names(self, folder: Path, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the name of each entity, "" where unknown; () without any."""
        return tuple(name_of(entity) for entity in entities)

    def relation_names(self, folder: Path, relations: tuple[str, ...]) -> tuple[str, ...]:
        """Return the name of each relation, "" where unknown; () without any."""
        return tuple(name_of(relation) for relation in relations)

    @property
    def feature_sets(self) -> Mapping[str, str]:
        """Name -> description; see :class:`DatasetSource`."""
        from harness.data import feature_sets

        return {**feature_sets.describe(self.card), **self.public.describe()}

    def modalities(self, features: str) -> tuple[str, ...]:
        """Return the modalities of a set without reading it; see :class:`DatasetSource`."""
        from harness.data import feature_sets

        self.check_feature_set(features)
        if features in self.public.describe():
            self.public.require(self.card.name, features)
            return self.public.modalities(features)
        return feature_sets.modalities(self.card, features, folders.locate(self.card))

    def originals(self, features: str) -> tuple[FeatureSource, ...]:
        """Return the originals of a set; see :class:`DatasetSource`."""
        return self.public.originals(features) if features in self.public.describe() else ()

    def missing_originals(self, features: str) -> list[FeatureSource]:
        """Return the missing originals of a set; see :class:`DatasetSource`."""
        return self.public.missing(features) if features in self.public.describe() else []

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the raw texts of a set; see :class:`DatasetSource`."""
        from harness.data import feature_sets

        self.check_feature_set(features)
        if features in self.public.describe():
            self.public.require_sources(self.card.name, features)
            texts = self.public.texts(features, graph, feature_sets.entity_texts(graph))
            return {"text": texts} if texts else {}
        return feature_sets.name_texts(self.card, features, graph)

    def unencoded(
        self, features: str, graph: KnowledgeGraph
    ) -> Mapping[str, tuple[int, float, int]]:
        """Return the sizes of a set that must be encoded; see :class:`DatasetSource`."""
        from harness.data import feature_sets

        if features in self.public.describe():
            names = feature_sets.entity_texts(graph)
            return self.public.unencoded(self.card.name, features, graph, names)
        return feature_sets.unencoded(self.card, features, graph)

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        """Build or read a feature set; see :class:`DatasetSource`."""
        if name == "none":
            return FeatureSet()
        from harness.data import feature_sets

        self.check_feature_set(name)
        if name in self.public.describe():
            names = feature_sets.entity_texts(graph)
            return self.public.build(self.card.name, name, graph, names)
        return feature_sets.build(self.card, name, graph, folders.locate(self.card))
