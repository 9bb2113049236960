"""The loss of positives against corrupted triples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.data.negatives import CorruptionSampler
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality, Pairs
from harness.kernels.rows import anchors_apart
from harness.model import Fusion, Model, Query, Tables, Term
from harness.plan.spec import RunSpec
from harness.procedure import STRATEGIES, Negatives, Sampler, SamplerContext, Strategy
from harness.seeding import seed_for
from harness.training.compiled import compiled
from harness.training.objectives import contrast
from harness.training.subsampling import PairFrequency

__all__ = ["SampledLoss", "check_tables"]


class SampledLoss:
    """Contrasts the positives of a batch with sampled negatives.

    Args:
        model: on ``device``.
        index: the graph, for the sampler's filter.
        spec: the run.
        device: where to compute.
        sampler: draws negatives; by default the one ``spec.negatives`` names.
        static_shapes: let no size in a step depend on the entities drawn, so that the host never
            waits for the device.
        modalities: features by name, for strategies that look at them.

    Attributes:
        rows: [n, 3] training triples.
    """

    def __init__(
        self,
        model: Model,
        index: GraphIndex,
        spec: RunSpec,
        device: torch.device,
        sampler: Sampler | None = None,
        *,
        static_shapes: bool = False,
        modalities: Mapping[str, Modality] | None = None,
    ) -> None:
        self.model, self.spec, self.device = model, spec, device
        self.rows = index.train.to(device)
        self.static_shapes = static_shapes
        self.lazy = spec.optimiser.name == "lazy_adam"
        compiles = spec.training.compile and not model.free_encoding
        self.compiled = compiled(model.encode) if compiles else None
        # One size is one compiled program, and the same one in a run that is resumed.
        model.static_shapes = static_shapes or compiles
        self.strategy = _strategy(model, index, modalities or {}, spec, device)
        subsamples = spec.objective.subsampling
        self.importance = PairFrequency(self.rows, index.n_relations) if subsamples else None
        self._told: tuple[Tensor, Negatives, Tensor] | None = None
        self.sampler = sampler or CorruptionSampler.build(
            index,
            sampler=spec.negatives.sampler,
            count=spec.negatives.count if self.strategy is None else self.strategy.drawn,
            one_side=self.strategy is not None and self.strategy.one_side,
            share=spec.negatives.share,
            filter=spec.negatives.filter,
            device=device,
        )

    def __call__(
        self, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of positives [B, 3], and numbers to log."""
        negatives = self.sampler.sample(batch, generator)
        if self.strategy is not None:
            negatives = self.strategy.choose(batch, negatives)
        n_positives, n_negatives = negatives.candidates.shape
        candidates = torch.stack([negatives.candidates, *negatives.others.values()])
        entities, rows, candidates = self._local_rows(batch, candidates)
        relations = batch[:, 1]
        bf16 = self.spec.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            tables = (self.compiled or self.model.encode)(entities)
            check_tables(self.model, tables, entities)
            apart = {name: anchors_apart(table, rows.flatten()) for name, table in tables.items()}
            anchors = {name: known for name, (known, _) in apart.items()}
            heads, tails = torch.arange(rows.numel(), device=self.device).view_as(rows).unbind(1)
            tail_query = self.model.queries(anchors, heads, relations, "tail")
            head_query = self.model.queries(anchors, tails, relations, "head")
        # Row b asks its tail query for the true tail and the tail corruptions, which come first,
        # then its head query for the head corruptions.
        query = _interleave(tail_query, head_query)
        sizes = torch.stack([negatives.tails + 1, n_negatives - negatives.tails], 1).flatten()
        pairs = Pairs.from_sizes(sizes, torch.cat([rows[:, 1:], candidates[0]], 1).flatten())
        compared = {name: table for name, (_, table) in apart.items()}
        drawn = candidates[1:]
        if self.strategy is not None and self.strategy.compares:
            parts = self._by_term(compared, query, pairs, negatives)
            chosen = self.strategy.compare(batch, negatives, parts)
            drawn = torch.where(chosen, drawn, candidates[:1])
        others = {
            name: torch.cat([rows[:, 1:], each], 1).flatten()
            for name, each in zip(negatives.others, drawn, strict=True)
        }
        scores = self.model.score_pairs(compared, query, pairs, others)
        scores = scores.view(n_positives, n_negatives + 1)
        if self.strategy is not None:
            self._told = batch, negatives, scores[:, 1:].detach()
        importance = None if self.importance is None else self.importance(batch)
        loss, logs = contrast(
            scores[:, 0], scores[:, 1:], self.spec.objective, query.offset, importance
        )
        penalty = self.model.penalty(tables, rows, relations)
        return (loss if penalty is None else loss + penalty), logs

    @torch.no_grad()
    def _by_term(
        self, tables: Tables, query: Query, pairs: Pairs, negatives: Negatives
    ) -> list[tuple[Term, Tensor]]:
        """Return the terms of the score, and what each gives the candidates, [B, n]."""
        size = len(negatives.candidates), negatives.candidates.shape[1] + 1
        found = []
        for term in query.terms:
            scores = self.model.score_pairs(tables, Query((term,)), pairs)
            found.append((term, scores.view(size)[:, 1:]))
        return found

    def start_epoch(self, epoch: int) -> None:
        """Tell the strategy."""
        if self.strategy is not None:
            self.strategy.start_epoch(epoch)

    def after_step(self) -> None:
        """Let the strategy learn from the last batch."""
        if self.strategy is not None and self._told is not None:
            self.strategy.learn(*self._told)
            self._told = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the strategy."""
        return {} if self.strategy is None else self.strategy.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        if self.strategy is not None:
            self.strategy.load_state_dict(state)

    def _local_rows(
        self, batch: Tensor, candidates: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return the entities to encode (None: all), and head/tail and candidates as their rows.

        Every entity is encoded once per step, however often it occurs. When the draws outnumber
        the entities twice, nearly all of them occur, and finding out which costs more than that
        saves; only a lazy optimiser must be told all the same. Where sizes are static there are as
        many rows as draws, and all entities as soon as these are no more than the draws.
        """
        ends = batch[:, ::2]  # not [0, 2]: a list is copied to the device, and waited for
        drawn = ends.numel() + candidates.numel()
        static = self.model.static_shapes
        most = self.model.n_entities if static else 2 * self.model.n_entities + 1
        if not self.lazy and (self.model.free_encoding or drawn >= most):
            return None, ends, candidates
        both = torch.cat([ends.flatten(), candidates.flatten()])
        if self.static_shapes:  # nobody may know how many are distinct
            entities, rows = both, torch.arange(drawn, device=both.device)
        else:
            entities, rows = torch.unique(both, return_inverse=True)
            # Nobody asks for the rows that are added. Compiled on the CPU, the gradients of an
            # entity that occurs several times would be added up in any order.
            entities = pad(entities, (0, drawn - len(entities))) if static else entities
        split = ends.numel()
        return entities, rows[:split].view_as(ends), rows[split:].view_as(candidates)


def _strategy(
    model: Model,
    index: GraphIndex,
    modalities: Mapping[str, Modality],
    spec: RunSpec,
    device: torch.device,
) -> Strategy | None:
    chosen = spec.negatives.strategy
    if not chosen.name:
        return None

    def seed(epoch: int) -> int:
        return seed_for(spec.seed, index.dataset, "strategy", epoch)

    wanted = spec.negatives.count, spec.training.epochs
    context = SamplerContext(model, index, modalities, *wanted, device, seed)
    made = STRATEGIES.get(chosen.name)
    return made(made.Config.model_validate(chosen.options), context)


def check_tables(model: Model, tables: Tables, entities: Tensor | None) -> None:
    """Refuse tables that have no row for each of the encoded entities (None: all).

    Raises:
        ConfigError: a table is too short.
    """
    expected = model.n_entities if entities is None else len(entities)
    for name, table in tables.items():
        if len(table) < expected:
            raise ConfigError(
                f"{type(model).__name__}: encode made a table '{name}' of {len(table)} "
                f"rows for {expected} entities; a table has a row for each, what belongs to "
                "relations stays in the model"
            )


def _interleave(first: Query, second: Query) -> Query:
    """Merge two queries of q rows into one of 2q: first[0], second[0], first[1], ..."""
    if _shape(first) != _shape(second):
        raise ConfigError(
            "the queries of a model for heads and for tails differ in their terms, offset or "
            "views; one loss cannot take both: use one_vs_all or k_vs_all"
        )
    terms = []
    for a, b in zip(first.terms, second.terms, strict=True):
        scale = None
        if a.scale is not None and b.scale is not None:
            scale = torch.stack([a.scale, b.scale], 1).flatten(0, 1)
        fusion = None
        if a.fusion is not None and b.fusion is not None:
            temperature = torch.stack([a.fusion.temperature, b.fusion.temperature], 1).flatten()
            fusion = Fusion(a.fusion.logits, temperature)
        both = torch.stack([a.query, b.query], 1).flatten(0, 1)
        terms.append(Term(a.op, both, a.table, a.weight, scale, fusion, a.anchor))
    return Query(tuple(terms), first.offset, first.views)


def _shape(query: Query) -> tuple[object, ...]:
    """Return what must be equal in queries that are merged."""
    terms = [
        (t.op, t.table, t.weight, t.scale is None, t.fusion and t.fusion.logits)
        for t in query.terms
    ]
    return terms, query.offset, query.views
