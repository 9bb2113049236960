"""Comparisons of two results, with messages about the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from harness.contract.core import Broken

__all__ = ["agree", "demand", "same_state"]


def demand(holds: object, message: str) -> None:
    """Raise ``Broken`` with the message unless the condition holds."""
    if not holds:
        raise Broken(message)


def agree(
    actual: Tensor,
    expected: Tensor,
    names: tuple[str, str],
    at: Callable[[tuple[int, ...]], str],
    *,
    absolute: float = 1e-5,
    relative: float = 1e-5,
) -> None:
    """Require two tensors to be equal up to rounding.

    Args:
        actual, expected: tensors of equal shape.
        names: names of the two tensors in the message.
        at: index -> its name in the message (``"triple (3, 1, 7)"``).
        absolute, relative: tolerances, as in ``torch.isclose``.

    Raises:
        Broken: they differ; the message has the largest difference.
    """
    first, second = names
    actual, expected = actual.detach(), expected.detach()  # a table may be a parameter itself
    shapes = tuple(actual.shape), tuple(expected.shape)
    demand(
        shapes[0] == shapes[1], f"{first} has the shape {shapes[0]}, {second} the shape {shapes[1]}"
    )
    close = torch.isclose(actual, expected, rtol=relative, atol=absolute)
    if close.all():
        return
    gap = (actual.double() - expected.double()).abs().nan_to_num(nan=torch.inf)
    worst = torch.where(close, -1.0, gap).flatten().argmax()
    position = tuple(int(i) for i in torch.unravel_index(worst, actual.shape))
    a, b = float(actual[position]), float(expected[position])
    raise Broken(
        f"{first} and {second} differ by {abs(a - b):.3g} at {at(position)}: {a:.6g} and {b:.6g}; "
        f"{int((~close).sum())} of {close.numel()} differ by more than rounding"
    )


def same_state(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: tuple[str, str]
) -> None:
    """Require two states of a model to be bit-equal.

    Args:
        actual, expected: name -> parameter or buffer.
        names: names of the two states in the message.
    """
    for key, value in expected.items():
        if not torch.equal(actual[key], value):
            gap = float((actual[key].double() - value.double()).abs().max())
            raise Broken(f"'{key}' of {names[0]} and of {names[1]} differ by up to {gap:.3g}")
