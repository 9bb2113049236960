"""MKG-Y: a part of YAGO with images and descriptions."""

from __future__ import annotations

from harness.data.card import DATASETS, CleanCard, DatasetCard, feature_leaks
from harness.data.graph import KnowledgeGraph
from harness.data.public import joins, originals
from harness.data.public.joins import Description
from harness.data.public.sets import Join, PublicFeatures, VisualTokens
from harness.data.published import NATIVE, NATIVE_LICENCE, PublishedSource, native_files

(_SUMMARIES,) = originals.ORIGINALS["mkg-y-summaries"]
(_SUMMARY_NAMES,) = originals.ORIGINALS["mkg-y-summary-names"]


def _descriptions(graph: KnowledgeGraph) -> list[Description]:
    """Join by YAGO's name, which is DBpedia's, and the Q-id of that name.

    The rows of the summaries are in the order of the dataset's ids.
    """
    entities = joins.freebase_entities(originals.FREEBASE_WIKIDATA)
    short = joins.descriptions_by_wikidata_id(originals.WIKIDATA_DESCRIPTIONS, entities)
    links = joins.linked_entities(originals.MKG_W_LINKS)
    ids = joins.wikidata_by_dbpedia(originals.WIKIDATA_DBPEDIA, entities, links)
    summaries = joins.image_summaries(_SUMMARIES, _SUMMARY_NAMES)
    return [
        Description(short=short.get(ids.get(entity, ""), ""), summary=summary)
        for entity, summary in zip(
            graph.entities, joins.aligned(summaries, graph.n_entities, _SUMMARIES), strict=True
        )
    ]


def _numbers(graph: KnowledgeGraph) -> list[dict[str, float]]:
    """Join DBpedia's and YAGO's literals by the entity's name."""
    return joins.numbers_by_name(graph.entities, joins.both_numbers())


def _visual_tokens(graph: KnowledgeGraph) -> VisualTokens:
    """Join STI-RF's tokens by the entity's name; unknown entities have none."""
    rows = joins.read_pickle(originals.TOKEN_ENTITIES)
    first = joins.read_pickle(originals.TOKEN_FIRST)
    further = joins.read_pickle(originals.TOKEN_OTHERS)
    ids = [rows.get(entity) for entity in graph.entities]
    lists = [[] if row is None else [first[row], *further[row]] for row in ids]
    return VisualTokens(lists, originals.MYGO_CODEBOOK)


_PUBLIC = PublicFeatures(
    descriptions=Join(
        (
            _SUMMARIES,
            _SUMMARY_NAMES,
            originals.WIKIDATA_DESCRIPTIONS,
            originals.FREEBASE_WIKIDATA,
            originals.WIKIDATA_DBPEDIA,
            originals.MKG_W_LINKS,
        ),
        _descriptions,
        entities=14483,
    ),
    numbers=Join((originals.DBPEDIA_NUMBERS, originals.YAGO_NUMBERS), _numbers, entities=1596),
    visual_tokens=Join(
        (
            originals.TOKEN_ENTITIES,
            originals.TOKEN_FIRST,
            originals.TOKEN_OTHERS,
            originals.MYGO_CODEBOOK,
        ),
        _visual_tokens,
        entities=15000,
    ),
)

_CARD = DatasetCard(
    name="mkg-y",
    title="MKG-Y",
    aliases=("mkgy", "mkg_y"),
    folder="MKG-Y",
    description="part of YAGO with images and descriptions; splits without repeats or overlap",
    files=native_files("MKG-Y"),
    feature_sources=_PUBLIC.sources,
    counts={"entities": 15000, "relations": 28, "train": 21310, "valid": 2665, "test": 2663},
    modality_counts={"image": 14244, "text": 12305},
    leaked={"valid": 565, "test": 617},
    clean=CleanCard(
        digest="d71237973948de50",
        counts={"entities": 15000, "relations": 28, "train": 20128, "valid": 2665, "test": 2663},
    ),
    feature_leaks=feature_leaks("mkg-y"),
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
    public = _PUBLIC


DATASETS.register(_CARD.name)(MkgY())
