"""Transformers over short sequences, as VISTA and MyGO have them."""

from __future__ import annotations

from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.index import Side
from harness.model import ModelConfig

__all__ = ["Rate", "TransformerConfig", "answered", "first_of", "transformer"]

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


def transformer(
    width: int, heads: int, feedforward: int, dropout: float, layers: int
) -> nn.TransformerEncoder:
    """Return post-norm layers with ReLU (Vaswani et al. 2017) over [n, s, width]."""
    layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def first_of(encoder: nn.TransformerEncoder, x: Tensor, absent: Tensor) -> Tensor:
    """Return what a transformer makes of the first place of each sequence: [n, width].

    The last layer reads keys and values of the other places and computes nothing else for them,
    which for one layer over ten places is a quarter of the operations.

    Args:
        encoder: what ``transformer`` returns.
        x: [n, s, width].
        absent: [n, s] boolean, places that nobody looks at.
    """
    *others, last = encoder.layers
    assert isinstance(last, nn.TransformerEncoderLayer)
    for layer in others:
        x = layer(x, src_key_padding_mask=absent)
    first = x[:, :1]
    seen, _ = last.self_attn(first, x, x, key_padding_mask=absent, need_weights=False)
    first = last.norm1(first + last.dropout1(seen))[:, 0]
    made = last.linear2(last.dropout(torch.relu(last.linear1(first))))
    result: Tensor = last.norm2(first + last.dropout2(made))
    return result


def answered(
    decoder: nn.TransformerEncoder,
    positions: Tensor,
    blank: Tensor,
    known: Tensor,
    relations: Tensor,
    side: Side,
) -> tuple[Tensor, Tensor]:
    """Return what a transformer makes of the blank of each question and of its relation.

    Args:
        decoder: over [q, 3, width].
        positions: [3, width] of head, relation and tail.
        blank: [width] stands for what is asked for.
        known: [q, width] the other entity.
        relations: [q, width].
        side: the side that is asked for.

    Returns:
        twice [q, width].
    """
    blanks = blank.expand_as(known)
    asked = [known, relations, blanks] if side == "tail" else [blanks, relations, known]
    decoded: Tensor = decoder(torch.stack(asked, 1) + positions)
    return decoded[:, 2 if side == "tail" else 0], decoded[:, 1]
