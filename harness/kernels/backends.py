"""Selection of a kernel's version: its definition, compiled loops, or chunks."""

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

    Returns:
        "numba" (compiled loops) on CPUs where numba is installed, "chunked" on accelerators, and
        otherwise, or with ``HARNESS_KERNELS=reference``, "reference" (definitions in plain torch).

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
    """A function defined in plain torch, with faster versions for some backends.

    A call runs the version for the device of its first tensor. Backends without a version, and
    programs that torch compiles, run the definition. All versions share the definition's signature,
    docstring and errors; results differ by rounding only (``dropout`` also by the numbers drawn).

    Attributes:
        reference: the definition.
        versions: the versions by backend, "reference" among them.
    """

    def __init__(self, definition: Version[P, R]) -> None:
        update_wrapper(self, definition)
        self.reference = definition
        self.versions: dict[Backend, Version[P, R]] = {"reference": definition}

    def register(self, backend: Backend) -> Callable[[Version[P, R]], Version[P, R]]:
        """Return a decorator that registers a function as the version for a backend."""

        def add(version: Version[P, R]) -> Version[P, R]:
            self.versions[backend] = version
            return version

        return add

    def version(self, backend: Backend) -> Version[P, R]:
        """Return the version for a backend, or else the definition."""
        return self.versions.get(backend, self.reference)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the version for the device of the first tensor."""
        if torch.compiler.is_compiling():
            return self.reference(*args, **kwargs)
        tensor = _first_tensor((*args, *kwargs.values()))
        return self.version(backend_name(tensor.device.type))(*args, **kwargs)


def kernel(definition: Version[P, R]) -> Kernel[P, R]:
    """Decorate a function in plain torch as the definition of a kernel."""
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
    raise TypeError("a kernel needs a tensor among its arguments")


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None
