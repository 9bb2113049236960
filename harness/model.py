"""Base class of models.

A model encodes entities as tables of vectors (``encode``) and queries as query vectors
(``queries``); the score of a candidate is a weighted sum of simple comparisons between a query
vector and a row of a table. From these two methods the kernels derive everything else (scoring
triples, scoring negatives, ranking all entities, on every device), so that all paths compute the
same score and every model gets every fast path.

A model whose score has no such form overrides ``score_all`` (``popularity`` does); it can be
evaluated but not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
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
"""Name -> [n, width] vectors; the n rows are the entities that ``encode`` was given."""

STRUCTURE = "structure"
"""Name of the table of structural embeddings in models that score them in a term of their own."""

ModalityEmbeddings = tuple[Tensor, Tensor]
"""Vectors [n, P, width] of entities by modality, the structure first, and a mask [n, P] (bool) of
the modalities that each entity has; masked vectors are arbitrary but finite."""


class ModelConfig(Config):
    """Base class of a model's options; defaults are the published settings, with their source."""


@dataclass(frozen=True)
class Capabilities:
    """Description and requirements of a model.

    Attributes:
        title: name as printed in tables.
        reference: paper or repository of the formulas.
        formula: the score, in one line.
        trainable: False for models without a training loss, such as counts.
        uses_modalities: True if the model reads all modalities of the feature set, else it reads
            those of ``requires`` only.
        requires: modalities without which the model cannot run.
        needs_features: True if the model needs at least one modality, whichever it is.
        numerics: version of the results, increased when a fix changes them; part of the run id.
    """

    title: str
    reference: str
    formula: str
    trainable: bool = True
    uses_modalities: bool = False
    requires: frozenset[str] = frozenset()
    needs_features: bool = False
    numerics: int = 1

    def __post_init__(self) -> None:
        requires: Any = self.requires  # a model of a user's own may have anything
        if not isinstance(requires, Set) or not all(isinstance(name, str) for name in requires):
            raise TypeError(
                f"`requires` in capabilities is {requires!r}; a set of names of modalities was "
                "expected, such as frozenset({'text', 'image'})"
            )

    @property
    def reads_features(self) -> bool:
        """True if the model's scores can depend on features."""
        return self.uses_modalities or self.needs_features or bool(self.requires)

    def missing(self, offered: Collection[str]) -> str:
        """Return the required modalities that are not offered, in words, "" if none is missing."""
        missing = sorted(self.requires - set(offered))
        if not missing and self.needs_features and not offered:
            return "at least one modality"
        return ", ".join(missing)


@dataclass(frozen=True)
class ContractOptions:
    """Settings of the contract checks for a model (``harness.contract``).

    Attributes:
        options: model options on a graph of a few entities; ``{"dim": 16}`` by default where the
            model has a ``dim``.
        learning: further options for the check that the model learns a rule of a graph whose
            features are noise.
        lr: learning rate in that check; None is the default of the checks.
        exempt: check -> reason why the model need not pass it.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    learning: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    exempt: Mapping[str, str] = field(default_factory=dict)


class Fusion(NamedTuple):
    """Fusion of candidates from modality embeddings; see ``harness.kernels.fusion``.

    Attributes:
        logits: name of the table [n, M] of the embeddings' logits; ``HIDDEN`` marks a modality that
            the entity lacks.
        temperature: [q] positive factor of the logits; equal for queries of one relation.
    """

    logits: str
    temperature: Tensor


class Term(NamedTuple):
    """A term of the score: ``weight * op(query, scale * table[candidate])``.

    ``op`` is ``"dot"`` (inner product), ``"l1"`` (negative sum of absolute differences), ``"l2"``
    (negative Euclidean norm of the difference; slower, without a fused kernel) or ``"modulus"``
    (negative sum of the complex moduli of the difference; the first half of a vector is real, the
    second imaginary). Higher is more plausible.

    Attributes:
        op: the comparison.
        query: [q, width].
        table: name of the candidate table.
        weight: factor of this term.
        scale: [q, width], multiplied into the candidates, or None.
        fusion: fusion of the table's M embeddings per candidate, concatenated to [n, M width], for
            each query; None if the rows of the table are the candidates. Excludes ``scale``.
        anchor: name of the table that the anchor's vector is from, "" if unspecified.
    """

    op: kernels.Op
    query: Tensor
    table: str
    weight: float = 1.0
    scale: Tensor | None = None
    fusion: Fusion | None = None
    anchor: str = ""

    def comparison(self, tables: Tables) -> kernels.VectorComparison:
        """Return the comparison of this term for the kernels, with its candidate table."""
        table: Tensor | kernels.FusedTable = tables[self.table]
        if self.fusion is not None:
            logits, temperature = self.fusion
            table = kernels.FusedTable(tables[self.table], tables[logits], temperature)
        return kernels.VectorComparison(self.op, self.query, table, self.scale, self.weight)


class Query(NamedTuple):
    """The terms of the score of q queries.

    Attributes:
        terms: summed to the score, unless they are views.
        offset: added to the score.
        views: combination of terms that are each the logit of a prediction, with a 1-vs-all or
            k-vs-all loss each: their mean ("logits") or the log odds of their mean probability
            ("probabilities"); see ``harness.kernels.combined_score``. None is the sum.
    """

    terms: tuple[Term, ...]
    offset: float = 0.0
    views: kernels.Views | None = None


class Model(nn.Module):
    """Base class of every model.

    The constructor runs under a seeded generator. It must create the entity table first, so that
    variants of a model start from the same one.

    Args:
        config: the model's options (an instance of ``cls.Config``).
        index: sizes and training triples.
        modalities: name -> features of the modalities in the feature set.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    capabilities: ClassVar[Capabilities]

    contract: ClassVar[ContractOptions] = ContractOptions()

    free_encoding: bool = False
    """True if ``encode()`` of all entities is free, as the tables are the parameters. An instance
    whose options make encoding costly overrides the class attribute."""

    structure_tables: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    """Tables of structural embeddings, for negative samplers that corrupt the structure alone;
    names the model lacks are ignored."""

    reciprocal: bool = False
    """True if heads are predicted as tails of inverse relations with embeddings of their own. Then
    (?, r, t) and (h, r, ?) score a triple differently, and a loss needs both."""

    static_shapes: bool = False
    """True if the shapes in ``encode`` must depend on the number of entities only. Set by training
    on an accelerator, where reading any other size synchronises with the device, and for compiled
    steps; the encoded entities may then repeat."""

    draws: torch.Generator | None = None
    """Generator of the model's draws beside dropout (the entities of an estimate), so that variants
    with and without such draws see the same other random numbers; None is torch's default. Set by
    training and seeded anew in every epoch."""

    def __init__(self, config: Any, index: GraphIndex, modalities: Mapping[str, Modality]) -> None:
        super().__init__()
        self.config = config
        self.n_entities = index.n_entities
        self.n_relations = index.n_relations

    @classmethod
    def capabilities_of(cls, options: Mapping[str, Any]) -> Capabilities:
        """Return the capabilities of the model with the given options, by default the class's.

        Overridden by models where an option decides whether features are read.

        Args:
            options: values that differ from the defaults of ``Config``.
        """
        return cls.capabilities

    @classmethod
    def numerics_of(cls, options: Mapping[str, Any], *, bf16: bool) -> int:
        """Return the version of a run's results, by default ``capabilities.numerics``.

        Overridden by models with a fix that changes the results of some runs only: the others keep
        their ids.

        Args:
            options: values that differ from the defaults of ``Config``.
            bf16: True if the run is trained in bf16.
        """
        return cls.capabilities.numerics

    def directed(self, relations: Tensor, side: Side) -> Tensor:
        """Return the ids [q] of the relations that predict a side.

        With ``reciprocal``, r + R for heads, the reverse relation of r; otherwise r itself.
        """
        reverse = self.reciprocal and side == "head"
        return relations + self.n_relations if reverse else relations

    # --- defined by models ----------------------------------------------------------------

    def encode(self, entities: Tensor | None = None) -> Tables:
        """Return the tables of the given entities ([n] ids), or of all N if None."""
        raise NotImplementedError

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        """Return the query of each (anchor, relation).

        Args:
            tables: result of ``encode``; in training only the rows of the anchors.
            anchors: [q] rows of ``tables``: heads if ``side`` is "tail", tails if "head".
            relations: [q] relation ids.
            side: the predicted side.
        """
        raise NotImplementedError

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return a scalar regularisation term of the loss, or None.

        Args:
            tables: result of ``encode``.
            rows: [b, 2] rows of head and tail of the positives.
            relations: [b] their relations.
        """
        return None

    def auxiliary_parameters(self) -> Sequence[nn.Parameter]:
        """Return the parameters that ``auxiliary_loss`` alone trains, with a separate optimiser."""
        return ()

    def auxiliary_loss(self, generator: torch.Generator) -> Tensor | None:
        """Return the loss of ``auxiliary_parameters`` after the main step, or None.

        Other parameters get no gradient from it: their losses belong to ``penalty``.
        Called once per training step even without auxiliary parameters, so that models can update
        running averages here.

        Args:
            generator: on the model's device.
        """
        return None

    def diagnostics(self) -> dict[str, float]:
        """Return name -> value of the numbers logged at each validation, such as fusion weights."""
        return {}

    def fusion_weights(self, entities: Tensor) -> dict[str, Tensor]:
        """Return modality -> [n] weight in each entity's vector, {} for models without fusion."""
        return {}

    def modality_tables(self) -> Tables:
        """Return modality -> [N, d] vectors of all entities that the model fuses; zero for entities
        without the modality; {} for models without, or whose ``encode`` has them."""
        return {}

    def modality_embeddings(self, entities: Tensor | None) -> ModalityEmbeddings:
        """Return the modality embeddings of entities ([n] ids, or None for all).

        Adversarial training (``adversary.kind``) needs this method and ``compare``.
        """
        raise NotImplementedError

    def compare(
        self, heads: ModalityEmbeddings, relations: Tensor, tails: ModalityEmbeddings
    ) -> Tensor:
        """Return the scores [n] of triples, given the modality embeddings of heads and tails."""
        raise NotImplementedError

    # --- derived --------------------------------------------------------------------------

    @property
    def decomposable(self) -> bool:
        """True if the model defines ``queries``, so that the kernels can score it."""
        return type(self).queries is not Model.queries

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        """Return the scores [q, n] of all rows of ``tables`` for each query."""
        query = self.queries(tables, anchors, relations, side)
        scores = [kernels.score_all(term.comparison(tables)) for term in query.terms]
        total = kernels.combined_score(scores, query.views)
        return total + query.offset if query.offset else total

    def score_pairs(
        self,
        tables: Tables,
        query: Query,
        pairs: Pairs,
        substitutes: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the scores of listed candidates.

        Args:
            tables: result of ``encode``. Training adds to their gradients in place, so overrides
                must pass them to ``harness.kernels`` only.
            query: q queries.
            pairs: the rows of ``tables`` that each query is compared with.
            substitutes: table -> [p] rows that are compared in this table instead.

        Returns:
            [p] scores.
        """
        scores = []
        for term in query.terms:
            rows = (substitutes or {}).get(term.table, pairs.indices)
            listed = pairs._replace(indices=rows)
            scores.append(kernels.score_pairs(term.comparison(tables), listed))
        total = kernels.combined_score(scores, query.views)
        return total + query.offset if query.offset else total

    def score_triples(self, triples: Tensor, tables: Tables | None = None) -> Tensor:
        """Return the scores [n] of triples [n, 3] (head, relation, tail).

        Args:
            triples: int64 ids.
            tables: result of ``encode`` for all entities, which is called when None.
        """
        tables = self.encode() if tables is None else tables
        head, relation, tail = triples.unbind(1)
        if not self.decomposable:
            return self.score_all(tables, head, relation, "tail").gather(1, tail[:, None])[:, 0]
        query = self.queries(tables, head, relation, "tail")
        return self.score_pairs(tables, query, Pairs.one_each(tail))


MODELS: Registry[type[Model]] = Registry(
    "model", "harness.models", hint="own models need --models PATH"
)


def register_model(name: str) -> Callable[[type[Model]], type[Model]]:
    """Return a class decorator that registers a model as ``name`` (lower case, underscores)."""
    return MODELS.register(name)
