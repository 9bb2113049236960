"""Loss of queries against all entities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.errors import ConfigError
from harness.index import GraphIndex, Pairs, Side
from harness.kernels.against_all import binary_loss, softmax_loss
from harness.kernels.rows import anchors_apart
from harness.model import Model, Query, Tables, Term
from harness.plan.spec import RunSpec
from harness.training.checks import check_query, check_tables
from harness.training.compiled import compiled

__all__ = ["WholeLoss", "distinct_queries"]

SIDES: tuple[Side, Side] = ("head", "tail")
"""Side by its number in a row of ``distinct_queries``."""


def distinct_queries(train: Tensor) -> Tensor:
    """Return the distinct queries of training triples [n, 3].

    Returns:
        int64 [m, 3] (anchor, relation, predicted side: 1 for tail, 0 for head).
    """
    head, relation, tail = train.unbind(1)
    ones = torch.ones_like(head)
    queries = [torch.stack([head, relation, ones], 1), torch.stack([tail, relation, 0 * ones], 1)]
    distinct: Tensor = torch.unique(torch.cat(queries), dim=0)
    return distinct


class WholeLoss:
    """Loss of queries against every entity (``objective.loss``: one_vs_all or k_vs_all).

    one_vs_all predicts tail and head of each positive of a batch, or a random one of them
    (``objective.sides``), by the softmax over all entities. k_vs_all iterates over the distinct
    queries of train, and classifies each entity as an answer or not (binary cross entropy). If the
    terms of a score are views (``Query.views``), the losses of all views are summed.

    Args:
        model: model on ``device`` with a sum of inner products as score.
        index: sizes and train triples of the graph.
        spec: specification of the run.
        device: device of the computation.

    Attributes:
        rows: training triples or ``distinct_queries``, int64 [n, 3].
    """

    def __init__(
        self, model: Model, index: GraphIndex, spec: RunSpec, device: torch.device
    ) -> None:
        self.model, self.spec, self.device = model, spec, device
        self.by_query = spec.objective.loss == "k_vs_all"
        train = index.train.to(device)
        self.rows = distinct_queries(train) if self.by_query else train
        self.train_filter = index.train_filter.to(device)
        compiles = spec.training.compile and not model.free_encoding
        self.encode = compiled(model.encode) if compiles else model.encode

    def __call__(
        self, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a batch [B, 3] of ``rows``, and no values to log."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.spec.training.precision == "bf16"
        ):
            tables = self.encode(None)
            check_tables(self.model, tables, None)
            if self.by_query:
                loss, triples = self._k_vs_all(tables, batch)
            else:
                loss, triples = self._one_vs_all(tables, batch, generator), batch
        penalty = self.model.penalty(tables, triples[:, ::2], triples[:, 1])
        return (loss if penalty is None else loss + penalty), {}

    def start_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def after_step(self) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return {}: a loss against all entities has no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""

    def _one_vs_all(self, tables: Tables, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of the queries of triples [B, 3], with sides drawn by the generator."""
        of_tails = of_heads = batch
        if self.spec.objective.sides == "one":
            coin = torch.rand(len(batch), generator=generator, device=batch.device) < 0.5
            of_tails, of_heads = batch[coin], batch[~coin]
        queries: dict[Side, tuple[Tensor, Tensor]] = {
            "tail": (of_tails[:, 0], of_tails[:, 1]),
            "head": (of_heads[:, 2], of_heads[:, 1]),
        }
        targets = torch.cat([of_tails[:, 2], of_heads[:, 0]])  # in the order of the queries
        products, _ = self._products(tables, queries)
        smoothing = self.spec.objective.softmax_smoothing
        losses = [
            softmax_loss(query, table, targets, smoothing=smoothing) for query, table in products
        ]
        return torch.stack(losses).sum()

    def _k_vs_all(self, tables: Tables, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of queries, and their triples."""
        queries: dict[Side, tuple[Tensor, Tensor]] = {}
        sizes, answers, triples = [], [], []
        for number, side in enumerate(SIDES):
            anchor, relation, _ = batch[batch[:, 2] == number].unbind(1)
            queries[side] = anchor, relation
            known_answers = self.train_filter.lookup(anchor, relation, side)
            sizes.append(known_answers.sizes)
            answers.append(known_answers.indices)
            query = known_answers.query_ids
            ends = (
                [anchor[query], known_answers.indices]
                if side == "tail"
                else [known_answers.indices, anchor[query]]
            )
            triples.append(torch.stack([ends[0], relation[query], ends[1]], 1))
        products, offset = self._products(tables, queries)
        all_answers = Pairs.from_sizes(torch.cat(sizes), torch.cat(answers))
        smoothing = self.spec.objective.smoothing
        loss = torch.stack(
            [
                binary_loss(query, table, all_answers, smoothing=smoothing, offset=offset)
                for query, table in products
            ]
        )
        return loss.sum(), torch.cat(triples)

    def _products(
        self, tables: Tables, queries: Mapping[Side, tuple[Tensor, Tensor]]
    ) -> tuple[list[tuple[Tensor, Tensor]], float]:
        """Return for each view the queries and table whose products are scores, and the offset.

        Args:
            tables: tables of all entities.
            queries: side -> anchors and relations, in the order of the result.
        """
        anchors = torch.cat([anchor for anchor, _ in queries.values()])
        split_tables = {name: anchors_apart(table, anchors) for name, table in tables.items()}
        anchor_tables = {name: rows for name, (rows, _) in split_tables.items()}
        positions = torch.arange(len(anchors), device=anchors.device)
        cuts = [len(anchor) for anchor, _ in queries.values()]  # queries per side
        side_queries: list[Query] = [
            self.model.queries(anchor_tables, rows, relation, side)
            for (side, (_, relation)), rows in zip(
                queries.items(), positions.split(cuts), strict=True
            )
        ]
        for query, count in zip(side_queries, cuts, strict=True):
            check_query(self.model, query, anchor_tables, count)
        factors = [
            torch.cat([self._factor(term) for term in terms])
            for terms in zip(*(query.terms for query in side_queries), strict=True)
        ]
        compared = [split_tables[term.table][1] for term in side_queries[0].terms]
        products = list(zip(factors, compared, strict=True))
        # A sum of inner products is one inner product of concatenated vectors; views stay apart,
        # since each has a loss.
        if side_queries[0].views is None and len(products) > 1:
            products = [(torch.cat(factors, 1), torch.cat(compared, 1))]
        return products, side_queries[0].offset

    def _factor(self, term: Term) -> Tensor:
        """Return the factors of a term's rows in the inner product."""
        if term.op != "dot" or term.fusion is not None:
            raise ConfigError(
                f"objective.loss={self.spec.objective.loss} takes a score of inner products; "
                f"{type(self.model).__name__} compares by {term.op}"
                f"{'' if term.fusion is None else ' with candidates fused for the query'}: "
                "use logistic or margin"
            )
        factor = term.query if term.scale is None else term.query * term.scale
        return factor if term.weight == 1.0 else factor * term.weight
