"""Original files of the public feature sets, as pinned in ``originals.tsv``.

A row of the table is one file: repository (or package), commit (or version), path, bytes, sha256
and licence. FICHA, which has summaries of the entities' images, is ``mhd0528/LLM_MMKC-pub``; MMKG,
which has DB15K and YAGO15K, is ``mniepert/mmkb``.
"""

from __future__ import annotations

from collections import defaultdict

from harness.data.card import FeatureSource
from harness.data.parsing import read_packaged

__all__ = [
    "CEDICT",
    "CEDICT_TABLE",
    "DBPEDIA_NUMBERS",
    "FREEBASE_WIKIDATA",
    "GCIDE",
    "GLOSS_TABLE",
    "MKG_W_LINKS",
    "MYGO_CODEBOOK",
    "ORIGINALS",
    "SAME_AS",
    "TOKEN_ENTITIES",
    "TOKEN_FIRST",
    "TOKEN_OTHERS",
    "WIKIDATA_DBPEDIA",
    "WIKIDATA_DESCRIPTIONS",
    "WIKTIONARY",
    "WORDNET",
    "YAGO_NUMBERS",
]


def _read() -> dict[str, tuple[FeatureSource, ...]]:
    files: dict[str, list[FeatureSource]] = defaultdict(list)
    for row in read_packaged("public/originals.tsv"):
        files[row.pop("name")].append(FeatureSource.model_validate(row))
    return {name: tuple(sources) for name, sources in files.items()}


ORIGINALS = _read()
"""Name in the table -> files; the dictionaries have several."""

(WIKIDATA_DESCRIPTIONS,) = ORIGINALS["wikidata-descriptions"]
"""``Q-id<TAB>short description``."""

(FREEBASE_WIKIDATA,) = ORIGINALS["freebase-wikidata"]
"""Freebase id -> Wikidata id, label, short description, English Wikipedia address."""

(WIKIDATA_DBPEDIA,) = ORIGINALS["wikidata-dbpedia"]
"""``entity,dbpedia``: Q-id and the last part of a DBpedia address."""

(MKG_W_LINKS,) = ORIGINALS["mkg-w-links"]
"""``DBpedia address<TAB>Wikidata address`` of the entities of MKG-W."""

(SAME_AS,) = ORIGINALS["same-as"]
"""``<Freebase id> <SameAs> <DBpedia address> .``"""

(DBPEDIA_NUMBERS,) = ORIGINALS["dbpedia-numbers"]
"""``last part of a DBpedia address<TAB>attribute<TAB>number or date``."""

(YAGO_NUMBERS,) = ORIGINALS["yago-numbers"]
"""``<entity><TAB><attribute><TAB>number``; dates are years with month and day as decimals."""

(MYGO_CODEBOOK,) = ORIGINALS["mygo-codebook"]
"""Codebook of the visual tokens, 8193 x 32 float32."""

(TOKEN_ENTITIES,) = ORIGINALS["token-entities"]
"""Entity of MKG-Y -> row of the lists of visual tokens."""

(TOKEN_FIRST,) = ORIGINALS["token-first"]
"""First visual token of each row."""

(TOKEN_OTHERS,) = ORIGINALS["token-others"]
"""The twelve other visual tokens of each row."""

(CEDICT,) = ORIGINALS["cedict"]
"""Lines of CC-CEDICT, ``traditional simplified [pinyin] /meaning/meaning/``, as a pickled list."""

(CEDICT_TABLE,) = ORIGINALS["cedict-table"]
"""``id name english_gloss``: the join of CC-CEDICT to the entities of KVC16K."""

(GLOSS_TABLE,) = ORIGINALS["gloss-table"]
"""``id name source pos context_labels gloss``: the join of three dictionaries to those of TIVA."""

WIKTIONARY = ORIGINALS["wiktionary"]
"""Words of TIVA in Wiktionary, JSON files by their first two letters."""

WORDNET = ORIGINALS["wordnet"]
"""WordNet 3.1: ``data`` and ``index`` of each part of speech."""

GCIDE = ORIGINALS["gcide"]
"""Words of TIVA in GCIDE, JSON files by their first letter; only an installed package has them."""
