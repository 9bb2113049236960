"""Which version of a kernel is computed: its definition, compiled loops, or chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache, update_wrapper
from importlib.util import find_spec
from typing import Generic, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from harness.errors import ConfigError

__all__ = ["Backend", "Kernel", "backend_name", "kernel"]

Backend = Literal["reference", "numba", "chunked"]

P = ParamSpec("P")
R = TypeVar("R")
Version = Callable[P, R]


def backend_name(device: str) -> Backend:
    """Return the backend used on a device type ("cpu", "cuda", "mps"); stored with every run.

    "numba" (compiled loops) on CPUs when numba is installed, "chunked" on accelerators, or
    "reference" (the definitions in plain torch). ``HARNESS_KERNELS=reference`` forces the last.

    Raises:
        ConfigError: HARNESS_KERNELS is neither "reference" nor "auto".
    """
    setting = os.environ.get("HARNESS_KERNELS", "auto")
    if setting not in ("auto", "reference"):
        raise ConfigError(f"HARNESS_KERNELS={setting}: choose reference or auto")
    if setting == "reference":
        return "reference"
    if device != "cpu":
        return "chunked"
    return "numba" if _has_numba() else "reference"


class Kernel(Generic[P, R]):
    """A function with a definition in plain torch, and a faster version of it for some backends.

    A call computes the version of the backend used on the device of its first tensor; a backend
    without a version of its own, and a program that torch compiles, take the definition. All
    versions have the definition's signature, docstring and errors; they differ by rounding only
    (and ``dropout`` by what is drawn).

    Attributes:
        reference: the definition.
        versions: the versions by backend, "reference" among them.
    """

    def __init__(self, definition: Version[P, R]) -> None:
        update_wrapper(self, definition)
        self.reference = definition
        self.versions: dict[Backend, Version[P, R]] = {"reference": definition}

    def register(self, backend: Backend) -> Callable[[Version[P, R]], Version[P, R]]:
        """Decorator: make a function the version of a backend."""

        def add(version: Version[P, R]) -> Version[P, R]:
            self.versions[backend] = version
            return version

        return add

    def version(self, backend: Backend) -> Version[P, R]:
        """Return what the backend computes."""
        return self.versions.get(backend, self.reference)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the version of the backend in use."""
        if torch.compiler.is_compiling():
            return self.reference(*args, **kwargs)
        tensor = _first_tensor((*args, *kwargs.values()))
        return self.version(backend_name(tensor.device.type))(*args, **kwargs)


def kernel(definition: Version[P, R]) -> Kernel[P, R]:
    """Decorator: make a function in plain torch the definition of a kernel."""
    return Kernel(definition)


def _first_tensor(values: Iterable[object]) -> Tensor:
    """Return the first tensor among values and the tuples and lists in them."""
    for value in values:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, tuple | list):
            try:
                return _first_tensor(value)
            except TypeError:
                continue
    raise TypeError("a kernel computes with tensors, and got none")


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None
