"""TIVA: a part of TIVA-KG with text, images, video and audio."""

from __future__ import annotations

from pathlib import Path

from harness.data.card import DATASETS, CleanCard, DatasetCard, FeatureLeak
from harness.data.public import dictionaries, originals
from harness.data.public.sets import Join, PublicFeatures
from harness.data.published import NATIVE, NATIVE_LICENCE, PublishedSource, native_files

_FILES = native_files(
    "TIVA",
    {
        "entity2id.txt": "c8c8fb60629c05fef41689d96eefec0899e52f81c702c0ac63b32bfdca1c5cf0",
        "relation2id.txt": "b53b33fa69a4a9e1c576e4d0967a36f44f5674e2ce3212f91afaac6fbe0e40de",
        "train2id.txt": "af1a3772d3bb33f792c9f8f17a841c40f20311ab7c085de2dd3cd04c09abd6bd",
        "valid2id.txt": "04c769b2adbad63e1b83da1654b59524b6098262bb32e31c331b7bfd2432fc44",
        "test2id.txt": "b656c7080fcceaf09fcd338e94a5c62a8dd05bbd9f28ee47b129ce78d14a2ee5",
    },
)

_PUBLIC = PublicFeatures(
    glosses=Join(
        (*originals.WIKTIONARY, *originals.WORDNET, *originals.GCIDE),
        dictionaries.glosses,
        entities=5283,
        table=originals.GLOSS_TABLE,
        read_table=dictionaries.gloss_table,
    ),
)

_CARD = DatasetCard(
    name="tiva",
    title="TIVA",
    aliases=("tiva-kg",),
    folder="TIVA",
    description="concepts with text, images, video, audio; most test rows stand in train",
    files=_FILES,
    feature_sources=_PUBLIC.sources,
    counts={"entities": 11858, "relations": 16, "train": 20071, "valid": 2000, "test": 2000},
    modality_counts={"image": 11636, "text": 11858, "audio": 2441, "video": 10269},
    leaked={"valid": 1676, "test": 1666},
    lookalikes={"case": 3},
    clean=CleanCard(
        digest="db573fbda3f0cb44",
        counts={"entities": 11858, "relations": 16, "train": 8312, "valid": 1759, "test": 1906},
    ),
    feature_leaks={
        "names": {
            "text": FeatureLeak(rows={"valid": 5, "test": 7}),
        },
        "hashed-names": {
            "text": FeatureLeak(rows={"valid": 5, "test": 7}),
        },
        "name-tokens": {
            "text": FeatureLeak(rows={"valid": 5, "test": 7}),
        },
        "use-names": {
            "text": FeatureLeak(rows={"valid": 5, "test": 7}),
        },
        "glosses": {
            "text": FeatureLeak(rows={"valid": 24, "test": 24}),
        },
        "public": {
            "text": FeatureLeak(rows={"valid": 27, "test": 28}),
        },
        "public-tokens": {
            "text": FeatureLeak(rows={"valid": 27, "test": 28}),
        },
    },
    licence=f"triples: {NATIVE_LICENCE}",
    citation=(
        "X. Wang, B. Meng, H. Chen, Y. Meng, K. Lv, W. Zhu: TIVA-KG: A Multimodal Knowledge Graph "
        "with Text, Image, Video and Audio. Proceedings of the 31st ACM International Conference "
        "on Multimedia, 2023, pp. 2391-2399."
    ),
    source=f"{NATIVE}, benchmarks/TIVA/",
    notes=(
        "1666 of 2000 test rows stand in train: looking them up beats most models, so compare with "
        "the baseline `lookup`.",
        "1676 of 2000 valid rows stand in train: early stopping on valid selects for memorisation.",
        "8419 train rows repeat an earlier one.",
        "87 valid rows repeat an earlier one.",
        "94 test rows repeat an earlier one.",
        "156 of 2000 test rows stand in valid.",
        "326 of 2000 test rows hold an entity or relation that train does not.",
    ),
)


class Tiva(PublishedSource):
    """TIVA; the files hold the names of entities and number the relations."""

    card = _CARD
    public = _PUBLIC

    def entity_names(self, folder: Path, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the identifiers: they are English words and phrases."""
        return entities

    def relation_names(self, folder: Path, relations: tuple[str, ...]) -> tuple[str, ...]:
        """Return nothing: the files call relations by bare integers."""
        return ()


DATASETS.register(_CARD.name)(Tiva())
