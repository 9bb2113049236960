"""The cases of ``suites/complexity.yaml``, for pytest-benchmark.

``--benchmark-json=FILE`` writes what ``harness bench import FILE`` reads, and then ``harness report
--table complexity`` shows it. Groups: fusion, backbone, estimator, scoring, evaluation.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.bench.complexity import QUICK, SLOW, run_once, warm_up
from harness.bench.pytest_json import KEY
from harness.bench.stages import Workbench, cost, measure_rates
from harness.plan.complexity import Case, load_complexity
from harness.plan.suite import find_suite

SUITE = load_complexity(find_suite("complexity"))
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def rates():
    return measure_rates(DEVICE)


def named(case: Case) -> str:
    """Return an id that ``-k`` can choose: fusion-attention-d256-K3-M4-N16384."""
    sizes = "-".join(f"{name}{value}" for name, value in case.sizes.model_dump().items())
    return "-".join(part for part in (case.stage, case.name, sizes) if part)


@pytest.mark.parametrize("case", SUITE.cases, ids=named)
def test_case(benchmark, turn: int, rates, case: Case) -> None:
    """Warmed up in the first turn, which measures memory too; what is slow has that turn alone."""
    expected = cost(case).seconds(rates)
    if turn and expected >= SLOW:
        pytest.skip("slow: one turn will do")
    bench = Workbench(case.sizes, DEVICE)
    extra: dict[str, Any] = {
        "stage": case.stage,
        "name": case.name,
        "sizes": case.sizes.model_dump(),
    }
    if not turn and expected < SLOW:
        extra["peak"], _ = warm_up(bench, case, expected)
    else:
        bench.prepare(case.stage)
    benchmark.extra_info[KEY] = extra
    benchmark.group = case.stage
    task = bench.task(case)
    benchmark.pedantic(
        lambda: run_once(task, DEVICE),
        warmup_rounds=int(expected < QUICK),
        rounds=3 if expected < 0.5 else 1,
    )
