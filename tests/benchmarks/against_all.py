"""Training against all entities without the harness: as kbc does, and the matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding

from harness.data.graph import KnowledgeGraph
from tests.benchmarks.contenders import (
    ADAGRAD_RATE,
    BATCH,
    DIM,
    PENALTY,
    SCALE,
    Ranked,
    StepClock,
    Trained,
)


def build_kbc(_: str, graph: KnowledgeGraph) -> Kbc:
    """Return the contender that trains as kbc does."""
    return Kbc(graph)


def build_products(_: str, graph: KnowledgeGraph, dtype: torch.dtype = torch.float32) -> Products:
    """Return the contender that computes the matrix products of a step and nothing else."""
    return Products(graph.n_entities, dtype)


build_products_bf16 = partial(build_products, dtype=torch.bfloat16)


class Trainer:
    """A contender that does not rank."""

    rankings: Mapping[str, Callable[[int], Ranked]] = {}


class Kbc(Trainer):
    """ComplEx in plain PyTorch, from the description of its training in the paper.

    Lacroix, Usunier and Obozinski, Canonical Tensor Decomposition for Knowledge Base Completion
    (2018): reciprocal relations, the softmax of each query over all entities, the nuclear 3-norm of
    the factors of a batch (N3), Adagrad. Published code: github.com/facebookresearch/kbc.

    Args:
        graph: training graph.
        dim: rank; vectors have 2 * dim numbers, real parts first.
    """

    def __init__(self, graph: KnowledgeGraph, dim: int = DIM) -> None:
        torch.manual_seed(0)
        self.train_triples, self.n_relations = graph.splits["train"], graph.n_relations
        self.entity = (SCALE * torch.randn(graph.n_entities, 2 * dim)).requires_grad_()
        self.relation = (SCALE * torch.randn(2 * graph.n_relations, 2 * dim)).requires_grad_()
        self.optimiser = torch.optim.Adagrad([self.entity, self.relation], lr=ADAGRAD_RATE)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the loss of triples [B, 3]: softmax of their 2 B queries, and N3."""
        head, relation, tail = batch.unbind(1)
        targets = torch.cat([tail, head])
        anchor = embedding(torch.cat([head, tail]), self.entity)
        role = embedding(torch.cat([relation, relation + self.n_relations]), self.relation)
        answer = embedding(targets, self.entity)
        (a_re, a_im), (r_re, r_im) = anchor.chunk(2, 1), role.chunk(2, 1)
        query = torch.cat([a_re * r_re - a_im * r_im, a_re * r_im + a_im * r_re], 1)
        cubes = sum(self._moduli(factor).pow(3).sum() for factor in (anchor, role, answer))
        return cross_entropy(query @ self.entity.T, targets) + PENALTY * cubes / len(targets)

    @staticmethod
    def _moduli(factor: Tensor) -> Tensor:
        real, imaginary = factor.chunk(2, 1)
        return (real**2 + imaginary**2 + 1e-12).sqrt()  # a finite gradient at zero

    def train(self, seconds: float) -> Trained:
        """Take steps, epoch after epoch."""
        clock = StepClock(seconds)
        while True:
            order = torch.randperm(len(self.train_triples))
            for batch in self.train_triples[order].split(BATCH):
                self.optimiser.zero_grad()
                self.loss(batch).backward()
                self.optimiser.step()
                if clock.over(len(batch)):
                    return clock.trained


class Products(Trainer):
    """Matrix products of a step: the scores of all entities, and the gradients of both factors.

    Args:
        entities: rows of the entity table.
        dtype: data type of the matrices.
    """

    def __init__(self, entities: int, dtype: torch.dtype) -> None:
        def random(*shape: int) -> Any:
            return torch.randn(*shape).to(dtype)

        self.queries, self.table = random(2 * BATCH, 2 * DIM), random(entities, 2 * DIM)
        self.outer = random(2 * BATCH, entities)

    def train(self, seconds: float) -> Trained:
        """Repeat the products."""
        clock = StepClock(seconds)
        while True:
            _ = self.queries @ self.table.T
            _ = self.outer @ self.table
            _ = self.outer.T @ self.queries
            if clock.over(BATCH):
                return clock.trained
