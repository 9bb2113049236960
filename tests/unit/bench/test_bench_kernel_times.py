"""What a kernel must do, counted by hand."""

from __future__ import annotations

import pytest
import torch

from harness.bench.ceilings import Ceilings, Probe, summarise
from harness.bench.core import DOCUMENTED, Core
from harness.bench.kernel_times import OPS, PARTS, KernelTime, Sizes, demands
from harness.bench.roofline import RESOURCES, Floor
from harness.bench.shown import BUSY, ceilings_text, kernels_text, roots_check
from harness.bench.timing import Spread

SIZES = Sizes(positives=2, negatives=3, entities=10, width=4, ranked=5)
ROW = 4 * 4
"""Bytes of a row of four fp32 numbers."""


def test_a_step_scores_the_positive_too() -> None:
    assert SIZES.pairs == 2 * (3 + 1)


@pytest.mark.parametrize("part", ["forward", "query gradient"])
@pytest.mark.parametrize("op", OPS)
def test_a_row_is_gathered_for_every_pair(part: str, op: str) -> None:
    assert demands(part, op, SIZES)["gather table"] == 8 * ROW


def test_the_tables_gradient_gathers_queries_and_goes_through_the_table() -> None:
    dot, l1 = (demands("table gradient", op, SIZES) for op in ("dot", "l1"))
    assert dot == {"gather queries": 8 * ROW, "stream": 10 * ROW}  # written
    assert l1 == {"gather queries": 8 * ROW, "stream": 2 * 10 * ROW}  # read and written


def test_a_modulus_takes_a_root_per_complex_component() -> None:
    assert demands("forward", "modulus", SIZES)["root"] == 8 * 2
    assert demands("query gradient", "modulus", SIZES)["reciprocal"] == 8 * 2
    assert demands("table gradient", "modulus", SIZES)["reciprocal"] == 8 * 2
    assert demands("ranking", "modulus", SIZES)["root"] == 5 * 10 * 2


def test_ranking_takes_two_operations_per_number() -> None:
    assert demands("ranking", "dot", SIZES) == {"fp32": 2 * 5 * 10 * 4}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("op", OPS)
def test_every_demand_is_one_on_a_resource(part: str, op: str) -> None:
    assert set(demands(part, op, SIZES)) <= set(RESOURCES)


# --- ceilings -----------------------------------------------------------------------------


def ceilings(roots: float, processor: str = "znver4") -> Ceilings:
    """Ceilings of two threads, each core of which takes 1.6 roots per cycle at 1 GHz."""
    rate = Spread(roots / 2, roots, 2 * roots)
    core = Core(processor, clock=1e9, roots_per_cycle=1.6)
    return Ceilings(2, {"root": rate}, {"root": ("square roots, fp32", "1/s")}, core)


def test_the_faster_way_is_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.ceilings.measure_core", lambda: Core("x", 1e9, 1.0))
    probe = Probe("gather", "B/s", 6.0, (lambda: None, lambda: None))
    slow, fast = Spread(2.0, 3.0, 6.0), Spread(1.0, 2.0, 3.0)
    found = summarise({"gather table": probe}, {"gather table/0": slow, "gather table/1": fast})
    assert found.rates == {"gather table": Spread(2.0, 3.0, 6.0)}
    assert found.threads == torch.get_num_threads()


def test_threads_that_get_their_cores_are_not_called_busy() -> None:
    free = ceilings(3.2e9)
    assert free.free == pytest.approx(1.0)
    assert "Busy" not in ceilings_text(free)


def test_a_busy_machine_is_called_so() -> None:
    busy = ceilings(0.5 * 3.2e9)
    assert busy.free < BUSY
    assert "2 threads took square roots at 50 % of what as many free cores" in " ".join(
        ceilings_text(busy).split()
    )


def test_roots_are_checked_against_what_is_published() -> None:
    assert DOCUMENTED["znver4"].roots_per_cycle == pytest.approx(1.6)
    assert "1.60 square roots per cycle; published: 1.60 (LLVM" in roots_check(ceilings(1.0).core)


def test_an_unknown_processor_has_no_published_rate() -> None:
    text = roots_check(Core("pentium", 1e8, 0.1))
    assert "no published rate of 'pentium'" in text


def test_tables_fit_80_columns_and_say_the_share() -> None:
    seconds = Spread(9.91e-3, 10e-3, 12.345e-3)
    times = [
        KernelTime(part, op, seconds, demands(part, op, Sizes()), Floor(7.5e-3, "memory"))
        for part in PARTS
        for op in OPS
    ]
    lines = kernels_text(Sizes(), times, ceilings(3.2e9)).splitlines()
    assert max(map(len, lines)) <= 80
    line = next(line for line in lines if line.startswith("forward         modulus"))
    measured = line.removeprefix("forward         modulus").split()
    assert measured == ["10.0", "9.91-12.3", "13.6", "1.70", "7.50", "0.75", "memory"]
