"""Which version of a kernel is computed, and what importing the kernels costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from harness import kernels
from harness.errors import ConfigError
from harness.kernels import backends
from harness.kernels.backends import Kernel, kernel


@pytest.fixture
def named() -> Kernel[[object], str]:
    """A kernel that tells which of its versions is computed; it has one for "numba"."""

    @kernel
    def version_name(x: object) -> str:
        return "reference"

    @version_name.register("numba")
    def _version_name(x: object) -> str:
        return "numba"

    return version_name


def test_compiled_loops_are_used_on_a_cpu() -> None:
    assert kernels.backend_name("cpu") == "numba"


def test_accelerators_get_the_chunks() -> None:
    assert kernels.backend_name("cuda") == "chunked"


def test_the_device_of_the_first_tensor_decides_wherever_it_is(
    named: Kernel[[object], str],
) -> None:
    on_cpu, on_meta = torch.zeros(1), torch.zeros(1, device="meta")
    assert named(on_cpu) == named([("op", on_cpu, on_meta)]) == "numba"
    assert named([("op", on_meta, on_cpu)]) == "reference", "chunked, of which it has no version"
    with pytest.raises(TypeError, match="a kernel needs a tensor among its arguments"):
        named(["op", ()])


def test_a_backend_without_a_version_takes_the_definition(named: Kernel[[object], str]) -> None:
    assert named.version("chunked") is named.version("reference") is named.reference
    assert named.version("numba") is named.versions["numba"]


def test_a_comparison_without_a_compiled_loop_is_chunked_on_a_cpu_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = torch.ones(3, 2)
    comparison = kernels.VectorComparison("l2", table, table)
    pairs = kernels.Pairs.one_each(torch.arange(3))
    monkeypatch.setattr(kernels.comparisons, "loops", None)
    assert torch.equal(kernels.score_pairs(comparison, pairs), -torch.zeros(3))
    assert torch.equal(kernels.score_all(comparison), -torch.zeros(3, 3))
    _, tied = kernels.count_competitors([comparison], pairs, kernels.Pairs.none(3))
    assert tied.tolist() == [2, 2, 2]


def test_the_reference_can_be_forced(
    monkeypatch: pytest.MonkeyPatch, named: Kernel[[object], str]
) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    assert kernels.backend_name("cpu") == kernels.backend_name("cuda") == "reference"
    assert named(torch.zeros(1)) == "reference"


def test_a_program_that_torch_compiles_takes_the_definition(
    monkeypatch: pytest.MonkeyPatch, named: Kernel[[object], str]
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert named(torch.zeros(1)) == "reference"


def test_without_numba_the_reference_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_has_numba", lambda: False)
    assert kernels.backend_name("cpu") == "reference"


def test_another_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "fast")
    with pytest.raises(ConfigError, match="HARNESS_KERNELS=fast: choose reference or auto"):
        kernels.backend_name("cpu")


def test_every_kernel_has_a_definition_with_documentation_and_compiled_loops() -> None:
    of_package = {n: x for n, x in vars(kernels).items() if isinstance(x, Kernel)}
    assert set(of_package) >= {"score_pairs", "score_all", "count_competitors", "rotate"}
    for name, one in of_package.items():
        assert one.__doc__ == one.reference.__doc__, name
        assert one.__doc__, name
        assert "numba" in one.versions, name


def test_numba_is_imported_on_first_use_with_the_cache_in_the_harness_folder(tmp_path) -> None:
    code = """
import os, sys
import torch
from harness import kernels
assert "numba" not in sys.modules
ones = torch.ones(1, 2)
kernels.score_all(kernels.VectorComparison("dot", ones, ones))
assert "numba" not in sys.modules
from harness.kernels.compiled import loops
loops("pairs")
import numba
print(numba.config.CACHE_DIR)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": ".", "HARNESS_CACHE": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "numba")
