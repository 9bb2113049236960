"""MKG-Y: a part of YAGO with images and descriptions."""

from __future__ import annotations

from harness.data.card import DATASETS, CleanCard, DatasetCard, FeatureLeak
from harness.data.published import NATIVE, NATIVE_LICENCE, PublishedSource, native_files

_FILES = native_files(
    "MKG-Y",
    {
        "entity2id.txt": "416f6f77c13d0cf0c5cae9625a62b9f7d26320c27ae408f5ce4e7eae3206b8d9",
        "relation2id.txt": "78d468edc02688f742c9b5a1030a071789ab24784dd2e48897643fe108ff4e4d",
        "train2id.txt": "71310c2c274e5ba2ce550433ef5c8496920bd03f50fd6057e64fc9c34e1e1aac",
        "valid2id.txt": "6c82db2d2b809aabf72f94bc19be3080b53ffba1caec12b81510354a7fe3470e",
        "test2id.txt": "8602cbbe7e3aef2c857df66eec5f7e4a2d6b02b19f58feff085688fb28980158",
    },
)

_CARD = DatasetCard(
    name="mkg-y",
    title="MKG-Y",
    aliases=("mkgy", "mkg_y"),
    folder="MKG-Y",
    description="part of YAGO with images and descriptions; splits without repeats or overlap",
    files=_FILES,
    counts={"entities": 15000, "relations": 28, "train": 21310, "valid": 2665, "test": 2663},
    modality_counts={"image": 14244, "text": 12305},
    leaked={"valid": 565, "test": 617},
    clean=CleanCard(
        digest="d71237973948de50",
        counts={"entities": 15000, "relations": 28, "train": 20128, "valid": 2665, "test": 2663},
    ),
    feature_leaks={
        "names": {
            "text": FeatureLeak(rows={"valid": 30, "test": 41}),
        },
        "hashed-names": {
            "text": FeatureLeak(rows={"valid": 30, "test": 41}),
        },
        "name-tokens": {
            "text": FeatureLeak(rows={"valid": 30, "test": 41}),
        },
    },
    licence=f"triples: {NATIVE_LICENCE}; YAGO, which they are from, is CC BY",
    citation=(
        "D. Xu, T. Xu, S. Wu, J. Zhou, E. Chen: Relation-enhanced Negative Sampling for Multimodal "
        "Knowledge Graph Completion. Proceedings of the 30th ACM International Conference on "
        "Multimedia, 2022, pp. 3857-3866."
    ),
    source=f"{NATIVE}, benchmarks/MKG-Y/",
    notes=(
        "565 of 2665 valid rows are implied by train through symmetric (39), duplicate (526) "
        "relations.",
        "617 of 2663 test rows are implied by train through symmetric (36), duplicate (581) "
        "relations.",
        "388 of 2663 test rows hold an entity or relation that train does not.",
    ),
)


class MkgY(PublishedSource):
    """MKG-Y; entity names are YAGO's identifiers with spaces."""

    card = _CARD


DATASETS.register(_CARD.name)(MkgY())
