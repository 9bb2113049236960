"""Dictionary entries, joined to entities by the headword.

Context labels in front of an entry of Wiktionary, "(organic compound)", are separated from it: in
TIVA they are the answers of a relation, so no feature set includes them.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from harness.data.acquire import store_source
from harness.data.card import FeatureSource
from harness.data.graph import KnowledgeGraph
from harness.data.public import originals
from harness.data.public.joins import plain, read_pickle, rows_of
from harness.data.sources import read_source
from harness.errors import DataError

__all__ = ["Sense", "cedict", "cedict_table", "entries", "gloss_table", "glosses"]

_TAG = re.compile(r"<[^>]+>")
_LABELS = re.compile(r"((?:\([^()]*\)\s*)+)(.*)")
_CEDICT_LINE = re.compile(r"(\S+) (\S+) \[.*?\] /(.*?)/?\s*")
_PINYIN = re.compile(r"\[[A-Za-z0-9:, ]+\]")
_PARTS_OF_SPEECH = "noun", "verb", "adj", "adv"


class Sense(NamedTuple):
    """One sense of a headword.

    Attributes:
        source: "wiktionary", "wordnet31" or "gcide".
        pos: part of speech, in the source's spelling.
        labels: context labels of Wiktionary, in parentheses.
        gloss: definition without context labels.
    """

    source: str
    pos: str
    labels: str
    gloss: str


def entries(graph: KnowledgeGraph) -> list[list[Sense]]:
    """Return each entity's entries, from the original files of three dictionaries."""
    wiktionary = _wiktionary(graph.entities)
    wordnet = [_wordnet(pos) for pos in _PARTS_OF_SPEECH]
    gcide = _gcide({entity.lower() for entity in graph.entities})
    return [
        [
            *wiktionary.get(entity, wiktionary.get(entity.lower(), ())),
            *(e for synsets in wordnet for e in synsets.get(entity.lower().replace(" ", "_"), ())),
            *gcide.get(entity.lower(), ()),
        ]
        for entity in graph.entities
    ]


def glosses(graph: KnowledgeGraph) -> list[tuple[str, ...]]:
    """Return each entity's definitions without context labels.

    The joined table is stored, because reading the originals is slow.
    """
    senses = entries(graph)
    rows = [
        (str(i), graph.entities[i], *entry)
        for i, senses_of_entity in enumerate(senses)
        for entry in senses_of_entity
    ]
    header = "id", "name", "source", "pos", "context_labels", "gloss"
    _store(originals.GLOSS_TABLE, [header, *rows])
    return [_glosses_of(entry.gloss for entry in senses_of_entity) for senses_of_entity in senses]


def gloss_table(graph: KnowledgeGraph) -> list[tuple[str, ...]]:
    """Return the same from the joined table."""
    rows: dict[int, list[str]] = defaultdict(list)
    for entity, name, _, _, _, gloss in islice(rows_of(originals.GLOSS_TABLE, 6), 1, None):
        rows[_entity(originals.GLOSS_TABLE, graph, entity, name)].append(gloss)
    return [_glosses_of(rows.get(i, ())) for i in range(graph.n_entities)]


def cedict(graph: KnowledgeGraph) -> list[tuple[str, ...]]:
    """Return each entity's meanings in CC-CEDICT, by its simplified or traditional headword."""
    meanings = cedict_glosses(graph.entities)
    rows = [(str(i), graph.entities[i], gloss) for i, gloss in enumerate(meanings) if gloss]
    _store(originals.CEDICT_TABLE, [("id", "name", "english_gloss"), *rows])
    return [_meanings(gloss) for gloss in meanings]


def cedict_table(graph: KnowledgeGraph) -> list[tuple[str, ...]]:
    """Return the same from the joined table."""
    rows = {
        _entity(originals.CEDICT_TABLE, graph, entity, name): gloss
        for entity, name, gloss in islice(rows_of(originals.CEDICT_TABLE, 3), 1, None)
    }
    return [_meanings(rows.get(i, "")) for i in range(graph.n_entities)]


def cedict_glosses(names: Sequence[str]) -> list[str]:
    """Return the meanings of headwords in CC-CEDICT, "" for unknown ones.

    Slashes separate meanings, " ; " separates the pronunciations of a headword.
    """
    headwords = set(names)
    meanings: dict[str, dict[str, None]] = defaultdict(dict)
    for line in read_pickle(originals.CEDICT):
        fields = _CEDICT_LINE.fullmatch(line)
        if fields is None:
            raise DataError(f"{originals.CEDICT.location}: is no entry: {line[:80]!r}")
        for headword in {fields[1], fields[2]} & headwords:
            meanings[headword][fields[3]] = None
    return [" ; ".join(meanings.get(name, ())) for name in names]


def _store(table: FeatureSource, rows: Iterable[Sequence[str]]) -> None:
    """Store a joined table in the cache if it is the pinned one."""
    content = "".join("\t".join(row) + "\n" for row in rows).encode()
    if hashlib.sha256(content).hexdigest() == table.sha256:
        store_source(table, content)


def _meanings(gloss: str) -> tuple[str, ...]:
    """Return CC-CEDICT's meanings as one text, without pronunciations."""
    text = plain(_PINYIN.sub("", gloss).replace(" ; ", "; ").replace("/", "; "))
    return (text,) if text else ()


def _glosses_of(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))


def _entity(source: FeatureSource, graph: KnowledgeGraph, entity: str, name: str) -> int:
    """Return the entity of a row after a check of its name."""
    if not entity.isdecimal() or int(entity) >= graph.n_entities:
        raise DataError(f"{source.location}: no entity has the id {entity!r}")
    if graph.entities[int(entity)] != name:
        raise DataError(
            f"{source.location}: entity {entity} is {graph.entities[int(entity)]!r}, not {name!r}"
        )
    return int(entity)


def _wiktionary(names: Sequence[str]) -> Mapping[str, list[Sense]]:
    spellings = {spelling for name in names for spelling in (name, name.lower())}
    senses: dict[str, list[Sense]] = {}
    for source in originals.WIKTIONARY:
        for word, content in _json(source).items():
            if word in spellings:
                senses[word] = [
                    Sense("wiktionary", section["partOfSpeech"], *_parted(sense["sense"]))
                    for etymology in content["etymologies"]
                    for section in etymology["partsOfSpeech"]
                    for sense in section["senses"]
                ]
    return senses


def _parted(sense: str) -> tuple[str, str]:
    """Return the context labels of a sense, and its definition."""
    text = _clean(sense)
    match = _LABELS.fullmatch(text)
    return (match[1].strip(), match[2].strip()) if match else ("", text)


def _wordnet(pos: str) -> Mapping[str, list[Sense]]:
    """Read headword -> glosses of its synsets, the most frequent first."""
    data, index = (
        [line for line in _lines(kind, pos) if line and not line.startswith("  ")]
        for kind in ("data", "index")
    )
    gloss = {line.partition(" ")[0]: plain(line.partition(" | ")[2]) for line in data}
    senses = {}
    for line in index:
        fields = line.split()
        synsets = fields[-int(fields[2]) :]
        senses[fields[0]] = [Sense("wordnet31", pos, "", gloss[synset]) for synset in synsets]
    return senses


def _lines(kind: str, pos: str) -> list[str]:
    source = next(s for s in originals.WORDNET if s.path == f"dict/{kind}.{pos}")
    return read_source(source).decode().split("\n")


def _gcide(names: set[str]) -> Mapping[str, list[Sense]]:
    senses: dict[str, list[Sense]] = {}
    for source in originals.GCIDE:
        for word, content in _json(source).items():
            if word in names and word not in senses:
                texts = (d["text"] for section in content["pos"] for d in section["definitions"])
                senses[word] = [Sense("gcide", "", "", t) for t in map(_clean, texts) if t]
    return senses


def _clean(text: str) -> str:
    return plain(html.unescape(_TAG.sub("", text)))


def _json(source: FeatureSource) -> dict[str, Any]:
    content = json.loads(read_source(source))
    if not isinstance(content, dict):
        raise DataError(f"{source.location}: need an object that maps words to entries")
    return content
