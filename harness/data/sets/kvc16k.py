"""KVC16K: a part of Kuaipedia with text, images, audio and video."""

from __future__ import annotations

from pathlib import Path

from harness.data.card import DATASETS, CleanCard, DatasetCard, feature_leaks
from harness.data.public import dictionaries, originals
from harness.data.public.sets import Join, PublicFeatures
from harness.data.published import NATIVE, NATIVE_LICENCE, PublishedSource, native_files

_PUBLIC = PublicFeatures(
    glosses=Join(
        (originals.CEDICT,),
        dictionaries.cedict,
        entities=8058,
        table=originals.CEDICT_TABLE,
        read_table=dictionaries.cedict_table,
    ),
)

_CARD = DatasetCard(
    name="kvc16k",
    title="KVC16K",
    aliases=("kuai16k", "kvc-16k"),
    folder="Kuai16K",
    description="part of a Chinese short-video encyclopedia with text, images, audio, video",
    files=native_files("Kuai16K"),
    feature_sources=_PUBLIC.sources,
    counts={"entities": 16015, "relations": 4, "train": 180190, "valid": 22523, "test": 22525},
    modality_counts={"image": 14822, "text": 14822, "audio": 14822, "video": 14822},
    leaked={"valid": 30, "test": 48},
    clean=CleanCard(
        digest="dd79ef72b77f338f",
        counts={"entities": 16015, "relations": 4, "train": 179941, "valid": 22515, "test": 22523},
    ),
    feature_leaks=feature_leaks("kvc16k"),
    licence=f"triples: {NATIVE_LICENCE}; Kuaipedia, which they are from, declares none either",
    citation=(
        "H. Pan, Z. Zhai, Y. Zhang, R. Fu, M. Liu, Y. Song, Z. Wang, B. Qin: Kuaipedia: a "
        "Large-scale Multi-modal Short-video Encyclopedia. arXiv:2211.00732, 2022."
    ),
    source=f"{NATIVE}, benchmarks/Kuai16K/",
    notes=(
        "171 train rows repeat an earlier one.",
        "30 of 22523 valid rows stand in train.",
        "48 of 22525 test rows stand in train.",
        "13 of 22525 test rows hold an entity or relation that train does not.",
    ),
)


class Kvc16k(PublishedSource):
    """KVC16K; entities have Chinese names, relations are numbered."""

    card = _CARD
    public = _PUBLIC

    def entity_names(self, folder: Path, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the identifiers, which are Chinese names."""
        return entities

    def relation_names(self, folder: Path, relations: tuple[str, ...]) -> tuple[str, ...]:
        """Return (): relations are bare integers in the files."""
        return ()


DATASETS.register(_CARD.name)(Kvc16k())
