"""Needs of runs: from what was measured, else from the engine file; equal needs make an array."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.plan.spec import RunSpec
from harness.run.cluster.needs import groups, needs_of, with_needs
from harness.run.cluster.settings import DefaultNeeds
from harness.run.costs import Cost
from harness.run.jobs import Job, Needs
from harness.store import open_home
from harness.store.records import RunRecord, TimingSample
from tests.toys import SMALL

GIB = 2**30
UNKNOWN = DefaultNeeds(memory=3000, minutes=45)


def make_job(home: Path, run_id: str = "a", seed: int = 0, **more: Any) -> Job:
    spec = RunSpec.model_validate(
        {
            "model": {"name": "transe", "dim": 8},
            "data": {"dataset": SMALL},
            "training": {"epochs": 100},
            "seed": seed,
        }
    )
    return Job(run_id=run_id, label="transe", spec=spec, home=home, **more)


def make_cost(minutes: float, memory: float) -> Cost:
    return Cost(epoch=60 * minutes / 100, validation=0, ranking=0, memory=memory)


def needs(cost: Cost | None, defaults: DefaultNeeds = UNKNOWN, **more: Any) -> Needs:
    values: dict[str, Any] = {"cpus": 1, "gpus": 0, "bound": 0.0, **more}
    return needs_of(cost, make_job(Path()).spec, defaults, **values)


def test_what_was_measured_goes_before_the_engine_file() -> None:
    assert needs(make_cost(20, 2 * GIB)) == Needs(memory=4096, minutes=40)
    assert needs(None) == Needs(memory=3000, minutes=45)


@pytest.mark.parametrize(
    ("measured", "asked"), [(1, 10), (5, 10), (5.1, 20), (20, 40), (600, 1280)]
)
def test_the_time_limit_is_twice_the_measured_time_in_doubling_steps(
    measured: float, asked: int
) -> None:
    assert needs(make_cost(measured, GIB)).minutes == asked


@pytest.mark.parametrize(("measured", "asked"), [(0.1, 1024), (0.7, 2048), (2.5, 4096)])
def test_memory_is_half_as_much_again_in_doubling_steps(measured: float, asked: int) -> None:
    assert needs(make_cost(1, measured * GIB)).memory == asked


def test_no_time_limit_is_above_the_longest() -> None:
    assert needs(make_cost(600, GIB), DefaultNeeds(max_minutes=240)).minutes == 240
    assert needs(None, DefaultNeeds(max_minutes=240)).minutes == 240


def test_memory_of_a_gpu_is_not_that_of_the_machine() -> None:
    assert needs(make_cost(1, 40 * GIB), gpus=1).memory == UNKNOWN.memory


def test_unknown_memory_is_at_least_twice_the_lower_bound() -> None:
    assert needs(None, bound=3 * GIB).memory == 8192
    assert needs(None, bound=0.1 * GIB).memory == UNKNOWN.memory


def test_nothing_known_leaves_the_defaults_of_the_cluster() -> None:
    assert needs(None, DefaultNeeds()) == Needs()


@pytest.mark.parametrize(
    ("device", "gpus"), [("auto", 2), ("cpu", 0), ("cuda", 2)], ids=["auto", "cpu", "cuda"]
)
def test_the_device_says_whether_gpus_are_needed(device: str, gpus: int, tmp_path: Path) -> None:
    load_models()
    job = with_needs([make_job(tmp_path, device=device)], DefaultNeeds(gpus=2))[0]
    assert job.needs.gpus == gpus


def test_cuda_needs_a_gpu_though_the_file_names_none(tmp_path: Path) -> None:
    load_models()
    assert with_needs([make_job(tmp_path, device="cuda")], DefaultNeeds())[0].needs.gpus == 1


def test_a_run_computes_on_the_cpus_it_is_given(tmp_path: Path) -> None:
    load_models()
    jobs = [make_job(tmp_path)]
    assert with_needs(jobs, DefaultNeeds(cpus=4))[0].threads == 4
    assert with_needs(jobs, DefaultNeeds(cpus=4), threads=2)[0].needs.cpus == 2


def test_costs_of_stored_runs_are_used(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    load_models()
    job = make_job(tmp_path)
    record = make_record("aaaa", model="transe", dataset=job.spec.data.dataset)
    timings = (
        *record.timings,
        *(TimingSample(name="train.epoch", value=30.0) for _ in range(3)),
        TimingSample(name="evaluate.valid", value=1.0),
        TimingSample(name="memory.peak", value=3e9, unit="bytes"),
    )
    with contextlib.closing(open_home(tmp_path)) as store:
        store.add(record.model_copy(update={"spec": job.spec, "timings": timings}))
    needs = with_needs([job], DefaultNeeds())[0].needs
    assert needs == Needs(memory=8192, minutes=160)


def test_equal_needs_make_an_array(tmp_path: Path) -> None:
    small, large = Needs(memory=1024), Needs(memory=8192)
    jobs = [
        make_job(tmp_path, run_id, needs=wanted)
        for run_id, wanted in zip("abcde", [small, large, small, small, large], strict=True)
    ]
    arrays = [(wanted, [job.run_id for job in batch]) for wanted, batch in groups(jobs, 2)]
    assert arrays == [(small, ["a", "c"]), (small, ["d"]), (large, ["b", "e"])]


def test_needs_are_told_in_words() -> None:
    assert str(Needs(cpus=2, gpus=1, memory=1536, minutes=30)) == "2 CPUs, 1 GPU, 1.5 GiB, 30 min"
