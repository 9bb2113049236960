"""The contract of a model.

A model turns entities into tables of vectors (``encode``) and a question into query vectors
(``queries``); the score of a candidate is then a weighted sum of simple comparisons between a query
vector and a row of a table. Everything else (scoring triples, scoring gathered negatives, ranking
all entities, on every device) is derived from these two methods by the kernels, so all views of a
score agree by construction and every model gets every fast path.

A model whose score has no such form overrides ``score_all`` (``popularity`` does); it can be ranked
and not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from harness import kernels
from harness.config.base import Config
from harness.index import GraphIndex, Modality, Pairs, Side
from harness.registry import Registry

__all__ = [
    "MODELS",
    "STRUCTURE",
    "Capabilities",
    "ContractOptions",
    "Fusion",
    "ModalityEmbeddings",
    "Model",
    "ModelConfig",
    "Query",
    "Tables",
    "Term",
    "register_model",
]

Tables = Mapping[str, Tensor]
"""Name -> [n, width] vectors; the n rows are the entities that ``encode`` was asked for."""

STRUCTURE = "structure"
"""Name of the table of structural vectors in a model that compares them apart from modalities."""

ModalityEmbeddings = tuple[Tensor, Tensor]
"""Vectors of entities by modality, [n, P, width], the structure first, and who has them, [n, P]
boolean; vectors of those that do not have one are arbitrary but finite."""


class ModelConfig(Config):
    """Base of every model's options; the defaults are the published settings, with their source."""


@dataclass(frozen=True)
class Capabilities:
    """What a model is and needs.

    Attributes:
        title: name as printed in tables.
        reference: paper or repository the formulas are from.
        formula: the score, in one line.
        trainable: False for models that only count.
        uses_modalities: reads whatever modalities the feature set offers; else only those of
            ``requires``.
        requires: modalities without which the model cannot run.
        needs_features: cannot run without any modality, whichever it is.
        numerics: raised when a fix changes results; part of a run's identity.
    """

    title: str
    reference: str
    formula: str
    trainable: bool = True
    uses_modalities: bool = False
    requires: frozenset[str] = frozenset()
    needs_features: bool = False
    numerics: int = 1

    @property
    def reads_features(self) -> bool:
        """Whether any modality can change the model."""
        return self.uses_modalities or self.needs_features or bool(self.requires)

    def lacking(self, offered: Collection[str]) -> str:
        """Return what the model needs and is not offered, "" when nothing is missing."""
        missing = sorted(self.requires - set(offered))
        if not missing and self.needs_features and not offered:
            return "at least one modality"
        return ", ".join(missing)


@dataclass(frozen=True)
class ContractOptions:
    """How the contract is checked on a model (``harness.contract``), where the usual way is not it.

    Attributes:
        options: of the model on a graph of a few entities; ``{"dim": 16}`` where it has a ``dim``.
        learning: further options with which it learns a rule of the graph where its features are
            noise.
        lr: rate of the optimiser with which it does; None: the usual one.
        exempt: check -> why the model need not pass it.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    learning: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    exempt: Mapping[str, str] = field(default_factory=dict)


class Fusion(NamedTuple):
    """How a candidate is fused from modality embeddings; see ``harness.kernels.fusion``.

    Attributes:
        logits: name of the table [n, M] of the embeddings' logits (``HIDDEN``: it has none).
        temperature: [q] factor of the logits, positive; equal for queries of one relation.
    """

    logits: str
    temperature: Tensor


class Term(NamedTuple):
    """One comparison: ``weight * op(query, scale * table[candidate])``.

    ``op`` is ``"dot"`` (inner product), ``"l1"`` (minus the sum of absolute differences), ``"l2"``
    (minus the Euclidean norm of the difference; slower: it has no fused kernel) or ``"modulus"``
    (minus the sum of complex moduli of the difference; the first half of a vector is real, the
    second imaginary). Higher is always more plausible.

    Attributes:
        op: the comparison.
        query: [q, width].
        table: name of the candidate table.
        weight: factor of this term.
        scale: [q, width] multiplied into the candidate first, or None.
        fusion: the table holds M embeddings of each candidate side by side, [n, M width], which
            are fused for the query; None: the table holds the candidates. Not with a scale.
        anchor: name of the table that the anchor's vector is from, "" where that is not said.
    """

    op: kernels.Op
    query: Tensor
    table: str
    weight: float = 1.0
    scale: Tensor | None = None
    fusion: Fusion | None = None
    anchor: str = ""

    def comparison(self, tables: Tables) -> kernels.Comparison:
        """Return the term as the kernels take it, with its rows."""
        table: Tensor | kernels.FusedTable = tables[self.table]
        if self.fusion is not None:
            logits, temperature = self.fusion
            table = kernels.FusedTable(tables[self.table], tables[logits], temperature)
        return kernels.Comparison(self.op, self.query, table, self.scale, self.weight)


class Query(NamedTuple):
    """Terms that make the score.

    Attributes:
        terms: their sum, plus ``offset``, is the score, unless they are views.
        offset: added to the score.
        views: each term is the logit of a prediction of its own, to which a loss against all
            entities is applied by itself; the score is their mean ("logits") or the log-odds of
            their mean probability ("probabilities"), see ``harness.kernels.combined_score``.
    """

    terms: tuple[Term, ...]
    offset: float = 0.0
    views: kernels.Views | None = None


class Model(nn.Module):
    """Base class of every model.

    Args:
        config: the model's options (an instance of ``cls.Config``).
        index: sizes and training triples.
        modalities: features by name; only those the feature set offers.

    The constructor runs under a seeded generator. It must create the entity table first: then
    variants of a model share it.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    capabilities: ClassVar[Capabilities]

    contract: ClassVar[ContractOptions] = ContractOptions()

    free_encoding: bool = False
    """True when ``encode()`` of all entities costs nothing (the tables are the parameters). A class
    attribute; an instance whose options make encoding cost something sets its own."""

    structure_tables: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    """Tables made of nothing but the structure, for strategies of negatives that replace it apart;
    one that the model does not have is of no matter."""

    reciprocal: bool = False
    """Whether a head is asked for as the tail of a reverse relation, with vectors of its own: then
    (?, r, t) and (h, r, ?) score a triple differently, and a loss has to ask both."""

    static_shapes: bool = False
    """Whether the sizes of tensors in ``encode`` may depend on nothing but the number of entities.
    A training step on an accelerator asks for it, since the host has to wait for the device to
    learn any other size, and so does a compiled one; the entities it encodes may then repeat."""

    draws: torch.Generator | None = None
    """Stream of what a model draws in a step beside dropout (the entities of an estimate), so that
    variants which draw and variants which do not are paired; None: torch's own. Training sets it,
    and starts it anew in every epoch."""

    def __init__(self, config: Any, index: GraphIndex, modalities: Mapping[str, Modality]) -> None:
        super().__init__()
        self.config = config
        self.n_entities = index.n_entities
        self.n_relations = index.n_relations

    @classmethod
    def capabilities_of(cls, options: Mapping[str, Any]) -> Capabilities:
        """Capabilities of the model with the given options; those of the class by default.

        A model overrides it where an option decides whether features are read.

        Args:
            options: values that differ from the defaults of ``Config``.
        """
        return cls.capabilities

    # --- what a model defines -------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        """Return the tables of the given entities ([n] ids), or of all N when None."""
        raise NotImplementedError

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        """Return the query of each (anchor, relation).

        Args:
            tables: result of ``encode``, or in training the rows of its tables that are asked from.
            anchors: [q] rows of ``tables``: heads when ``side`` is "tail", tails when "head".
            relations: [q] relation ids.
            side: the side that is predicted.
        """
        raise NotImplementedError

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return a scalar added to the loss, or None.

        Args:
            tables: result of ``encode``.
            rows: [b, 2] rows of head and tail of the positives.
            relations: [b] their relations.
        """
        return None

    def auxiliary_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters trained by ``auxiliary_loss`` alone, with an optimiser of their own."""
        return ()

    def auxiliary_loss(self, generator: torch.Generator) -> Tensor | None:
        """Return the loss of the auxiliary parameters for one step (after the main step), or None.

        Called once per training step whether or not there are auxiliary parameters: it is also the
        place to move running averages.

        Args:
            generator: on the model's device.
        """
        return None

    def diagnostics(self) -> dict[str, float]:
        """Return named numbers logged at each evaluation (fusion weights, their entropy)."""
        return {}

    def fusion_weights(self, entities: Tensor) -> dict[str, Tensor]:
        """Return per modality its [n] weight in each entity's vector ({} when not fusing)."""
        return {}

    def modality_embeddings(self, entities: Tensor | None) -> ModalityEmbeddings:
        """Return what entities ([n] ids, None: all) look like in each modality.

        With ``compare`` it lets a model be trained against fabricated modalities
        (``adversary.kind``).
        """
        raise NotImplementedError

    def compare(
        self, heads: ModalityEmbeddings, relations: Tensor, tails: ModalityEmbeddings
    ) -> Tensor:
        """Return the scores [n] of triples whose heads and tails have the given ``parts``."""
        raise NotImplementedError

    # --- what follows ---------------------------------------------------------------------

    @property
    def decomposable(self) -> bool:
        """True when the score is a sum of terms, so that the fused kernels apply."""
        return type(self).queries is not Model.queries

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        """Return the scores of all rows of ``tables`` for each query: [q, n]."""
        query = self.queries(tables, anchors, relations, side)
        scores = [kernels.score_all(term.comparison(tables)) for term in query.terms]
        total = kernels.combined_score(scores, query.views)
        return total + query.offset if query.offset else total

    def score_pairs(
        self,
        tables: Tables,
        query: Query,
        pairs: Pairs,
        others: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the scores of listed candidates.

        Args:
            tables: result of ``encode``. In training their gradients are added to in place, so
                whoever overrides this gives them to ``harness.kernels`` and to nothing else.
            query: q queries.
            pairs: the rows of ``tables`` that each query is compared with.
            others: table -> [p] rows that are compared there instead.

        Returns:
            [p] scores.
        """
        scores = []
        for term in query.terms:
            rows = (others or {}).get(term.table, pairs.indices)
            listed = pairs._replace(indices=rows)
            scores.append(kernels.score_pairs(term.comparison(tables), listed))
        total = kernels.combined_score(scores, query.views)
        return total + query.offset if query.offset else total

    def score_triples(self, triples: Tensor) -> Tensor:
        """Return the scores [n] of triples [n, 3] (head, relation, tail), encoding all entities."""
        tables = self.encode()
        head, relation, tail = triples.unbind(1)
        if not self.decomposable:
            return self.score_all(tables, head, relation, "tail").gather(1, tail[:, None])[:, 0]
        query = self.queries(tables, head, relation, "tail")
        return self.score_pairs(tables, query, Pairs.one_each(tail))


MODELS: Registry[type[Model]] = Registry("model")


def register_model(name: str) -> Callable[[type[Model]], type[Model]]:
    """Class decorator: make a model known under ``name`` (lower case, underscores)."""
    return MODELS.register(name)
