"""MMKRL, translation in a shared space to which structure and features are aligned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.model import (
    STRUCTURE,
    Capabilities,
    Model,
    ModelConfig,
    Query,
    Tables,
    Term,
    register_model,
)

from ._init import normal_table, rows_of, xavier_table
from ._modal import Concatenation, ids_of, offered
from ._scorers import normalise, translate_query

TERMS = 4
"""Distances in the energy."""


class MMKRLConfig(ModelConfig):
    """Options of MMKRL."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors: the MoCME paper's value for all methods (section 4.1)."""
    margin: Annotated[float, between(1.0, 24.0, log=True)] = 4.0
    """gamma, added to minus the mean of four distances, as for RotatE. The margin loss, with which
    MMKRL was trained, is independent of it (``objective.margin``)."""
    alignment: Annotated[float, Field(ge=0), between(0.01, 10.0, log=True)] = 1.0
    """Factor of the alignment losses (1 in the released class)."""
    normalise: Annotated[Literal["none", "l2"], one_of("none", "l2")] = "none"
    """l2 divides rows of features by their Euclidean norms; the released class does not."""
    shift: Annotated[float, Field(ge=0), between(1e-2, 1.0, log=True)] = 1.0
    """Standard deviation of the initial b_h, b_r and b_t, 1 in the released class. Their norms,
    shift * sqrt(dim), then exceed those of A h and A r many times, so that divided by their norms
    all relations begin as nearly the same vector."""
    variant: Literal["paper", "released"] = "paper"
    """paper: features are constants. released (the class in NativE's repository): features are
    fine-tuned."""


@register_model("mmkrl")
class MMKRL(Model):
    """score(h, r, t) = margin - 1/4 [ f(h',t') + f(m_h,m_t) + f(m_h,t) + f(h,m_t) ].

    f(a,b) = |a + r' - b|_1 with all three divided by their norms; h' = A h + b_h, r' = A r + b_r
    and t' = A t + b_t share a matrix; m = P [x_1; ...; x_M] + c for the features of all modalities.
    Added to the loss: the mean squares of h - h', t - t', r - r', B h - m_h and B t - m_t. Lu et
    al., MMKRL: A robust embedding approach for multi-modal knowledge graph representation learning
    (2022), as implemented in NativE's repository.

    Differences from that class: no adversarial perturbation as in its trainer; the alignment covers
    the entities of positives, not of negatives; any modalities, not only image and text. Absent
    features are zeros in m; an entity without any has m = B e, the aligned structural vector.
    """

    Config = MMKRLConfig
    structure_tables = (STRUCTURE, "shared")
    capabilities = Capabilities(
        title="MMKRL",
        reference="Lu et al. 2022",
        formula="margin - mean of |a_h + r' - b_t|_1, a and b structure, shared or modalities",
        uses_modalities=True,
        needs_features=True,
    )

    def __init__(
        self, config: MMKRLConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.entity = xavier_table(index.n_entities, config.dim)
        self.relation = xavier_table(index.n_relations, config.dim)
        self.shared = nn.Linear(config.dim, config.dim, bias=False)
        self.shifts = normal_table(3, config.dim, config.shift)  # of head, relation and tail
        self.to_modal = nn.Linear(config.dim, config.dim, bias=False)
        self.modal = Concatenation(
            offered(modalities),
            config.dim,
            index.n_entities,
            unit=config.normalise == "l2",
            trainable=config.variant == "released",
        )

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        shared = self.shared(structure).float()
        fallback = self.to_modal(structure).float()
        modal = torch.where(self.modal.has_any(entities), self.modal(entities), fallback)
        ends = [normalise(shared + self.shifts[0]), normalise(shared + self.shifts[2])]
        tables = {
            "shared": torch.cat(ends, 1),
            "modal": normalise(modal),
            "structure": normalise(structure),
        }
        return tables | {"ids": ids_of(entities, structure)} if self.training else tables

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        relation = self.shared(rows_of(self.relation, relations)).float() + self.shifts[1]
        point = partial(translate_query, relation=normalise(relation), side=side)
        shared, modal, structure = (
            rows_of(tables[name], anchors) for name in ("shared", "modal", "structure")
        )
        # A row of "shared" is (h', t'). The anchor is one half; the other half of the candidate
        # is compared, with its first half scaled to zero.
        head, tail = shared.chunk(2, 1)
        zeros, ones = torch.zeros_like(head), torch.ones_like(head)
        if side == "tail":
            query, scale = torch.cat([zeros, point(head)], 1), torch.cat([zeros, ones], 1)
        else:
            query, scale = torch.cat([point(tail), zeros], 1), torch.cat([ones, zeros], 1)
        terms = (
            Term("l1", query, "shared", 1 / TERMS, scale),
            Term("l1", point(modal), "modal", 1 / TERMS),
            Term("l1", point(modal), "structure", 1 / TERMS),
            Term("l1", point(structure), "modal", 1 / TERMS),
        )
        return Query(terms, self.config.margin)

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return the alignment losses of the positives' entities and relations."""
        if not (self.training and self.config.alignment):
            return None
        total = self._moved(rows_of(self.relation, relations), 1)
        for ids, shift in zip(tables["ids"][rows, 0].unbind(1), (0, 2), strict=True):
            vectors = rows_of(self.entity, ids)
            has = self.modal.has_any(ids)
            residual = (self.to_modal(vectors).float() - self.modal(ids)).square() * has
            share = residual.sum() / (has.sum() * residual.shape[1]).clamp(min=1)
            total = total + self._moved(vectors, shift) + share
        return total * float(self.config.alignment)

    def _moved(self, vectors: Tensor, shift: int) -> Tensor:
        """Return the mean square distance of vectors [n, dim] from their shared vectors."""
        return mse_loss(self.shared(vectors).float() + self.shifts[shift], vectors)
