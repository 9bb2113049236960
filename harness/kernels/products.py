"""Matrix products in bfloat16 on processors that lack them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.precision import multiplies_bf16

__all__ = ["bf16_products"]

_aten = torch.ops.aten
_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {_aten.mm.default, _aten.bmm.default, _aten.addmm.default, _aten.baddbmm.default}
)
"""What torch computes every product with, of whatever name: linear, matmul, einsum."""


class _InFloat32(TorchDispatchMode):
    """Multiply matrices of bfloat16 in float32.

    A product in bfloat16 is a sum in float32 of products that are exact in float32, so this
    differs by the order of the sum.
    """

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _PRODUCTS and args[0].dtype == torch.bfloat16:
            args = tuple(x.float() if isinstance(x, Tensor) else x for x in args)
            return func(*args, **kwargs).bfloat16()
        return func(*args, **kwargs)


def bf16_products(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which products in bfloat16 are about as fast as in float32.

    On a processor without such instructions torch needs 4 times as long for them as in float32 with
    AVX-512, and 36 to 56 times with AVX2. Elsewhere the context does nothing.
    """
    slow = device.type == "cpu" and multiplies_bf16() is False
    return _InFloat32() if slow else nullcontext()  # type: ignore[no-untyped-call]
