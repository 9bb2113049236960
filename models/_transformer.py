"""Transformers over short sequences, for VISTA and MyGO."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness import kernels
from harness.index import Side
from harness.model import ModelConfig

from ._init import xavier_rows

__all__ = [
    "InitialTables",
    "Rate",
    "TransformerConfig",
    "initial_tables",
    "output_at",
    "query_sequence",
    "transformer",
]

Rate = Annotated[float, Field(ge=0, lt=1)]
"""Probability of dropout."""


class TransformerConfig(ModelConfig):
    """Options of all models with transformers."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Width of all vectors; a multiple of ``heads``."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of every layer."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")
        return self


class InitialTables(NamedTuple):
    """Initial vectors of transformers over entities, relations and queries.

    Attributes:
        entity: entity vectors [N, dim].
        relation: relation vectors [R, dim].
        tokens: special tokens [t, dim]; the last one is the mask token of a query.
        kinds: position vectors [k, dim] in the sequence of an entity or a relation.
        positions: position vectors [3, dim] of head, relation and tail in a query.
    """

    entity: nn.Parameter
    relation: nn.Parameter
    tokens: nn.Parameter
    kinds: nn.Parameter
    positions: nn.Parameter


def initial_tables(
    width: int, entities: int, relations: int, *, tokens: int, kinds: int, released: bool
) -> InitialTables:
    """Return tables with Glorot's initial values.

    Args:
        width: width of all vectors, dim.
        entities, relations, tokens, kinds: number of rows of each table.
        released: True for the bounds of the tensor shapes in the code of VISTA and MyGO:
            [n, 1, dim] for entities and relations, [1, 1, dim] for each token and position,
            [1, dim] for the mask token. The bounds are sqrt(6 / (dim (n + 1))), sqrt(3 / dim) and
            sqrt(6 / (dim + 1)); else they are sqrt(6 / (rows + dim)).
    """
    if not released:
        rows = entities, relations, tokens, kinds, 3
        return InitialTables(*(xavier_rows((n, width)) for n in rows))
    single = (1, 1, width)
    return InitialTables(
        xavier_rows((entities, 1, width)),
        xavier_rows((relations, 1, width)),
        xavier_rows(*[single] * (tokens - 1), (1, width)),
        xavier_rows(*[single] * kinds),
        xavier_rows(*[single] * 3),
    )


class KernelDropout(nn.Dropout):
    """``torch.nn.Dropout`` with the harness's kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x with components dropped at random in training."""
        return kernels.dropout(x, self.p, self.training)


def transformer(
    width: int, heads: int, feedforward: int, dropout: float, layers: int
) -> nn.TransformerEncoder:
    """Return post-norm encoder layers with ReLU (Vaswani et al. 2017) over [n, s, width]."""
    layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True)
    # The dropouts on large tensors; the one on attention weights stays torch's.
    layer.dropout, layer.dropout1, layer.dropout2 = (KernelDropout(dropout) for _ in range(3))
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def output_at(
    encoder: nn.TransformerEncoder, x: Tensor, position: int = 0, absent: Tensor | None = None
) -> Tensor:
    """Return a transformer's output [n, width] at one position of each sequence.

    The last layer computes only keys and values of the other positions, which for one layer over
    ten positions is a quarter of the operations.

    Args:
        encoder: result of ``transformer``.
        x: sequences [n, s, width].
        position: position in 0..s-1.
        absent: bool [n, s], padding positions.
    """
    *first_layers, last = encoder.layers
    assert isinstance(last, nn.TransformerEncoderLayer)
    for layer in first_layers:
        x = layer(x, src_key_padding_mask=absent)
    state = x[:, position : position + 1]
    attended, _ = last.self_attn(state, x, x, key_padding_mask=absent, need_weights=False)
    state = last.norm1(state + last.dropout1(attended))[:, 0]
    hidden = last.linear2(last.dropout(torch.relu(last.linear1(state))))
    result: Tensor = last.norm2(state + last.dropout2(hidden))
    return result


def query_sequence(
    positions: Tensor, blank: Tensor, anchors: Tensor, relations: Tensor, side: Side
) -> tuple[Tensor, int]:
    """Return queries as sequences of head, relation and tail, and the position of the mask token.

    Args:
        positions: position vectors [3, width] of head, relation and tail.
        blank: mask token [width] in place of the target.
        anchors: anchor entities [q, width].
        relations: relation vectors [q, width].
        side: the side that is predicted.

    Returns:
        sequences [q, 3, width] with the relation at position 1; position 0 or 2.
    """
    blanks = blank.expand_as(anchors)
    triple = [anchors, relations, blanks] if side == "tail" else [blanks, relations, anchors]
    return torch.stack(triple, 1) + positions, 2 if side == "tail" else 0
