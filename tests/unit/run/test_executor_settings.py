"""Executors by name, and several devices."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from harness.errors import ConfigError, MachineError
from harness.plan.spec import DataSpec, ModelSpec, RunSpec
from harness.run import processes
from harness.run.executors import Execution, devices_of, make_executor
from harness.run.inline import InlineExecutor
from harness.run.jobs import Job, Outcome
from harness.run.processes import ProcessExecutor

SPEC = RunSpec(model=ModelSpec(name="transe"), data=DataSpec(dataset="atlas"))


def job(name: str, **fields: Any) -> Job:
    return Job(run_id=name, label=name, spec=SPEC, home=Path("results"), **fields)


def test_one_worker_is_inline_and_several_are_processes() -> None:
    assert isinstance(make_executor("", Execution()), InlineExecutor)
    executor = make_executor("", Execution(workers=3, threads=2))
    assert isinstance(executor, ProcessExecutor)
    assert (executor.workers, executor.threads) == (3, 2)


def test_workers_share_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert ProcessExecutor(2).threads == 2
    assert ProcessExecutor(8).threads == 1
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert ProcessExecutor(2).threads == 64


def test_an_unknown_executor_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'processes'"):
        make_executor("process", Execution())


def test_inline_has_one_worker_on_one_device() -> None:
    with pytest.raises(ConfigError, match="inline"):
        make_executor("inline", Execution(workers=2))


def test_each_device_has_a_worker_at_least() -> None:
    settings = Execution(devices=("cuda:0", "cuda:1"))
    executor = make_executor("", settings)
    assert isinstance(executor, ProcessExecutor)
    assert (executor.workers, executor.devices) == (2, ("cuda:0", "cuda:1"))
    assert settings.per_device == 1
    assert Execution(devices=("cuda:0", "cuda:1"), workers=5).per_device == 3


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stand-in GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("gpus")
def test_devices_are_named_or_all() -> None:
    assert devices_of("cuda:1, cuda:0") == ("cuda:1", "cuda:0")
    assert devices_of("auto") == ("cuda:0", "cuda:1")
    with pytest.raises(MachineError, match="has 2 GPUs"):
        devices_of("cuda:0,cuda:2")
    with pytest.raises(ConfigError, match="named twice"):
        devices_of("cuda:0,cuda:0")


def test_all_devices_of_a_machine_without_any_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="has no GPU"):
        devices_of("auto")


class StandInChild:
    """A worker that ends at once, when the executor asks for its message."""

    running: ClassVar[Counter[str]] = Counter()
    most: ClassVar[Counter[str]] = Counter()

    def __init__(self, job: Job, messages: Any) -> None:
        self.job = job
        StandInChild.running[job.device] += 1
        StandInChild.most[job.device] = max(
            StandInChild.most[job.device], StandInChild.running[job.device]
        )
        messages.put((job.run_id, None))

    def outcome(self) -> Outcome:
        StandInChild.running[self.job.device] -= 1
        return Outcome(run_id=self.job.run_id, status="ok", message=self.job.device)

    def kill(self) -> None:
        raise AssertionError("all have ended")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> type[StandInChild]:
    monkeypatch.setattr(processes, "_Child", StandInChild)
    StandInChild.running.clear()
    StandInChild.most.clear()
    return StandInChild


@pytest.mark.parametrize(("workers", "most"), [(2, 1), (4, 2)])
def test_runs_are_spread_over_the_devices(
    children: type[StandInChild], workers: int, most: int
) -> None:
    executor = ProcessExecutor(workers, devices=("cuda:0", "cuda:1"))
    jobs = [job(str(i)) for i in range(8)]
    outcomes = list(executor.run(jobs, lambda *event: None, lambda: False))
    assert len(outcomes) == 8
    assert children.most == {"cuda:0": most, "cuda:1": most}


def test_without_devices_a_run_keeps_its_own(children: type[StandInChild]) -> None:
    (outcome,) = ProcessExecutor(1).run(
        [job("a", device="cuda:7")], lambda *event: None, lambda: False
    )
    assert outcome.message == "cuda:7"
    assert set(children.most) == {"cuda:7"}


def test_a_job_that_leaves_the_process_has_absolute_paths() -> None:
    portable = job("a", model_folders=(Path("own"),)).portable()
    assert portable.home == Path.cwd() / "results"
    assert portable.model_folders == (Path.cwd() / "own",)
    assert Job.model_validate_json(portable.model_dump_json()) == portable
