"""OTKGE, ComplEx with features mapped to the structural space by optimal transport."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config.base import Config
from harness.config.search import between, one_of
from harness.index import GraphIndex, Modality
from harness.model import Capabilities, ModelConfig, Tables, register_model

from ._bilinear import Bilinear
from ._fusion import features_of
from ._init import rows_of, xavier_table
from ._modal import offered

__all__ = ["OTKGE", "transport"]


class Shares(Config):
    """Relative weights of the modalities in an entity's vector."""

    image: Annotated[float, Field(ge=0)] = 1.0
    """Weight of images."""
    text: Annotated[float, Field(ge=0)] = 8.0
    """Weight of text."""
    other: Annotated[float, Field(gt=0)] = 1.0
    """Weight of any other modality."""


class Transport(Config):
    """The transport plan between coordinates of features and of structural vectors."""

    scale: Annotated[float, Field(gt=0)] = 100.0
    """Factor of the cost (100 on WN9-IMG, 300 on FB-IMG)."""
    epsilon: Annotated[float, Field(gt=0)] = 10.0
    """Weight of the entropy: the kernel is exp(-cost / epsilon), exp(-0.1 cost) in the code."""
    entities: Annotated[int, Field(ge=1)] = 10
    """Number of entities, the first ones with the modality, whose plans are averaged."""
    iterations: Annotated[int, Field(ge=1)] = 1000
    """Largest number of Sinkhorn iterations."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-9
    """Squared error of the marginals at which the iterations stop."""


class OTKGEConfig(ModelConfig):
    """Options of OTKGE, with the values of the released script for WN9-IMG unless noted."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: all vectors are 2 * dim real numbers (500 on WN9-IMG and FB-IMG)."""
    variant: Literal["paper", "released"] = "paper"
    """paper: a coordinate of the structural space is the mean of the mass moved to it (D P_m).
    released: transport.scale times as much."""
    modalities: Annotated[float, Field(ge=0, lt=1), one_of(0.2, 0.4, 0.6, 0.8, 0.9)] = 0.9
    """Total weight of the modalities in an entity's vector; the structure has the rest (0.2 on
    FB-IMG). Ignored without features."""
    shares: Shares = Shares()
    """Relative weights of the modalities: image 0.1 and text 0.8 of the vector if these are all."""
    normalise: Literal["none", "l2"] = "l2"
    """l2 divides features by their norms, as the scale of the transport assumes: the cost is a
    difference of coordinates. The features of the released code are not public."""
    transport: Transport = Transport()
    """The transport plan."""
    l3: Annotated[float, Field(ge=0), between(1e-4, 1e-1, log=True)] = 5e-3
    """Weight of the cubic penalty on a batch's fused vectors (N3; 1e-3 on FB-IMG)."""
    penalty: Literal["batch", "rank"] = "batch"
    """Divisor of the sum of cubes. batch: the examples of a batch, as in kbc and RSME (each triple
    is two, one of them by the reverse relation). rank: dim, as in the released code, whose penalty
    therefore grows with the batch: with its 2000 examples and 500 components it is 4 times as
    large. Ignored without l3."""
    scale: Annotated[float, Field(gt=0)] = 1e-3
    """Standard deviation of the initial structural values."""


@register_model("otkge")
class OTKGE(Bilinear):
    """score(h, r, t) = Re(sum z_h r conj(z_t)), z = w_0 e + sum_m w_m x_m (D P_m + W_m).

    Cao et al., OTKGE: Multi-modal Knowledge Graph Embeddings via Optimal Transport (2022). Features
    x_m are frozen, W_m is trained. P_m transports coordinates of
    features to the D coordinates of structural vectors: moving coordinate j of an entity to k costs
    s (x_j - e_k)^2, both marginals are uniform, and Sinkhorn iterations find the plan of minimum
    cost minus entropy. P_m is the mean plan of the first entities with the modality. It depends on
    e, is recomputed whenever entities are encoded, and has no gradient. Heads are predicted by
    reverse relations; train with objective.loss=one_vs_all and optimiser adagrad with lr=0.1.

    The paper describes plans between entities and a barycentre; its code has plans between
    coordinates and a fixed weighted sum, as here. Differences from the code: D P_m is the mean of
    the mass moved to each coordinate (the code multiplies it by s, see variant); iterations are
    logarithmic, so that no kernel underflows; plans use entities with the modality; targets are not
    weighted by frequency (its option -weight). An absent modality contributes zero.
    """

    Config = OTKGEConfig
    capabilities = Capabilities(
        title="OTKGE",
        reference="Cao et al. 2022",
        formula="Re sum z_h r conj(z_t), z = w0 e + sum_m w_m x_m (D P_m + W_m)",
        uses_modalities=True,
    )
    reciprocal = True

    def __init__(
        self, config: OTKGEConfig, index: GraphIndex, modalities: Mapping[str, Modality]
    ) -> None:
        super().__init__(config, index, modalities)
        self.build_tables(index, config.dim, config.scale)
        present = {modality.name: modality for modality in offered(modalities)}
        self.weights = _weights(config, tuple(present))
        self.residual = nn.ParameterDict()
        for name, modality in present.items():
            features = features_of(modality, unit=config.normalise == "l2")
            first = modality.present.nonzero()[: config.transport.entities, 0]
            self.register_buffer(f"features_{name}", features, persistent=False)
            self.register_buffer(f"first_{name}", first, persistent=False)
            self.residual[name] = xavier_table(features.shape[1], 2 * config.dim)

    def encode(self, entities: Tensor | None = None) -> Tables:
        structure = self.entity if entities is None else rows_of(self.entity, entities)
        fused = (1 - sum(self.weights.values())) * structure
        for name, weight in self.weights.items():
            features = self.get_buffer(f"features_{name}")
            mapping = self._plan(name) + self.residual[name]
            rows = features if entities is None else features[entities]
            fused = fused + weight * (rows @ mapping)
        return {"entity": fused}

    def penalty(self, tables: Tables, rows: Tensor, relations: Tensor) -> Tensor | None:
        """Return the cubic penalty on the fused vectors of a batch and its relations."""
        added = super().penalty(tables, rows, relations)
        if added is None or self.config.penalty == "batch":
            return added
        factor: float = 2 * len(rows) / self.config.dim
        return added * factor

    @torch.no_grad()
    def _plan(self, name: str) -> Tensor:
        """Return D P_m [width of the features, D], scaled by the variant."""
        options = self.config.transport
        first = self.get_buffer(f"first_{name}")
        features, structure = self.get_buffer(f"features_{name}")[first], self.entity[first]
        with torch.autocast(structure.device.type, enabled=False):
            cost = options.scale * (features[:, :, None] - structure[:, None]).square()
            plans = transport(
                cost,
                options.epsilon,
                iterations=options.iterations,
                tolerance=options.tolerance,
            )
            factor = options.scale if self.config.variant == "released" else 1.0
            return plans.mean(0) * (factor * structure.shape[1])


def transport(cost: Tensor, epsilon: float, *, iterations: int, tolerance: float) -> Tensor:
    """Return the plans [b, n, m] of minimum <plan, cost> - epsilon entropy, with uniform marginals.

    Sinkhorn iterations on logarithms (Peyre and Cuturi, Computational Optimal Transport, 2019,
    section 4.4). Columns have exact marginals; rows are within the tolerance.

    Args:
        cost: costs [b, n, m] of b problems.
        epsilon: weight of the entropy.
        iterations: largest number of iterations.
        tolerance: squared error of the row sums of each plan.
    """
    kernel = cost / -epsilon
    n, m = cost.shape[1:]
    column = torch.zeros_like(kernel[:, :1])
    row = -math.log(n) - kernel.logsumexp(2, keepdim=True)
    for _ in range(iterations):
        column = -math.log(m) - (kernel + row).logsumexp(1, keepdim=True)
        fitting = -math.log(n) - (kernel + column).logsumexp(2, keepdim=True)
        # Row sums are the marginal 1 / n times exp(row - fitting).
        error = ((row - fitting).expm1() / n).square().sum(1).max()
        if error < tolerance:
            break
        row = fitting
    return (kernel + row + column).exp()


def _weights(config: OTKGEConfig, names: tuple[str, ...]) -> dict[str, float]:
    """Return modality -> weight in an entity's vector."""
    given = config.shares.model_dump()
    shares = {name: given.get(name, config.shares.other) for name in names}
    total = sum(shares.values())
    if not total:
        return dict.fromkeys(names, 0.0)
    return {name: config.modalities * share / total for name, share in shares.items()}
