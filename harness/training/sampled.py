"""Loss of positives against sampled negatives."""

from __future__ import annotations

import math
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
from harness.training.checks import check_negatives, check_query, check_tables, check_values
from harness.training.compiled import compiled
from harness.training.objectives import contrast
from harness.training.subsampling import PairFrequency

__all__ = ["SampledLoss"]


class SampledLoss:
    """Contrastive loss of the positives of a batch and sampled negatives.

    Args:
        model: model on ``device``.
        index: sizes and train triples, for the sampler's filter.
        spec: specification of the run.
        device: device of the computation.
        sampler: sampler of negatives; by default the one named by ``spec.negatives``.
        static_shapes: True if no size in a step may depend on the drawn entities, so that the host
            never waits for the device.
        modalities: features by name, for strategies that use them.

    Attributes:
        rows: training triples int64 [n, 3].
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
        # A compiled program has fixed sizes, so that a resumed run uses the same one.
        model.static_shapes = static_shapes or compiles
        self.strategy = _strategy(model, index, modalities or {}, spec, device)
        # Positives with the same draws. Of a strategy's draws the chosen ones differ by positive.
        shares = spec.negatives.sampler == "shared" and self.strategy is None
        self.share = spec.negatives.share if shares else 1
        subsamples = spec.objective.subsampling
        self.importance = PairFrequency(self.rows, index.n_relations) if subsamples else None
        self._last_batch: tuple[Tensor, Negatives, Tensor] | None = None
        self._checks_values = False
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
        """Return the loss of positives [B, 3], and values to log."""
        negatives = self.sampler.sample(batch, generator)
        if self.strategy is not None:
            negatives = self._chosen(self.strategy, batch, negatives)
        n_positives, n_negatives = negatives.candidates.shape  # B, n
        # [1 + tables with substitutes, B, n]: entities of the triples, then of each table.
        candidates = torch.stack([negatives.candidates, *negatives.substitutes.values()])
        # From here on ids are rows of the encoded tables: rows [B, 2] of heads and tails.
        entities, rows, candidates = self._local_rows(batch, candidates)
        relations = batch[:, 1]
        bf16 = self.spec.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            tables = (self.compiled or self.model.encode)(entities)
            check_tables(self.model, tables, entities)
            # Anchors [2B] are read for the queries, whole tables for the candidates; both gradients
            # are added in one pass.
            split_tables = {
                name: anchors_apart(table, rows.flatten()) for name, table in tables.items()
            }
            anchors = {name: rows_of_anchors for name, (rows_of_anchors, _) in split_tables.items()}
            # Positions among the anchors: heads 0, 2, 4, ..., tails 1, 3, 5, ...
            heads, tails = torch.arange(rows.numel(), device=self.device).view_as(rows).unbind(1)
            tail_query = self.model.queries(anchors, heads, relations, "tail")
            head_query = self.model.queries(anchors, tails, relations, "head")
            for query in (tail_query, head_query):
                check_query(self.model, query, anchors, len(batch))
        # Per row: the target tail and the tail corruptions, scored by the tail query, come first;
        # the head corruptions, scored by the head query, follow.
        query = _interleave(tail_query, head_query)
        # The positive counts as a candidate of the tail query: 1 + tails, then n - tails.
        sizes = torch.stack([negatives.tails + 1, n_negatives - negatives.tails], 1).flatten()
        pairs = Pairs.from_sizes(sizes, torch.cat([rows[:, 1:], candidates[0]], 1).flatten())
        compared = {name: table for name, (_, table) in split_tables.items()}
        drawn = candidates[1:]  # [tables with substitutes, B, n]
        if self.strategy is not None and self.strategy.compares:
            term_scores = self._by_term(compared, query, pairs, negatives)
            replaced = self.strategy.compare(batch, negatives, term_scores)
            drawn = torch.where(replaced, drawn, candidates[:1])
        substitutes = {
            name: torch.cat([rows[:, 1:], entities_of_table], 1).flatten()
            for name, entities_of_table in zip(negatives.substitutes, drawn, strict=True)
        }
        scores = self.model.score_pairs(compared, query, pairs, substitutes)
        scores = scores.view(n_positives, n_negatives + 1)
        if self.strategy is not None:
            # Detached, or the graph of this step would live until the next one.
            self._last_batch = batch, negatives, scores[:, 1:].detach()
        importance = None if self.importance is None else self.importance(batch)
        loss, logs = contrast(
            scores[:, 0], scores[:, 1:], self.spec.objective, query.offset, importance
        )
        penalty = self.model.penalty(tables, rows, relations)
        return (loss if penalty is None else loss + penalty), logs

    def _chosen(self, strategy: Strategy, batch: Tensor, negatives: Negatives) -> Negatives:
        """Return the strategy's negatives, checked; values only in the first step of an epoch."""
        chosen = strategy.choose(batch, negatives)
        check_negatives(strategy, chosen, len(batch))
        if self._checks_values:
            self._checks_values = False
            check_values(strategy, chosen)
        return chosen

    @torch.no_grad()
    def _by_term(
        self, tables: Tables, query: Query, pairs: Pairs, negatives: Negatives
    ) -> list[tuple[Term, Tensor]]:
        """Return the terms of the score with their scores [B, n] of the candidates."""
        size = len(negatives.candidates), negatives.candidates.shape[1] + 1
        term_scores = []
        for term in query.terms:
            scores = self.model.score_pairs(tables, Query((term,)), pairs)
            term_scores.append((term, scores.view(size)[:, 1:]))
        return term_scores

    def start_epoch(self, epoch: int) -> None:
        """Start an epoch of the strategy."""
        if self.strategy is not None:
            self.strategy.start_epoch(epoch)
            self._checks_values = self.device.type == "cpu" and not self.static_shapes

    def after_step(self) -> None:
        """Let the strategy learn from the last batch."""
        if self.strategy is not None and self._last_batch is not None:
            self.strategy.learn(*self._last_batch)
            self._last_batch = None

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
        """Return the entities to encode (None: all), and ends and candidates as rows of them.

        Every entity is encoded once per step. With more than 2N draws almost every entity occurs,
        and finding the distinct ones costs more than it saves, so all N are encoded; lazy Adam
        still needs the touched rows. Positives that share their negatives draw them once, but for
        the few that would make a known triple. With static sizes there are as many rows as draws,
        or all N entities if these are not more than the draws.
        """
        ends = batch[:, ::2]  # not [0, 2]: copying a list to the device synchronises
        n_draws = n_distinct = ends.numel() + candidates.numel()
        static = self.model.static_shapes
        limit = self.model.n_entities if static else 2 * self.model.n_entities + 1
        if not static:
            groups = math.ceil(len(batch) / self.share)
            n_distinct = ends.numel() + candidates.numel() * groups // len(batch)
        if not self.lazy and (self.model.free_encoding or n_distinct >= limit):
            return None, ends, candidates
        ids = torch.cat([ends.flatten(), candidates.flatten()])
        if self.static_shapes:  # the number of distinct entities is unknown on the host
            entities, rows = ids, torch.arange(n_draws, device=ids.device)
        else:
            entities, rows = torch.unique(ids, return_inverse=True)
            # Padding rows are never indexed. Without them, compiled on the CPU, the gradients of an
            # entity that occurs several times would be summed in any order.
            entities = pad(entities, (0, n_draws - len(entities))) if static else entities
        split = ends.numel()
        return entities, rows[:split].view_as(ends), rows[split:].view_as(candidates)


def _strategy(
    model: Model,
    index: GraphIndex,
    modalities: Mapping[str, Modality],
    spec: RunSpec,
    device: torch.device,
) -> Strategy | None:
    strategy = spec.negatives.strategy
    if not strategy.name:
        return None

    def seed(epoch: int) -> int:
        return seed_for(spec.seed, index.dataset, "strategy", epoch)

    sizes = spec.negatives.count, spec.training.epochs
    bf16 = spec.training.precision == "bf16"
    context = SamplerContext(model, index, modalities, *sizes, device, seed, bf16)
    strategy_class = STRATEGIES.get(strategy.name)
    return strategy_class(strategy_class.Config.model_validate(strategy.options), context)


def _interleave(first: Query, second: Query) -> Query:
    """Interleave two queries of q rows into 2q rows: first[0], second[0], first[1], ..."""
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
        merged = torch.stack([a.query, b.query], 1).flatten(0, 1)
        terms.append(Term(a.op, merged, a.table, a.weight, scale, fusion, a.anchor))
    return Query(tuple(terms), first.offset, first.views)


def _shape(query: Query) -> tuple[object, ...]:
    """Return the properties that must be equal in interleaved queries."""
    terms = [
        (t.op, t.table, t.weight, t.scale is None, t.fusion and t.fusion.logits)
        for t in query.terms
    ]
    return terms, query.offset, query.views
