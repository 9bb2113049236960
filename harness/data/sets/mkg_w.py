"""MKG-W: a part of Wikidata with images and descriptions."""

from __future__ import annotations

from pathlib import Path

from harness.data.card import DATASETS, CleanCard, DatasetCard, FeatureLeak, FileCard
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

_FILES = native_files(
    "MKG-W",
    {
        "entity2id.txt": "d94b546efcb535d8253821626dd32f3ee876b2f263b727a4a446bc74697785df",
        "relation2id.txt": "204203e03a92d4f973ee815449695bcfaae1b6917fcb08b65f3b0fb071a47f61",
        "train2id.txt": "a9f316506a20a7b5bef7de3ceaaa1e82de554b8e92e6aa26e7cb54bcd8ada53d",
        "valid2id.txt": "34dd556893b8e4832600298864dbd18012529a1f172793c21e45ad7bdee9d189",
        "test2id.txt": "0e1294b1f95c8ef80ad422aeefafea321d16c1d127570e6bb566882b2e053989",
    },
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

_SUMMARIES = originals.ficha(
    "MKG_W",
    "entityid2mm_description-setting_3-concate-0.txt",
    "456906cadf895710a165d5c2fa83e2f8b6447e727f6173f3882c524b554955ef",
    2332176,
)
_SUMMARY_NAMES = originals.ficha(
    "MKG_W",
    "entityid2name.txt",
    "10f69ebaf1fadec8bb30783fcdfafe64a2b16eb36db72b80d2ecf9b87fd2dfa3",
    365208,
)


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
    files=_FILES + _NAME_FILES,
    feature_sources=_PUBLIC.sources,
    counts={"entities": 15000, "relations": 169, "train": 34196, "valid": 4276, "test": 4274},
    modality_counts={"image": 14463, "text": 14123},
    leaked={"valid": 216, "test": 199},
    clean=CleanCard(
        digest="b541b0862e1a35cd",
        counts={"entities": 15000, "relations": 169, "train": 33781, "valid": 4276, "test": 4274},
    ),
    feature_leaks={
        "names": {
            "text": FeatureLeak(rows={"valid": 239, "test": 239}),
            "text vectors": FeatureLeak(rows={"valid": 462, "test": 485}),
        },
        "hashed-names": {
            "text": FeatureLeak(rows={"valid": 239, "test": 239}),
        },
        "name-tokens": {
            "text": FeatureLeak(rows={"valid": 239, "test": 239}),
        },
        "use-names": {
            "text": FeatureLeak(rows={"valid": 239, "test": 239}),
        },
        "descriptions": {
            "text": FeatureLeak(rows={"valid": 664, "test": 688}),
            "text vectors": FeatureLeak(rows={"valid": 461, "test": 460}),
        },
        "numeric": {},
        "public": {
            "text": FeatureLeak(rows={"valid": 695, "test": 716}),
            "text vectors": FeatureLeak(rows={"valid": 494, "test": 577}),
        },
        "public-tokens": {
            "text": FeatureLeak(rows={"valid": 695, "test": 716}),
        },
    },
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
    """MKG-W; identifiers are Wikidata's, names are in files of their own.

    ``ent_links.txt`` pairs DBpedia and Wikidata addresses, ``rel_links.txt`` holds a name per
    relation id. Tables ``id<TAB>name`` (``entity2name.tsv``, ``relation2name.tsv``) are taken when
    these are absent. Both ways give the same names.
    """

    card = _CARD
    public = _PUBLIC

    def entity_names(self, folder: Path, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return DBpedia's names; an empty tuple when the files of names are absent."""
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
        """Return Wikidata's English labels; an empty tuple when the files are absent."""
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
        place, found, name = line.partition("\t")
        if not found or place != str(number - 1):
            raise DataError(f"{path}:{number}: need '{number - 1}<TAB>name', got {line!r}")
        names.append(name_of(name))
    if len(names) != size:
        raise DataError(f"{path}: need a name for each of {size} ids, got {len(names)}")
    return tuple(names)


DATASETS.register(_CARD.name)(MkgW())
