"""Operations of a step are those of its formulas; the text says what was measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness import catalog, kernels
from harness.bench import epochs
from harness.bench.epochs import EpochTiming, epochs_text, measure, trainable_runs
from harness.bench.kernel_calls import kernel_calls
from harness.bench.timing import Spread
from harness.data.load import load_graph
from harness.plan.cell import Cell
from harness.plan.spec import RunSpec

catalog.load_models()
BATCH, NEGATIVES, DIM = 64, 8, 16


def run(model: str, seed: int = 0, **settings: Any) -> Cell:
    spec = {
        "model": {"name": model, **({"dim": DIM} if model != "lookup" else {})},
        "data": {"dataset": "atlas", "features": "none"},
        "negatives": {"count": NEGATIVES},
        "training": {"batch_size": BATCH},
        "seed": seed,
    }
    return Cell.of(RunSpec.model_validate(spec | settings), model)


@pytest.fixture(autouse=True)
def _small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product that is timed beside a step takes microseconds."""
    monkeypatch.setattr(epochs, "SIDE", 64)


def test_comparisons_are_measured_alone() -> None:
    (one,) = measure([run("rotate")], rounds=1)
    assert one.products == 0
    assert one.minimum == one.comparisons.median > 0
    assert one.seconds.median > 0


def test_comparisons_are_of_the_size_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def recorded(*arguments: Any) -> Any:
        calls.append(arguments)
        return kernel_calls(*arguments)

    monkeypatch.setattr(epochs, "kernel_calls", recorded)
    list(measure([run("rotate")], rounds=1))
    ((op, _, sizes),) = calls
    assert (op, sizes.pairs, sizes.width) == ("modulus", BATCH * (1 + NEGATIVES), 2 * DIM)
    assert sizes.entities == load_graph("atlas").n_entities


def test_products_with_all_entities_are_counted_as_they_are_done() -> None:
    (one,) = measure([run("distmult", objective={"loss": "one_vs_all"})], rounds=1)
    scores = 2 * BATCH * load_graph("atlas").n_entities
    assert one.comparisons.median < 1e-4  # there are none
    # Scores, and the gradients of queries and of entities.
    assert one.products == 3 * 2 * scores * DIM


def test_products_within_a_fused_kernel_are_counted_and_it_is_fused_again_after() -> None:
    own, others = (torch.randn(n, 5, requires_grad=True) for n in (3, 700))
    fused = kernels.gated_cosines.version("numba")

    def step() -> None:
        left = kernels.Gated(own.detach(), own)
        right = kernels.Gated(others.detach(), others[None])
        kernels.gated_cosines(left, right, [3], torch.zeros(5)).sum().backward()

    assert epochs._count_products(step) == 3 * 2 * 3 * 5 * 700
    assert kernels.gated_cosines.version("numba") is fused


def test_each_row_that_learns_is_measured_once() -> None:
    runs = [run("lookup"), run("rotate", seed=0), run("rotate", seed=1), run("transe")]
    assert [(one.label, one.spec.seed) for one in trainable_runs(runs)] == [
        ("rotate", 0),
        ("transe", 0),
    ]


def test_the_text_says_what_was_measured() -> None:
    one = EpochTiming(
        "MoCME mean weights", "mkg-w@clean", "names", "fp32", Spread(1, 2, 3), 40, 50e9,
        Spread(40e9, 50e9, 60e9), Spread(0.1, 0.25, 0.3),
    )  # fmt: skip
    assert one.minimum == pytest.approx(1.25)
    assert one.ratio == pytest.approx(1.6)
    assert one.epoch == 80
    text = epochs_text([one])
    assert "80.0" in text
    assert "50.0 GFLOP/s" in text
    assert max(map(len, text.splitlines())) <= 80
