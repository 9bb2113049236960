"""The loss of queries against all entities."""

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
from harness.training.compiled import compiled
from harness.training.sampled import check_tables

__all__ = ["WholeLoss", "distinct_queries"]

SIDES: tuple[Side, Side] = ("head", "tail")
"""By the number that stands for them in a row of ``distinct_queries``."""


def distinct_queries(train: Tensor) -> Tensor:
    """Return the queries that training triples [n, 3] answer, each once.

    Returns:
        [m, 3] (anchor, relation, side): the side that is predicted, 1 the tail, 0 the head.
    """
    head, relation, tail = train.unbind(1)
    one = torch.ones_like(head)
    asked = [torch.stack([head, relation, one], 1), torch.stack([tail, relation, 0 * one], 1)]
    found: Tensor = torch.unique(torch.cat(asked), dim=0)
    return found


class WholeLoss:
    """Compares queries with every entity (``objective.loss``: one_vs_all or k_vs_all).

    one_vs_all asks for the tail and for the head of each positive of a batch, or for one of them by
    a coin (``objective.sides``), and the true answer competes with all others (softmax). k_vs_all
    goes through the distinct queries of train, and each entity is told to be an answer or none
    (binary cross entropy). Where the terms of a score are views (``Query.views``), the losses of
    all views are added up.

    Args:
        model: on ``device``; its score is a sum of inner products.
        index: the graph.
        spec: the run.
        device: where to compute.

    Attributes:
        rows: [n, 3] training triples, or queries (``distinct_queries``).
    """

    def __init__(
        self, model: Model, index: GraphIndex, spec: RunSpec, device: torch.device
    ) -> None:
        self.model, self.spec, self.device = model, spec, device
        self.by_query = spec.objective.loss == "k_vs_all"
        train = index.train.to(device)
        self.rows = distinct_queries(train) if self.by_query else train
        self.known = index.train_filter.to(device)
        compiles = spec.training.compile and not model.free_encoding
        self.encode = compiled(model.encode) if compiles else model.encode

    def __call__(
        self, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a batch of ``rows`` [B, 3]; nothing is logged."""
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
        """Nothing is to be prepared."""

    def after_step(self) -> None:
        """Nothing is to be learned."""

    def state_dict(self) -> dict[str, Any]:
        """Return {}: a loss against all entities has no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""

    def _one_vs_all(self, tables: Tables, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of the queries of triples [B, 3]; the generator decides their sides."""
        of_tails = of_heads = batch
        if self.spec.objective.sides == "one":
            coin = torch.rand(len(batch), generator=generator, device=batch.device) < 0.5
            of_tails, of_heads = batch[coin], batch[~coin]
        asked: dict[Side, tuple[Tensor, Tensor]] = {
            "tail": (of_tails[:, 0], of_tails[:, 1]),
            "head": (of_heads[:, 2], of_heads[:, 1]),
        }
        targets = torch.cat([of_tails[:, 2], of_heads[:, 0]])
        products, _ = self._products(tables, asked)
        smoothing = self.spec.objective.softmax_smoothing
        losses = [
            softmax_loss(query, table, targets, smoothing=smoothing) for query, table in products
        ]
        return torch.stack(losses).sum()

    def _k_vs_all(self, tables: Tables, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of queries and the triples that they stand for."""
        asked: dict[Side, tuple[Tensor, Tensor]] = {}
        sizes, answers, triples = [], [], []
        for number, side in enumerate(SIDES):
            anchor, relation, _ = batch[batch[:, 2] == number].unbind(1)
            asked[side] = anchor, relation
            known = self.known.lookup(anchor, relation, side)
            sizes.append(known.sizes)
            answers.append(known.indices)
            query = known.query_ids
            ends = (
                [anchor[query], known.indices] if side == "tail" else [known.indices, anchor[query]]
            )
            triples.append(torch.stack([ends[0], relation[query], ends[1]], 1))
        products, offset = self._products(tables, asked)
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
        self, tables: Tables, asked: Mapping[Side, tuple[Tensor, Tensor]]
    ) -> tuple[list[tuple[Tensor, Tensor]], float]:
        """Return queries and table whose inner products are scores, for each view, and the offset.

        Args:
            tables: of all entities.
            asked: side -> anchors and relations, in the order of the queries returned.
        """
        anchors = torch.cat([anchor for anchor, _ in asked.values()])
        apart = {name: anchors_apart(table, anchors) for name, table in tables.items()}
        known = {name: rows for name, (rows, _) in apart.items()}
        places = torch.arange(len(anchors), device=anchors.device)
        cuts = [len(anchor) for anchor, _ in asked.values()]
        found: list[Query] = [
            self.model.queries(known, mine, relation, side)
            for (side, (_, relation)), mine in zip(asked.items(), places.split(cuts), strict=True)
        ]
        factors = [
            torch.cat([self._factor(term) for term in terms])
            for terms in zip(*(query.terms for query in found), strict=True)
        ]
        compared = [apart[term.table][1] for term in found[0].terms]
        products = list(zip(factors, compared, strict=True))
        if found[0].views is None and len(products) > 1:
            products = [(torch.cat(factors, 1), torch.cat(compared, 1))]
        return products, found[0].offset

    def _factor(self, term: Term) -> Tensor:
        """Return what a term's rows are multiplied with."""
        if term.op != "dot" or term.fusion is not None:
            raise ConfigError(
                f"objective.loss={self.spec.objective.loss} takes a score of inner products; "
                f"{type(self.model).__name__} compares by {term.op}"
                f"{'' if term.fusion is None else ' with candidates fused for the query'}: "
                "use logistic or margin"
            )
        factor = term.query if term.scale is None else term.query * term.scale
        return factor if term.weight == 1.0 else factor * term.weight
