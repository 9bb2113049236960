"""Transformers over short sequences, as VISTA and MyGO have them."""

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
    "place_of",
    "question",
    "transformer",
]

Rate = Annotated[float, Field(ge=0, lt=1)]
"""Probability of dropout."""


class TransformerConfig(ModelConfig):
    """What transformers have in common."""

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
    """Vectors of a transformer over entities, relations and questions.

    Attributes:
        entity: [N, dim].
        relation: [R, dim].
        tokens: [t, dim]; the last one stands for the blank of a question.
        kinds: [k, dim] positions in the sequence of an entity or a relation.
        positions: [3, dim] positions of head, relation and tail in a question.
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
        width: dim.
        entities, relations, tokens, kinds: rows of the tables.
        released: take the bounds of the shapes that the code of VISTA and MyGO has: [n, 1, dim] of
            entities and relations, [1, 1, dim] of each token and position, [1, dim] of the blank.
            The bound is sqrt(6 / (dim (n + 1))), sqrt(3 / dim) and sqrt(6 / (dim + 1)); else it is
            sqrt(6 / (rows + dim)) of each table.
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


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` by the harness's kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x with numbers set to zero at random, in training."""
        return kernels.dropout(x, self.p, self.training)


def transformer(
    width: int, heads: int, feedforward: int, dropout: float, layers: int
) -> nn.TransformerEncoder:
    """Return post-norm layers with ReLU (Vaswani et al. 2017) over [n, s, width]."""
    layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True)
    # The three that are large; that of the attention's weights is torch's own.
    layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def place_of(
    encoder: nn.TransformerEncoder, x: Tensor, place: int = 0, absent: Tensor | None = None
) -> Tensor:
    """Return what a transformer makes of one place of each sequence: [n, width].

    The last layer reads keys and values of the other places and computes nothing else for them,
    which for one layer over ten places is a quarter of the operations.

    Args:
        encoder: what ``transformer`` returns.
        x: [n, s, width].
        place: in 0..s-1.
        absent: [n, s] boolean, places that nobody looks at.
    """
    *others, last = encoder.layers
    assert isinstance(last, nn.TransformerEncoderLayer)
    for layer in others:
        x = layer(x, src_key_padding_mask=absent)
    asked = x[:, place : place + 1]
    seen, _ = last.self_attn(asked, x, x, key_padding_mask=absent, need_weights=False)
    asked = last.norm1(asked + last.dropout1(seen))[:, 0]
    made = last.linear2(last.dropout(torch.relu(last.linear1(asked))))
    result: Tensor = last.norm2(asked + last.dropout2(made))
    return result


def question(
    positions: Tensor, blank: Tensor, known: Tensor, relations: Tensor, side: Side
) -> tuple[Tensor, int]:
    """Return questions as sequences of head, relation and tail, and the place of what is asked for.

    Args:
        positions: [3, width] of head, relation and tail.
        blank: [width] stands for what is asked for.
        known: [q, width] the other entity.
        relations: [q, width].
        side: the side that is asked for.

    Returns:
        [q, 3, width]; 0 or 2. The relation is at 1.
    """
    blanks = blank.expand_as(known)
    asked = [known, relations, blanks] if side == "tail" else [blanks, relations, known]
    return torch.stack(asked, 1) + positions, 2 if side == "tail" else 0
