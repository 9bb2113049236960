"""What Ray is asked for, with a stand-in for it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from harness.cli.stopping import stop_on_signals
from harness.errors import ConfigError, MachineError
from harness.plan.spec import RunSpec
from harness.run.cluster import ray as ray_module
from harness.run.cluster.ray import RayExecutor, connect
from harness.run.cluster.settings import RaySettings
from harness.run.jobs import Job, Needs
from harness.run.study import run_study
from tests.toys import SMALL


class RayError(Exception):
    """Base class of Ray's errors."""


class StandIn(types.ModuleType):
    """Module of Ray that keeps what it is asked for."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.asked: dict[str, Any] = {}
        self.remotes: list[Any] = []
        self.refusal: Exception | None = None
        self.exceptions = types.SimpleNamespace(RayError=RayError)
        self._private = types.SimpleNamespace(worker=types.SimpleNamespace())

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.asked = options
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))  # as Ray does
        if self.refusal:
            raise self.refusal

    def remote(self, function: Any) -> Any:
        return self

    def options(self, **options: Any) -> Any:
        def submit(*arguments: Any) -> None:
            self.remotes.append(arguments)

        return types.SimpleNamespace(remote=submit)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "ray", module)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness"):
        monkeypatch.setenv(name, "0")
    return module


def make_job(home: Path, **more: Any) -> Job:
    spec = RunSpec.model_validate({"model": {"name": "random"}, "data": {"dataset": SMALL}})
    return Job(run_id="run1", label="Random", spec=spec, home=home, device="cpu", **more)


@pytest.mark.parametrize(("at_once", "cpus", "asked"), [(2, 3, 6), (2, 1, 2), (0, 999, 999)])
def test_a_cluster_started_here_has_room_for_the_runs(
    at_once: int, cpus: int, asked: int, ray: StandIn
) -> None:
    """``--threads`` sets the CPUs of a run, whatever the engine file has."""
    connect(RaySettings(), at_once, cpus)
    assert ray.asked["num_cpus"] == asked


def test_sigterm_still_asks_the_runs_to_stop(ray: StandIn) -> None:
    with stop_on_signals() as stop:
        connect(RaySettings())
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked()


def test_a_cluster_started_here_has_the_cores_that_the_process_may_use(
    ray: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    connect(RaySettings())
    assert ray.asked["num_cpus"] == 4
    connect(RaySettings(), cpus=8)
    assert ray.asked["num_cpus"] == 8


def test_a_running_cluster_counts_its_own_cores(ray: StandIn) -> None:
    connect(RaySettings(address="auto"))
    assert "num_cpus" not in ray.asked


def test_an_address_that_nothing_listens_on_is_told_at_once(ray: StandIn) -> None:
    """Ray itself tries for minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(MachineError, match=f"no Ray cluster at '{address}': .*refused"):
        connect(RaySettings(address=address))
    assert ray.asked == {}


def test_a_wrong_token_is_told_in_a_line(ray: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_module, "_check_reachable", lambda address: None)
    ray.refusal = RayError("InvalidAuthToken: Authentication token is missing\nor incorrect")
    with pytest.raises(
        MachineError, match=r"no Ray cluster at 'h:1': .*or incorrect; .*AUTH_TOKEN"
    ):
        connect(RaySettings(address="h:1"))


def test_nodes_do_not_get_the_address_of_the_database(
    tmp_path: Path, ray: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_STORE", "postgresql://ann:secret@db/results")
    monkeypatch.setenv("HARNESS_DATA", "/data")
    job = make_job(tmp_path)
    RayExecutor(RaySettings())._submitter(ray, None, [job])(job)
    _, _, environment = ray.remotes[0]
    assert environment["HARNESS_DATA"] == "/data"
    assert "secret" not in str(ray.remotes)
    assert "HARNESS_STORE" in os.environ


def test_a_cluster_that_is_gone_is_told_with_the_next_command(
    tmp_path: Path, ray: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: Any, **__: Any) -> None:
        raise RayError("The actor died because\nits node has died.")

    monkeypatch.setattr(ray, "wait", wait, raising=False)
    monkeypatch.setattr(RayExecutor, "_mailbox", lambda *_: None)
    executor = RayExecutor(RaySettings())
    with pytest.raises(MachineError, match=r"same command continues .*because its node has died"):
        list(executor.run([make_job(tmp_path)], lambda *_: None, lambda: False))


def test_needs_that_no_node_has_are_told_once(tmp_path: Path, ray: StandIn) -> None:
    ray.nodes = lambda: [{"Alive": True, "Resources": {"CPU": 2}}]  # type: ignore[attr-defined]
    told: list[str] = []
    executor = RayExecutor(RaySettings(), on_message=told.append)
    for _ in range(3):
        executor._report_starved(ray, [make_job(tmp_path, needs=Needs(cpus=9))])
    assert told == ["no node of the Ray cluster has 9 CPUs; waiting for one"]


def test_a_study_cannot_leave_its_trials(tmp_path: Path) -> None:
    """It would take trials without results for failed ones."""
    with pytest.raises(ConfigError, match="a study chooses its next trials by the results"):
        run_study(tmp_path / "suite.yaml", executor="slurm", detach=True)
