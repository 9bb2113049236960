"""Demands of kernels by hand, floors under them, and ceilings."""

from __future__ import annotations

import pytest
import torch

from harness.bench.kernel_calls import StepSizes
from harness.bench.timing import Spread
from tests.benchmarks.ceilings import (
    BUSY,
    Ceilings,
    Core,
    Probe,
    ceilings_text,
    roots_check,
    summarise,
)
from tests.benchmarks.kernels import (
    OPS,
    PARTS,
    RESOURCES,
    Floor,
    KernelTime,
    demands,
    floor,
    kernels_text,
)

SIZES = StepSizes(positives=2, negatives=3, entities=10, width=4, ranked=5)
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


# --- floors ----------------------------------------------------------------------------------

RATES = dict.fromkeys(RESOURCES, 10.0)


def test_the_slowest_resource_is_the_floor() -> None:
    assert floor({"gather table": 10.0, "root": 50.0, "fp32": 20.0}, RATES) == Floor(5.0, "roots")


def test_demands_on_one_resource_add_up() -> None:
    needed = {"gather queries": 30.0, "stream": 10.0, "reciprocal": 35.0}
    assert floor(needed, {**RATES, "stream": 5.0}) == Floor(5.0, "memory")


def test_a_share_is_floor_by_time() -> None:
    one = KernelTime("forward", "dot", Spread(3.0, 4.0, 5.0), {}, Floor(3.0, "memory"))
    assert one.share == 0.75


def test_a_demand_without_a_rate_is_an_error() -> None:
    with pytest.raises(KeyError):
        floor({"gather table": 1.0}, {})


# --- ceilings -----------------------------------------------------------------------------


def ceilings(roots: float, processor: str = "znver4") -> Ceilings:
    """Ceilings of two threads, each core of which takes 1.6 roots per cycle at 1 GHz."""
    rate = Spread(roots / 2, roots, 2 * roots)
    core = Core(processor, clock=1e9, roots_per_cycle=1.6)
    return Ceilings(2, {"root": rate}, {"root": ("square roots, fp32", "1/s")}, core)


def test_the_faster_way_is_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.ceilings.measure_core", lambda: Core("x", 1e9, 1.0))
    probe = Probe("gather", "B/s", 6.0, (lambda: None, lambda: None))
    slow, fast = Spread(2.0, 3.0, 6.0), Spread(1.0, 2.0, 3.0)
    limits = summarise({"gather table": probe}, {"gather table/0": slow, "gather table/1": fast})
    assert limits.rates == {"gather table": Spread(2.0, 3.0, 6.0)}
    assert limits.threads == torch.get_num_threads()


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
    assert "1.60 square roots per cycle; published: 1.60 (LLVM" in roots_check(ceilings(1.0).core)


def test_an_unknown_processor_has_no_published_rate() -> None:
    text = roots_check(Core("pentium", 1e8, 0.1))
    assert "no published rate of 'pentium'" in text


def test_tables_fit_80_columns_and_say_the_share() -> None:
    seconds = Spread(9.91e-3, 10e-3, 12.345e-3)
    times = [
        KernelTime(part, op, seconds, demands(part, op, StepSizes()), Floor(7.5e-3, "memory"))
        for part in PARTS
        for op in OPS
    ]
    lines = kernels_text(StepSizes(), times, ceilings(3.2e9)).splitlines()
    assert max(map(len, lines)) <= 80
    line = next(line for line in lines if line.startswith("forward         modulus"))
    measured = line.removeprefix("forward         modulus").split()
    assert measured == ["10.0", "9.91-12.3", "13.6", "1.70", "7.50", "0.75", "memory"]
