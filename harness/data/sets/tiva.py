"""TIVA: a part of TIVA-KG with text, images, video and audio."""

from __future__ import annotations

from pathlib import Path

from harness.data.card import DATASETS, CleanCard, DatasetCard, feature_leaks
from harness.data.public import dictionaries, originals
from harness.data.public.sets import Join, PublicFeatures
from harness.data.published import NATIVE, NATIVE_LICENCE, PublishedSource, native_files

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
    files=native_files("TIVA"),
    feature_sources=_PUBLIC.sources,
    counts={"entities": 11858, "relations": 16, "train": 20071, "valid": 2000, "test": 2000},
    modality_counts={"image": 11636, "text": 11858, "audio": 2441, "video": 10269},
    leaked={"valid": 1676, "test": 1666},
    lookalikes={"case": 3},
    clean=CleanCard(
        digest="db573fbda3f0cb44",
        counts={"entities": 11858, "relations": 16, "train": 8312, "valid": 1759, "test": 1906},
    ),
    feature_leaks=feature_leaks("tiva"),
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
    """TIVA; entities are identified by their names, relations by numbers."""

    card = _CARD
    public = _PUBLIC

    def entity_names(self, folder: Path, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the identifiers, which are English words and phrases."""
        return entities

    def relation_names(self, folder: Path, relations: tuple[str, ...]) -> tuple[str, ...]:
        """Return (): relations are bare integers in the files."""
        return ()


DATASETS.register(_CARD.name)(Tiva())
