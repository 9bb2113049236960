"""DB15K: a part of DBpedia with images, descriptions and numeric attributes."""

from __future__ import annotations

from harness.data.card import DATASETS, CleanCard, DatasetCard, feature_leaks
from harness.data.graph import KnowledgeGraph
from harness.data.public import joins, originals
from harness.data.public.joins import Description
from harness.data.public.sets import Join, PublicFeatures
from harness.data.published import NATIVE, NATIVE_LICENCE, PublishedSource, native_files

(_SUMMARIES,) = originals.ORIGINALS["db15k-summaries"]
(_SUMMARY_NAMES,) = originals.ORIGINALS["db15k-summary-names"]
(_SUMMARY_IDS,) = originals.ORIGINALS["db15k-summary-ids"]


def _descriptions(graph: KnowledgeGraph) -> list[Description]:
    """Join DBpedia's name -> Freebase id -> label, Q-id and summary."""
    keys = [joins.dbpedia_key(entity) for entity in graph.entities]
    freebase = joins.same_as(originals.SAME_AS)
    entities = joins.freebase_entities(originals.FREEBASE_WIKIDATA)
    by_name = joins.wikidata_by_dbpedia(originals.WIKIDATA_DBPEDIA, {}, {})
    table = joins.wikidata_descriptions(originals.WIKIDATA_DESCRIPTIONS)
    rows = joins.freebase_rows(_SUMMARY_IDS)
    summaries = joins.image_summaries(_SUMMARIES, _SUMMARY_NAMES)
    described = []
    for key in keys:
        freebase_id = freebase.get(key, "")
        entity = entities.get(freebase_id, {})
        wikidata_id = entity.get("wikidata_id") or by_name.get(key, "")
        row = rows.get(freebase_id)
        described.append(
            Description(
                label=joins.plain(entity.get("label")),
                short=joins.plain(entity.get("description")) or table.get(wikidata_id, ""),
                summary="" if row is None else summaries[row],
            )
        )
    return described


def _numbers(graph: KnowledgeGraph) -> list[dict[str, float]]:
    """Join DBpedia's literals by name."""
    keys = [joins.dbpedia_key(entity) for entity in graph.entities]
    return joins.numbers_by_name(keys, joins.dbpedia_numbers(originals.DBPEDIA_NUMBERS))


_PUBLIC = PublicFeatures(
    descriptions=Join(
        (
            _SUMMARIES,
            _SUMMARY_NAMES,
            _SUMMARY_IDS,
            originals.SAME_AS,
            originals.FREEBASE_WIKIDATA,
            originals.WIKIDATA_DESCRIPTIONS,
            originals.WIKIDATA_DBPEDIA,
        ),
        _descriptions,
        entities=12652,
    ),
    numbers=Join((originals.DBPEDIA_NUMBERS,), _numbers, entities=10947),
)

_CARD = DatasetCard(
    name="db15k",
    title="DB15K",
    aliases=("db-15k",),
    folder="DB15K",
    description="part of DBpedia with images, descriptions and numeric attributes",
    files=native_files("DB15K"),
    feature_sources=_PUBLIC.sources,
    counts={"entities": 12842, "relations": 279, "train": 79222, "valid": 9904, "test": 9902},
    misprinted={"valid": 9902, "test": 9904},
    modality_counts={"image": 12818, "text": 9078, "numeric": 11022},
    leaked={"valid": 8845, "test": 510},
    clean=CleanCard(
        digest="f43985798405d6c6",
        counts={"entities": 12842, "relations": 279, "train": 72095, "valid": 6657, "test": 9902},
    ),
    feature_leaks=feature_leaks("db15k"),
    licence=(
        f"triples: {NATIVE_LICENCE}; DBpedia, which they are from, is CC BY-SA 3.0; the MMKG "
        "repository, which selected them, is under the 3-clause BSD licence"
    ),
    citation=(
        "Y. Liu, H. Li, A. Garcia-Duran, M. Niepert, D. Onoro-Rubio, D. S. Rosenblum: MMKG: "
        "Multi-modal Knowledge Graphs. The Semantic Web, 16th International Conference (ESWC), "
        "2019, pp. 459-474."
    ),
    source=f"{NATIVE}, benchmarks/DB15K/",
    notes=(
        "The paper's Table 1 prints the counts of valid and test swapped; the files hold 9904 and "
        "9902 rows.",
        "8719 of 9904 valid rows stand in train: early stopping on valid selects for memorisation.",
        "2423 valid rows repeat an earlier one.",
        "126 of 9904 valid rows are implied by train through duplicate (126) relations.",
        "510 of 9902 test rows are implied by train through symmetric (3), inverse (18), "
        "duplicate (489) relations.",
        "824 of 9902 test rows stand in valid.",
        "84 of 9902 test rows hold an entity or relation that train does not.",
    ),
)


class Db15k(PublishedSource):
    """DB15K; names are the last part of the DBpedia addresses."""

    card = _CARD
    public = _PUBLIC


DATASETS.register(_CARD.name)(Db15k())
