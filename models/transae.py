"""TransAE, TransE on the codes of a multi-modal auto-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from harness.config.search import between
from harness.index import GraphIndex, Modality, Side
from harness.model import (
    Capabilities,
    ContractOptions,
    Model,
    ModelConfig,
    Query,
    Tables,
    Term,
    register_model,
)

from ._init import rows_of, uniform_table, xavier_table
from ._modal import ModalityTable, has_any_modality, ids_of, offered, selected
from ._scorers import normalise, translate_query


class TransAEConfig(ModelConfig):
    """Options of TransAE."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of codes and relations: the MoCME paper's value for all methods (section 4.1); 50 in
    the public re-implementation."""
    hidden: Annotated[int, Field(ge=1)] = 512
    """Width of each modality's hidden layers; in the re-implementation 512 for images of 4,096
    components and 50 for texts of 100. Ignored by the variant "released"."""
    margin: Annotated[float, between(1.0, 24.0, log=True)] = 4.0
    """gamma, added to minus the distance. The margin loss, with which TransAE was trained, does not
    depend on it (``objective.margin``, 1 in the re-implementation)."""
    reconstruction: Annotated[float, Field(ge=0), between(0.1, 10.0, log=True)] = 2.0
    """Factor of the reconstruction loss relative to the loss of triples, 1 / beta with the
    re-implementation's beta of 0.5. Ignored by the variant "released"."""
    structure: Literal["missing", "all"] = "missing"
    """Entities with an additional trained vector: those without features, or all. Ignored by the
    variant "released"."""
    variant: Literal["paper", "released"] = "paper"
    """paper: the auto-encoder. released (the class in NativE's repository): it never calls its
    auto-encoder and scores trained vectors, divided by their norms, as TransE does, without
    features."""


@register_model("transae")
class TransAE(Model):
    """score(h, r, t) = margin - |c_h + r - c_t|_1, c the code of an entity's features.

    With s the logistic function: u_m = s(A_m x_m + a_m) per modality, c = s(W [u_1; ...; u_M] + w);
    decoder v_m = s(B_m c + b_m), y_m = s(C_m v_m + d_m), and the mean squares of x_m - y_m of the
    positives' entities are added to the loss. Wang et al., Multimodal Data Enhanced Representation
    Learning for Knowledge Graphs (2019), after a public re-implementation.

    Differences from it: any modalities; each feature component is scaled to [0, 1] over the
    entities with the modality, the range of s; reconstruction covers positives, not negatives. An
    absent modality has u_m = 0 and no reconstruction; an entity without any has a trained vector,
    added inside the outer s (``structure``).
    """

    Config = TransAEConfig
    capabilities = Capabilities(
        title="TransAE",
        reference="Wang et al. 2019",
        formula="margin - |c_h + r - c_t|_1, c = code of an auto-encoder of all modalities",
        uses_modalities=True,
        needs_features=True,
    )
    # Where features are noise, only a trained vector can distinguish an entity.
    contract = ContractOptions(learning={"hidden": 32, "structure": "all"})
    learned: Tensor

    @classmethod
    def capabilities_of(cls, options: Mapping[str, Any]) -> Capabilities:
        if cls.Config.model_validate(dict(options)).variant == "paper":
            return cls.capabilities
        return replace(cls.capabilities, uses_modalities=False, needs_features=False)

    def __init__(
        self, config: TransAEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.released = config.variant == "released"
        self.entity = xavier_table(index.n_entities, config.dim)
        if self.released:
            self.relation = xavier_table(index.n_relations, config.dim)
            return
        present = offered(modalities)
        learned = torch.ones(index.n_entities, dtype=torch.bool)
        if config.structure == "missing":
            learned = ~has_any_modality(present, index.n_entities)
        self.register_buffer("learned", learned[:, None], persistent=False)
        relation = uniform_table(index.n_relations, config.dim, 6 / config.dim**0.5)
        self.relation = nn.Parameter(normalize(relation.detach(), p=1, dim=1))
        self.coders = nn.ModuleList(Coder(m, config.hidden, config.dim) for m in present)
        self.code = nn.Linear(config.hidden * max(1, len(present)), config.dim)

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        if self.released:
            return {"entity": normalise(structure)}
        total = self.code.bias + torch.where(selected(self.learned, entities), structure, 0.0)
        weights = self.code.weight.split(self.config.hidden, 1)
        for coder, weight in zip(self._coders, weights, strict=False):
            total = total + coder.encoded(entities, weight)
        codes = {"entity": total.float().sigmoid()}
        return codes | {"ids": ids_of(entities, structure)} if self.training else codes

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        relation = rows_of(self.relation, relations)
        relation = normalise(relation) if self.released else relation
        query = translate_query(rows_of(tables["entity"], anchors), relation, side)
        return Query((Term("l1", query, "entity"),), self.config.margin)

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return the reconstruction losses of the positives' heads and tails."""
        if self.released or not (self.training and self.config.reconstruction):
            return None
        total = torch.zeros((), device=rows.device)
        for side in rows.unbind(1):
            codes, ids = rows_of(tables["entity"], side), tables["ids"][side, 0]
            for coder in self._coders:
                total = total + coder.reconstruction_loss(codes, ids)
        return total * float(self.config.reconstruction)

    @property
    def _coders(self) -> list[Coder]:
        return cast("list[Coder]", list(self.coders))


class Coder(nn.Module):
    """Encoder and decoder of one modality.

    Args:
        modality: features by entity.
        hidden: width of the hidden layers.
        width: width of the code.
    """

    low: Tensor
    span: Tensor

    def __init__(self, modality: Modality, hidden: int, width: int) -> None:
        super().__init__()
        self.table = ModalityTable(modality, unit=False)
        # Persistent: a model tested on corrupted features keeps the range of its training features.
        features = modality.matrix[modality.present].float()
        self.register_buffer("low", features.amin(0))
        span = features.amax(0) - self.low
        # A constant stays near 0 where corrupted features differ from those of training.
        self.register_buffer("span", torch.where(span > 0, span, 1.0))
        self.inward = nn.Linear(self.table.width, hidden)
        self.outward = nn.Sequential(
            nn.Linear(width, hidden),
            nn.Sigmoid(),
            nn.Linear(hidden, self.table.width),
            nn.Sigmoid(),
        )

    def encoded(self, entities: Tensor | None, weight: Tensor) -> Tensor:
        """Return the terms [n, width] of entities (None: all) in the code layer, 0 where absent.

        Args:
            entities: ids [n].
            weight: weight [width, hidden] of the code layer.
        """

        def into(features: Tensor) -> Tensor:
            return linear(self.inward(self._scaled(features)).sigmoid(), weight)

        return torch.where(self.table.has(entities), self.table.mapped(into, entities), 0.0)

    def reconstruction_loss(self, codes: Tensor, entities: Tensor) -> Tensor:
        """Return the mean squared error of reconstructed features, over entities with the modality.

        Args:
            codes: codes [n, width].
            entities: ids [n].
        """
        has = self.table.has(entities)
        squares = (self.outward(codes) - self._scaled(self.table.rows(entities))).square() * has
        mean: Tensor = squares.sum() / (has.sum() * self.table.width).clamp(min=1)
        return mean

    def _scaled(self, features: Tensor) -> Tensor:
        """Return features scaled by component to [0, 1] over the entities with the modality."""
        return (features - self.low) / self.span
