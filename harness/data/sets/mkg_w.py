"""MKG-W: a part of Wikidata with images and descriptions."""

from __future__ import annotations

from pathlib import Path

from harness.data.card import DATASETS, CleanCard, DatasetCard, FileCard, feature_leaks
from harness.data.graph import KnowledgeGraph
from harness.data.parsing import read_lines
from harness.data.public import joins, originals
from harness.data.public.joins import Description
from harness.data.public.sets import Join, PublicFeatures
from harness.data.published import (
    NATIVE,
    NATIVE_LICENCE,
    PublishedSource,
    name_of,
    native_files,
)
from harness.errors import DataError

_NAMES_REPOSITORY = "github.com/zjukg/K-ON at e118ed7c5f8970ea97dc8954d4cd924ffe155700"
_NAMES_RAW = (
    "https://raw.githubusercontent.com/zjukg/K-ON/"
    "e118ed7c5f8970ea97dc8954d4cd924ffe155700/data/MKG-W"
)

_NAME_FILES = (
    FileCard(
        path="ent_links.txt",
        sha256="4aa7e9f5ff3bbeea7dee3124669edba7903e65b22844529999325c6bec624511",
        url=f"{_NAMES_RAW}/ent_links.txt",
        optional=True,
    ),
    FileCard(
        path="rel_links.txt",
        sha256="4f4276bec413905e109b1daf938a91c57baf2d4be7d0e3f3bcb4904adfd02ffe",
        url=f"{_NAMES_RAW}/rel_links.txt",
        optional=True,
    ),
)

(_SUMMARIES,) = originals.ORIGINALS["mkg-w-summaries"]
(_SUMMARY_NAMES,) = originals.ORIGINALS["mkg-w-summary-names"]


def _descriptions(graph: KnowledgeGraph) -> list[Description]:
    """Join by Q-id; the rows of the summaries are in the order of the dataset's ids."""
    short = joins.descriptions_by_wikidata_id(
        originals.WIKIDATA_DESCRIPTIONS, joins.freebase_entities(originals.FREEBASE_WIKIDATA)
    )
    summaries = joins.image_summaries(_SUMMARIES, _SUMMARY_NAMES)
    return [
        Description(short=short.get(entity.rsplit("/", 1)[-1], ""), summary=summary)
        for entity, summary in zip(
            graph.entities, joins.aligned(summaries, graph.n_entities, _SUMMARIES), strict=True
        )
    ]


def _numbers(graph: KnowledgeGraph) -> list[dict[str, float]]:
    """Join DBpedia's and YAGO's literals by the name in DBpedia."""
    names = {entity: name for name, entity in joins.linked_entities(originals.MKG_W_LINKS).items()}
    keys = [names.get(entity.rsplit("/", 1)[-1], "") for entity in graph.entities]
    return joins.numbers_by_name(keys, joins.both_numbers())


_PUBLIC = PublicFeatures(
    descriptions=Join(
        (
            _SUMMARIES,
            _SUMMARY_NAMES,
            originals.WIKIDATA_DESCRIPTIONS,
            originals.FREEBASE_WIKIDATA,
        ),
        _descriptions,
        entities=12223,
    ),
    numbers=Join(
        (originals.MKG_W_LINKS, originals.DBPEDIA_NUMBERS, originals.YAGO_NUMBERS),
        _numbers,
        entities=2180,
    ),
)

_CARD = DatasetCard(
    name="mkg-w",
    title="MKG-W",
    aliases=("mkgw", "mkg_w"),
    folder="MKG-W",
    description="part of Wikidata with images and descriptions; splits without repeats or overlap",
    files=native_files("MKG-W") + _NAME_FILES,
    feature_sources=_PUBLIC.sources,
    counts={"entities": 15000, "relations": 169, "train": 34196, "valid": 4276, "test": 4274},
    modality_counts={"image": 14463, "text": 14123},
    leaked={"valid": 216, "test": 199},
    clean=CleanCard(
        digest="b541b0862e1a35cd",
        counts={"entities": 15000, "relations": 169, "train": 33781, "valid": 4276, "test": 4274},
    ),
    feature_leaks=feature_leaks("mkg-w"),
    licence=(
        f"triples: {NATIVE_LICENCE}; Wikidata, which they are from, is CC0 1.0; "
        "names: from DBpedia (CC BY-SA 3.0), in a repository under the MIT licence"
    ),
    citation=(
        "D. Xu, T. Xu, S. Wu, J. Zhou, E. Chen: Relation-enhanced Negative Sampling for Multimodal "
        "Knowledge Graph Completion. Proceedings of the 30th ACM International Conference on "
        "Multimedia, 2022, pp. 3857-3866."
    ),
    source=f"{NATIVE}, benchmarks/MKG-W/; names: {_NAMES_REPOSITORY}, data/MKG-W/",
    notes=(
        "216 of 4276 valid rows are implied by train through symmetric (66), inverse (150) "
        "relations.",
        "199 of 4274 test rows are implied by train through symmetric (57), inverse (142) "
        "relations.",
        "306 of 4274 test rows hold an entity or relation that train does not.",
    ),
)


class MkgW(PublishedSource):
    """MKG-W; identifiers are Wikidata's, names are in separate files.

    ``ent_links.txt`` pairs DBpedia and Wikidata addresses, ``rel_links.txt`` has a name per
    relation id. Tables ``id<TAB>name`` (``entity2name.tsv``, ``relation2name.tsv``) are read if
    these are absent. Both give the same names.
    """

    card = _CARD
    public = _PUBLIC

    def entity_names(self, folder: Path, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return DBpedia's names; () without the files of names."""
        links = folder / "ent_links.txt"
        if not links.is_file():
            return _read_table(folder / "entity2name.tsv", len(entities))
        names: dict[str, str] = {}
        for number, line in enumerate(read_lines(links), 1):
            fields = line.split("\t")
            if len(fields) != 2:
                raise DataError(f"{links}:{number}: need 'DBpedia<TAB>Wikidata', got {line!r}")
            names[fields[1]] = name_of(fields[0])
        return tuple(names.get(entity, "") for entity in entities)

    def relation_names(self, folder: Path, relations: tuple[str, ...]) -> tuple[str, ...]:
        """Return Wikidata's English labels; () without the files of names."""
        labels = folder / "rel_links.txt"
        if not labels.is_file():
            return _read_table(folder / "relation2name.tsv", len(relations))
        names = tuple(read_lines(labels))
        if len(names) != len(relations):
            raise DataError(
                f"{labels}: need a name for each of {len(relations)} relations, got {len(names)}"
            )
        return names


def _read_table(path: Path, size: int) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    names: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        number_field, tab, name = line.partition("\t")
        if not tab or number_field != str(number - 1):
            raise DataError(f"{path}:{number}: need '{number - 1}<TAB>name', got {line!r}")
        names.append(name_of(name))
    if len(names) != size:
        raise DataError(f"{path}: need a name for each of {size} ids, got {len(names)}")
    return tuple(names)


DATASETS.register(_CARD.name)(MkgW())
