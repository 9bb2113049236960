"""How two results are compared, and what is said when they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from harness.contract.core import Broken

__all__ = ["agree", "demand", "same_state"]


def demand(holds: object, message: str) -> None:
    """Raise ``Broken`` with the message unless something holds."""
    if not holds:
        raise Broken(message)


def agree(
    found: Tensor,
    expected: Tensor,
    names: tuple[str, str],
    at: Callable[[tuple[int, ...]], str],
    *,
    absolute: float = 1e-5,
    relative: float = 1e-5,
) -> None:
    """Demand that two tensors are equal but for rounding.

    Args:
        found, expected: of one shape.
        names: what they are, as the message calls them.
        at: place in them -> what the message calls it: ``"triple (3, 1, 7)"``.
        absolute, relative: what they may differ by, as in ``torch.isclose``.

    Raises:
        Broken: they differ; the largest difference is told.
    """
    first, second = names
    found, expected = found.detach(), expected.detach()  # a table may be a parameter itself
    shapes = tuple(found.shape), tuple(expected.shape)
    demand(
        shapes[0] == shapes[1], f"{first} has the shape {shapes[0]}, {second} the shape {shapes[1]}"
    )
    close = torch.isclose(found, expected, rtol=relative, atol=absolute)
    if close.all():
        return
    gap = (found.double() - expected.double()).abs().nan_to_num(nan=torch.inf)
    worst = torch.where(close, -1.0, gap).flatten().argmax()
    place = tuple(int(i) for i in torch.unravel_index(worst, found.shape))
    a, b = float(found[place]), float(expected[place])
    raise Broken(
        f"{first} and {second} differ by {abs(a - b):.3g} at {at(place)}: {a:.6g} and {b:.6g}; "
        f"{int((~close).sum())} of {close.numel()} differ by more than rounding"
    )


def same_state(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: tuple[str, str]
) -> None:
    """Demand that two states of a model are equal to the bit.

    Args:
        found, expected: parameters and buffers by name.
        names: whose they are, as the message calls them.
    """
    for key, value in expected.items():
        if not torch.equal(found[key], value):
            gap = float((found[key].double() - value.double()).abs().max())
            raise Broken(f"'{key}' of {names[0]} and of {names[1]} differ by up to {gap:.3g}")
