"""Suites of stages, what stages cost by formula and as measured, files of pytest-benchmark."""

from __future__ import annotations

import json
import math
import random
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.bench.complexity import Estimate, fastest, measure, warm_up
from harness.bench.exponents import fit_all
from harness.bench.memory import allocated_peak
from harness.bench.pytest_json import read_measurement
from harness.bench.stages import Rates, Workbench, cost
from harness.errors import ConfigError, MachineError, StoreError
from harness.plan.complexity import (
    DEPENDS_ON,
    FACTORS,
    Case,
    ComplexitySuite,
    Sizes,
    load_complexity,
    measures,
)
from harness.plan.suite import find_suite, read_suite
from harness.store.benchmarks import BenchmarkSample

CPU = torch.device("cpu")
FUSIONS = ("complementarity", "mean", "concat", "product", "gate", "attention", "self_attention")
SMALL = Sizes(d=64, K=3, M=4, N=2048)


def suite(**changes: object) -> ComplexitySuite:
    return ComplexitySuite.model_validate(
        {
            "name": "tiny",
            "measures": "complexity",
            "base": {"d": 4, "K": 2, "M": 3, "N": 32},
            "vary": {"d": [2, 4, 8], "K": [1, 2, 3], "M": [2, 3, 4], "N": [16, 32, 64]},
            "hold": {"backbone": {"N": 16}},
            "fusions": ["mean"],
            "rounds": 2,
        }
        | changes
    )


# --- the suite ------------------------------------------------------------------------------


def test_the_shipped_suite_varies_what_is_asked_around_the_paper_s_sizes() -> None:
    shipped = load_complexity(find_suite("complexity"))
    assert shipped.base == Sizes(d=256, K=3, M=4, N=16384)
    reach = {factor: (v[0], v[-1]) for factor, v in dict(shipped.vary).items()}
    assert reach == {"d": (64, 1024), "K": (1, 8), "M": (2, 6), "N": (1024, 65536)}
    assert set(shipped.fusions) == set(FUSIONS)


def test_the_shipped_suite_needs_less_than_8_gib_and_an_hour() -> None:
    shipped = load_complexity(find_suite("complexity"))
    expected = Estimate(shipped, Rates(150e9, 4e9))
    assert expected.bytes < 7 * 2**30
    assert expected.seconds <= 900
    assert (shipped.precision, shipped.minutes) == (0.15, 60)
    said = (
        r"about \d+ min, and up to 60 min until every exponent is known to \N{PLUS-MINUS SIGN} 0.15"
    )
    assert re.fullmatch(said, expected.text(shipped))


def test_one_size_varies_at_a_time_and_each_case_comes_once() -> None:
    cases = suite().cases
    assert len(set(cases)) == len(cases)
    for case in cases:
        held = suite().base.change(suite().hold.get(case.stage, {}))
        apart = [f for f in FACTORS if getattr(case.sizes, f) != getattr(held, f)]
        assert len(apart) <= 1 or case.sizes == suite().base
        assert set(apart) <= set(DEPENDS_ON[case.stage])
    assert Case(stage="backbone", name="backbone", sizes=suite().base) in cases


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vary": {"d": [2, 4], "K": [1, 2, 3], "M": [2, 3, 4], "N": [1, 2, 3]}}, "three values"),
        ({"vary": {"d": [2, 4, 3], "K": [1, 2, 3], "M": [2, 3, 4], "N": [1, 2, 3]}}, "ascend"),
        ({"hold": {"scoring": {"K": 2}}}, "does not depend on K"),
        ({"fusions": ["mean", "mean"]}, "repeat"),
    ],
)
def test_a_bad_suite_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        suite(**changes)


def test_suites_of_runs_and_of_stages_are_told_apart() -> None:
    stages, runs = find_suite("complexity"), find_suite("quickstart")
    assert measures(stages)
    assert not measures(runs)
    with pytest.raises(ConfigError, match="harness bench complexity"):
        read_suite(stages)
    with pytest.raises(ConfigError, match="harness run"):
        load_complexity(runs)


# --- stages ---------------------------------------------------------------------------------


def cases(sizes: Sizes) -> list[Case]:
    found = [Case(stage="fusion", name=name, sizes=sizes) for name in FUSIONS]
    return found + [Case(stage=s, name=s, sizes=sizes) for s in DEPENDS_ON if s != "fusion"]


@pytest.mark.parametrize("case", cases(SMALL), ids=str)
def test_memory_is_near_its_formula(case: Case) -> None:
    peak, seconds = warm_up(Workbench(SMALL, CPU), case, expected=0.0)
    assert seconds > 0
    if case.stage in ("fusion", "backbone"):
        assert cost(case).bytes / 1.5 < peak < 1.5 * cost(case).bytes


def test_operations_by_hand() -> None:
    one = Sizes(d=2, K=3, M=2, N=10)
    experts = cost(Case(stage="backbone", name="backbone", sizes=one))
    assert experts.operations == 3 * 10 * 2 * 3 * (2 * 4 * 4) * 2
    concat = cost(Case(stage="fusion", name="concat", sizes=one))
    assert concat.operations == 3 * (2 * 10 * (2 * 4) * 4 + 2 * 10 * 2 * 3 * 4)


def test_the_peak_counts_what_is_alive_at_once() -> None:
    def work() -> None:
        first = torch.ones(2**20)
        del first
        held = torch.ones(2**19)
        torch.ones(2**19).add_(held)

    assert allocated_peak(work, CPU) == 2**22
    assert allocated_peak(lambda: None, CPU) == 0


def test_a_quick_case_is_repeated_after_an_untimed_run() -> None:
    runs: list[int] = []
    assert fastest(lambda: runs.append(1), 1e-6, CPU) < 0.1
    assert len(runs) == 6
    fastest(lambda: runs.append(1), 1.0, CPU)  # the untimed run gets fresh memory
    assert len(runs) == 8
    fastest(lambda: runs.append(1), 4.0, CPU)
    assert len(runs) == 9


def test_every_case_is_measured_in_every_round() -> None:
    one = suite()
    samples = measure(one, CPU, Estimate(one, Rates(1e11, 1e9)))
    assert [(s.stage, s.name, s.sizes) for s in samples] == [
        (case.stage, case.name, case.sizes.model_dump()) for case in one.cases
    ]
    assert all(len(sample.seconds) == 2 for sample in samples)
    assert all(sample.peak for sample in samples if sample.stage != "evaluation")


def test_a_suite_out_of_time_is_measured_once() -> None:
    one = suite(minutes=1e-9, stages=["scoring"])
    samples = measure(one, CPU, Estimate(one, Rates(1e11, 1e9)))
    assert [len(sample.seconds) for sample in samples] == [1] * len(samples)


class FakeWork:
    """Times of made-up stages: linear in every size, with noise that falls off by and by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, noisy: str = "", seconds: float = 1.0):
        self.now, self.noisy, self.unit = 0.0, noisy, seconds
        self.random = random.Random(0)
        self.rounds: dict[Case, int] = defaultdict(int)
        monkeypatch.setattr("harness.bench.complexity.time", self)
        monkeypatch.setattr("harness.bench.complexity.warm_up", lambda bench, case, _: (1, 1.0))
        monkeypatch.setattr("harness.bench.complexity.Workbench", self.bench)
        monkeypatch.setattr("harness.bench.complexity.fastest", self.fastest)

    def monotonic(self) -> float:
        return self.now

    def bench(self, sizes: Sizes, device: torch.device) -> Any:
        return SimpleNamespace(task=lambda case: case, clear=lambda: None)

    def fastest(self, case: Any, latest: float, device: torch.device) -> float:
        self.rounds[case] += 1
        self.now += self.unit
        spread = 1.0 if case.name == self.noisy else 0.001
        return float(1e-3 * case.sizes.N * math.exp(spread * self.random.gauss(0, 1)))


def precise(**changes: object) -> ComplexitySuite:
    changes = {"stages": ["fusion"], "fusions": ["mean", "gate"], "minutes": 1e6} | changes
    return suite(**{"precision": 0.15} | changes)


def measured(one: ComplexitySuite) -> tuple[BenchmarkSample, ...]:
    return measure(one, CPU, Estimate(one, Rates(1e11, 1e9)))


def test_noisy_exponents_are_measured_until_they_are_precise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = FakeWork(monkeypatch, noisy="gate")
    one = precise(precision=0.3, most_rounds=10_000)
    samples = {Case(stage=s.stage, name=s.name, sizes=s.sizes): s for s in measured(one)}
    rounds = {name: {n for c, n in work.rounds.items() if c.name == name} for name in one.fusions}
    assert rounds["mean"] == {2}  # precise after the first rounds
    assert min(rounds["gate"]) > 12
    for factor, cases in one.series():
        exponent = fit_all({getattr(c.sizes, factor): samples[c].seconds for c in cases})
        assert exponent is not None
        assert exponent.half < 0.3


def test_further_rounds_end_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    work = FakeWork(monkeypatch, noisy="gate")
    measured(precise(most_rounds=7))
    assert max(work.rounds.values()) == 7


def test_further_rounds_end_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    work = FakeWork(monkeypatch, noisy="gate", seconds=1.0)
    one = precise(most_rounds=10_000, minutes=2)
    measured(one)
    assert 2 * len(one.cases) <= work.now <= 120 + len(one.cases)


def test_without_a_precision_the_rounds_are_those_of_the_suite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = FakeWork(monkeypatch, noisy="gate")
    measured(suite(stages=["fusion"], fusions=["gate"], minutes=1e6))
    assert set(work.rounds.values()) == {2}


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.complexity.available", lambda device: 1000)
    with pytest.raises(MachineError, match="take smaller sizes"):
        measure(suite(), CPU, Estimate(suite(), Rates(1, 1)))


def test_a_wrong_kind_of_fusion_is_refused_with_the_choices() -> None:
    one = suite(fusions=["meen"], stages=["fusion"])
    with pytest.raises(ConfigError, match=r"fusion\.kind: .*'mean'"):
        measure(one, CPU, Estimate(one, Rates(1e11, 1e9)))


# --- files of pytest-benchmark ----------------------------------------------------------------


def pytest_file(path: Path, *extra: dict[str, object]) -> Path:
    stats = [{"extra_info": e, "stats": {"min": i + 1.0}} for i, e in enumerate(extra)]
    about = {"provenance": {"threads": 2}, "settings": suite().model_dump(mode="json")}
    content = {"machine_info": {"harness": about}, "benchmarks": stats, "datetime": "2026-01-01"}
    path.write_text(json.dumps(content))
    return path


def test_turns_of_pytest_benchmark_become_one_sample(tmp_path: Path) -> None:
    case = {"stage": "fusion", "name": "mean", "sizes": {"d": 4, "K": 2, "M": 3, "N": 32}}
    file = pytest_file(tmp_path / "b.json", {"harness": {**case, "peak": 7}}, {}, {"harness": case})
    record = read_measurement(file)
    (sample,) = record.samples
    assert (sample.seconds, sample.peak) == ((1.0, 3.0), 7)
    assert (record.suite, record.source) == ("tiny", "pytest-benchmark")
    assert record.provenance == {"threads": 2, "finished": "2026-01-01"}


def test_files_without_measurements_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no benchmark of it belongs to a suite"):
        read_measurement(pytest_file(tmp_path / "b.json", {}))
    other = tmp_path / "other.json"
    for text, said in (("{}", "no measurement"), ("{", "not JSON"), ("[]", "no measurement")):
        other.write_text(text)
        with pytest.raises(StoreError, match=said):
            read_measurement(other)
