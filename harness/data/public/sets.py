"""Feature tables of the public feature sets, and their texts.

The composition of an entity's text is part of every run's identity, so it must not change: name,
label (unless the name contains it), short description, summary of its images or dictionary entries,
in this order, joined by ". ", or by a single space after a part that already ends a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.card import FeatureSource
from harness.data.encoders import ENCODERS, Encoder
from harness.data.encoders.numeric import NumericLiterals
from harness.data.encoders.use import MOST_TOKENS, SentencePieces, sentence_pieces
from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.data.public.joins import Description, plain, read_codebook
from harness.data.sources import is_here, missing_sources, refuse_missing
from harness.data.token_files import table_of

__all__ = ["TEXT_ENCODER", "Join", "PublicFeatures", "VisualTokens", "join_parts"]

TEXT_ENCODER = "use"
"""Encoder of the texts of `descriptions`, `glosses` and `public`."""

OTHER_ENCODER = "minilm"
"""Encoder of the texts of `public-minilm`."""

_ENCODER_TEXTS = {
    "use": "sentence vectors (USE multilingual v3, 512)",
    "minilm": "sentence vectors (all-MiniLM-L6-v2, 384)",
}


@dataclass(frozen=True)
class Join:
    """A join of original files to the entities of a dataset.

    Attributes:
        sources: originals that ``read`` needs.
        read: function that returns one value per entity of a graph.
        entities: number of entities with a value.
        table: joined table, which a user may import instead of the originals.
        read_table: function that reads the same values from the table.
    """

    sources: tuple[FeatureSource, ...]
    read: Callable[[KnowledgeGraph], Any]
    entities: int
    table: FeatureSource | None = None
    read_table: Callable[[KnowledgeGraph], Any] | None = None

    def __call__(self, graph: KnowledgeGraph) -> Any:
        """Read the joined table if it is on this machine, else join the originals."""
        if self.table and self.read_table and is_here(self.table):
            return self.read_table(graph)
        return self.read(graph)

    @property
    def missing(self) -> list[FeatureSource]:
        """Originals that are not on this machine; none if the table is."""
        if self.table and is_here(self.table):
            return []
        return missing_sources(self.sources)


@dataclass(frozen=True)
class VisualTokens:
    """Tokens of images.

    Attributes:
        lists: rows of the codebook of each entity.
        codebook: file of the codebook.
    """

    lists: Sequence[Sequence[int]]
    codebook: FeatureSource


@dataclass(frozen=True)
class PublicFeatures:
    """The public feature sets of a dataset.

    Attributes:
        descriptions: join of a :class:`Description` per entity.
        numbers: join of attribute -> number per entity.
        visual_tokens: join of :class:`VisualTokens`.
        glosses: join of a tuple of dictionary entries per entity.
    """

    descriptions: Join | None = None
    numbers: Join | None = None
    visual_tokens: Join | None = None
    glosses: Join | None = None

    @property
    def sources(self) -> tuple[FeatureSource, ...]:
        """All originals, each once."""
        joins = (self.descriptions, self.numbers, self.visual_tokens, self.glosses)
        sources = [s for join in joins if join for s in (*join.sources, join.table) if s]
        return tuple(dict.fromkeys(sources))

    def describe(self) -> dict[str, str]:
        """Return name -> one-line description of the dataset's public sets."""
        if not self.sources:
            return {}
        vectors = _ENCODER_TEXTS[TEXT_ENCODER]
        sets = {
            "descriptions": (
                self.descriptions,
                "text ({} entities): name, label, short description and image summary as "
                f"{vectors}",
            ),
            "glosses": (
                self.glosses,
                f"text ({{}} entities): name and dictionary entries as {vectors}",
            ),
            "numeric": (
                self.numbers,
                "numeric ({} entities): numbers, and dates as years, a column per attribute",
            ),
            "visual-tokens": (
                self.visual_tokens,
                "image ({} entities): visual tokens with the codebook of MyGO",
            ),
        }
        addition = "description" if self.descriptions else "dictionary entries"
        joins = {"numeric": self.numbers, "image": self.visual_tokens}
        further = "".join(f", {m} ({join.entities:,})" for m, join in joins.items() if join)
        forms = {
            "public": vectors,
            "public-tokens": "tokens (pieces of USE multilingual v3, 512)",
            "public-minilm": _ENCODER_TEXTS[OTHER_ENCODER],
        }
        return {
            **{n: text.format(f"{join.entities:,}") for n, (join, text) in sets.items() if join},
            **{
                name: f"text (all entities): name, and {addition} where there is one, as {form}"
                f"{further}"
                for name, form in forms.items()
            },
        }

    def modalities(self, name: str) -> tuple[str, ...]:
        """Return the modalities of a set, in its order."""
        return tuple(self._joins(name))

    def require(self, dataset: str, name: str) -> None:
        """Check that a set's originals and encoder are on this machine.

        Raises:
            MissingDataError: they are not; the message says which command gets them.
        """
        self.require_sources(dataset, name)
        if "text" in self._joins(name):
            self.encoder(name).require()

    def require_sources(self, dataset: str, name: str) -> None:
        """Check that a set's originals are on this machine.

        Raises:
            MissingDataError: they are not; the message says which command gets them.
        """
        if missing := self.missing(name):
            refuse_missing(dataset, name, missing)

    def originals(self, name: str) -> tuple[FeatureSource, ...]:
        """Return the originals of a set, each once."""
        joins = self._joins(name).values()
        return tuple(dict.fromkeys(source for join in joins for source in join.sources))

    def missing(self, name: str) -> list[FeatureSource]:
        """Return the originals of a set that are not on this machine."""
        joins = self._joins(name).values()
        return list(dict.fromkeys(source for join in joins for source in join.missing))

    def encoder(self, name: str) -> Encoder[str]:
        """Return the encoder of a set's texts."""
        if name == "public-tokens":
            return SentencePieces()
        return ENCODERS.get(OTHER_ENCODER if name == "public-minilm" else TEXT_ENCODER)()

    def build(
        self, dataset: str, name: str, graph: KnowledgeGraph, names: Sequence[str]
    ) -> FeatureSet:
        """Build a set.

        Args:
            dataset: name of the dataset, for messages.
            name: one of ``describe()``.
            graph: graph of the dataset, whose entities give the order of rows.
            names: name of each entity, "" without one.

        Raises:
            MissingDataError: an original or the encoder is missing.
            DataError: an original is not the published one.
        """
        self.require(dataset, name)
        joins = self._joins(name).items()
        return FeatureSet(name, {m: self._table(name, m, join, graph, names) for m, join in joins})

    def _table(
        self,
        name: str,
        modality: str,
        join: Join,
        graph: KnowledgeGraph,
        names: Sequence[str],
    ) -> FeatureTable:
        if modality == "numeric":
            return NumericLiterals().table(join(graph))
        if modality == "image":
            return _image(join(graph))
        texts = self.texts(name, graph, names)
        if name == "public-tokens":
            return sentence_pieces(texts)
        return self.encoder(name).table(texts)

    def unencoded(
        self, dataset: str, name: str, graph: KnowledgeGraph, names: Sequence[str]
    ) -> dict[str, tuple[int, float, int]]:
        """Return the sizes of a set whose texts must be encoded or cut into tokens, else {}.

        The number of tokens is known only after the texts are cut; until then the largest possible
        number is returned.

        Returns:
            modality -> (width, share of entities with it, largest number of tokens or 0).

        Raises:
            MissingDataError: an original or the encoder is missing.
        """
        self.require(dataset, name)
        texts = self.texts(name, graph, names)
        encoder = self.encoder(name)
        if not texts or encoder.is_cached(texts):
            return {}
        tokens = MOST_TOKENS if name == "public-tokens" else 0
        sizes = {"text": (encoder.width, sum(map(bool, texts)) / len(texts), tokens)}
        for modality, join in self._joins(name).items():
            if modality != "text":
                table = self._table(name, modality, join, graph, names)
                tokens = 0 if table.tokens is None else table.tokens.ids.shape[1]
                sizes[modality] = (table.matrix.shape[1], table.coverage, tokens)
        return sizes

    def texts(self, name: str, graph: KnowledgeGraph, names: Sequence[str]) -> list[str]:
        """Return the text of each entity, "" without one; [] for a set without texts."""
        if self.descriptions and "text" in self._joins(name):
            described: Sequence[Description] = self.descriptions(graph)
            rows: list[tuple[bool, tuple[str, ...]]] = [
                (bool(text), _sentences_of(title, text))
                for title, text in zip(names, described, strict=True)
            ]
        elif self.glosses and "text" in self._joins(name):
            entries: Sequence[tuple[str, ...]] = self.glosses(graph)
            rows = [(bool(texts), texts) for texts in entries]
        else:
            return []
        all_entities = name.startswith("public")
        return [
            join_parts(title, *sentences) if is_described or all_entities else ""
            for title, (is_described, sentences) in zip(names, rows, strict=True)
        ]

    def _joins(self, name: str) -> dict[str, Join]:
        """Return modality -> join of a set."""
        text = self.descriptions or self.glosses
        joins = {
            "text": text if name not in ("numeric", "visual-tokens") else None,
            "numeric": self.numbers if name.startswith(("public", "numeric")) else None,
            "image": self.visual_tokens if name.startswith(("public", "visual")) else None,
        }
        return {modality: join for modality, join in joins.items() if join}


def join_parts(*sentences: str) -> str:
    """Join texts as sentences, without empty and repeated ones."""
    text = ""
    for sentence in dict.fromkeys(filter(None, map(plain, sentences))):
        separator = " " if text.endswith((".", "!", "?", "。")) else ". "
        text = f"{text}{separator}{sentence}" if text else sentence
    return text


def _sentences_of(name: str, text: Description) -> tuple[str, str, str]:
    """Return label, description and summary; a label that the name contains becomes ""."""
    label = "" if text.label.casefold() in name.casefold() else text.label
    return label, text.short, text.summary


def _image(tokens: VisualTokens) -> FeatureTable:
    provenance = {
        "codebook": tokens.codebook.location,
        "codebook_sha256": tokens.codebook.sha256,
        "pooling": "mean over an entity's tokens",
    }
    return table_of("image", tokens.lists, read_codebook(tokens.codebook), provenance)
