"""VBKGC, RotatE between structural and multi-modal entity vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality, Side
from harness.model import Capabilities, Model, ModelConfig, Query, Tables, register_model

from ._init import rows_of, uniform_table
from ._modal import Concatenation, offered
from ._scorers import crossed, rotate_query


class VBKGCConfig(ModelConfig):
    """Options of VBKGC."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: entity vectors are 2 * dim real numbers, relations dim phases."""
    margin: Annotated[float, between(4.0, 48.0, log=True)] = 16.0
    """gamma, added to minus the sum of four distances: four times RotatE's."""
    epsilon: float = 2.0
    """Initial structural vectors are uniform in +-(margin + epsilon) / (2 dim), as in the authors'
    class."""
    normalise: Annotated[Literal["none", "l2"], one_of("none", "l2")] = "none"
    """l2 divides rows of features by their Euclidean norms; the authors do not."""


@register_model("vbkgc")
class VBKGC(Model):
    """score(h, r, t) = margin - [ D(s,s) + D(m,m) + D(m,s) + D(s,m) ].

    D(a,b) = sum_k |a_hk e^{i phase_rk} - b_tk|; s is the structural vector of an entity and m = P x
    + b the vector of its features. Zhang and Zhang, Knowledge Graph Completion with Pre-trained
    Multimodal Transformer and Twins Negative Sampling (2022), on RotatE as in their class VBRotatE.

    Differences from the authors' code: x is the concatenated features of all modalities, not one
    VisualBERT vector of image and text (a feature set with one such modality gives that); structure
    and modalities of a negative are of the same entity, as in the released class; the paper's twins
    negative sampling, which draws an entity for each, is ``negatives.strategy.name: twins``. Absent
    features are zeros in m; an entity without any has m = s.
    """

    Config = VBKGCConfig
    capabilities = Capabilities(
        title="VBKGC",
        reference="Zhang and Zhang 2022",
        formula="margin - sum of |a_h e^(i phase) - b_t|, a and b structure or modalities",
        uses_modalities=True,
        needs_features=True,
    )

    def __init__(
        self, config: VBKGCConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        bound = (config.margin + config.epsilon) / config.dim
        self.entity = uniform_table(index.n_entities, 2 * config.dim, bound / 2)
        self.relation = uniform_table(index.n_relations, config.dim, bound)
        self.phase_per_unit = math.pi / bound
        unit = config.normalise == "l2"
        present = offered(modalities)
        self.modal = Concatenation(present, 2 * config.dim, index.n_entities, unit=unit)

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        modal = torch.where(self.modal.has_any(entities), self.modal(entities), structure)
        return {"structure": structure, "modal": modal}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        phase = rows_of(self.relation, relations) * self.phase_per_unit
        point = partial(rotate_query, phase=phase, side=side)
        terms = crossed("modulus", tables, anchors, point, ("structure", "modal"))
        return Query(tuple(terms), self.config.margin)
