"""Which kernels are used, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from harness import kernels
from harness.errors import ConfigError
from harness.kernels import cpu, cuda, reference, select


def test_the_fused_kernels_are_used_on_a_cpu():
    assert kernels.chosen("cpu") == "numba"
    assert select.implementation(torch.zeros(1)) is cpu


def test_accelerators_get_the_chunked_expressions():
    assert kernels.chosen("cuda") == "chunked"
    assert select.implementation(torch.zeros(1, device="meta")) is cuda


def test_a_comparison_without_a_compiled_loop_is_chunked_on_a_cpu_too():
    assert select.implementation(torch.zeros(1), "l2") is cuda
    assert select.implementation(torch.zeros(1), "modulus") is cpu
    assert select.implementation(torch.zeros(1), "modulus", "l2") is cuda


def test_the_reference_can_be_forced(monkeypatch):
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    assert kernels.chosen("cpu") == kernels.chosen("cuda") == "reference"
    assert select.implementation(torch.zeros(1)) is reference


def test_without_numba_the_reference_is_used(monkeypatch):
    monkeypatch.setattr(select, "_has_numba", lambda: False)
    assert kernels.chosen("cpu") == "reference"


def test_another_wish_is_an_error(monkeypatch):
    monkeypatch.setenv("HARNESS_KERNELS", "fast")
    with pytest.raises(ConfigError, match="HARNESS_KERNELS=fast: choose reference or auto"):
        kernels.chosen("cpu")


def test_numba_is_imported_on_first_use_with_the_cache_in_the_harness_folder(tmp_path):
    code = """
import os, sys
import torch
from harness import kernels
assert "numba" not in sys.modules
ones = torch.ones(1, 2)
kernels.pairwise("dot", ones, ones)
assert "numba" not in sys.modules
from harness.kernels import cpu
cpu.compiled()
import numba
print(numba.config.CACHE_DIR)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": ".", "HARNESS_CACHE": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "numba")
