"""What can go wrong on a real Ray cluster of two nodes, and what becomes of the runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

import harness
from harness.data.load import load_graph
from harness.errors import ConfigError, MachineError
from harness.plan.identity import run_id_of
from harness.run.cluster import attempts
from harness.run.cluster.ray import RayExecutor, connect
from harness.run.cluster.settings import RaySettings
from harness.run.executors import Execution, make_executor
from harness.run.jobs import Job, Needs
from harness.run.scheduler import run_jobs
from harness.store import open_home
from tests.cluster.engines import Ray, missing_ray, ray_cluster, wait_for
from tests.cluster.test_slurm import (
    SUITE,
    at_epoch,
    check_results,
    locked_later,
    workers_of,
)
from tests.executing import Heard, make_job, result_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

Straight = Callable[[Job], dict[str, Any]]
MakeJob = Callable[..., Job]
HEAD, FAR = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    """A head and a second node, to which this process is connected."""
    if reason := missing_ray():
        pytest.skip(reason)
    import ray

    with ray_cluster() as started:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(started.folder)  # tasks look for modules where their command was given
            ray.init(address=started.address, _node_ip_address=HEAD, log_to_driver=False)
        yield started
        ray.shutdown()


@pytest.fixture
def both_nodes(cluster: Ray) -> Ray:
    """Both nodes are there."""
    import ray

    if sum(node["Alive"] for node in ray.nodes()) < 2:
        cluster.start_node()
    wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 2, 60)
    return cluster


def make_ray(told: list[str] | None = None, **changes: Any) -> RayExecutor:
    told = [] if told is None else told
    return RayExecutor(RaySettings.model_validate(changes), on_message=told.append)


def test_a_run_is_executed_by_ray_as_on_one_machine(tmp_path: Path) -> None:
    """The smoke test: a command line, a cluster of its own, a record."""
    if reason := missing_ray():
        pytest.skip(reason)
    spec = (
        "{model: {name: transe, dim: 8}, training: {epochs: 3}, data: {dataset: "
        "'synthetic:entities=40,relations=4,train=200,valid=20,test=20'}}"
    )
    harness_command = [sys.executable, "-m", "harness"]
    words = ["run", "--spec", spec, "--executor", "ray", "--workers", "2"]
    home = ["--home", str(tmp_path)]
    listing = ["runs", "list", "--where", "--json"]
    done = subprocess.run([*harness_command, *words, *home], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [*harness_command, *listing, *home],
        capture_output=True,
        text=True,
    )
    assert '"attempt": 1' in listed.stdout


@pytest.mark.usefixtures("both_nodes")
def test_a_killed_worker_fails_its_run_alone_and_the_next_command_continues(
    slow_job: MakeJob, straight: Straight
) -> None:
    victim, other = slow_job(), slow_job(40, lr=2e-3)

    def kill(job: Job) -> None:
        if job.run_id == victim.run_id:
            workers_of(job)[0].kill()

    outcomes = Heard(make_ray(), react=at_epoch(20, kill)).run(victim, other)
    assert outcomes[victim.run_id].status == "failed"
    assert "killed (SIGKILL)" in outcomes[victim.run_id].message
    assert outcomes[other.run_id].status == "ok"
    assert Heard(make_ray()).run(victim)[victim.run_id].status == "ok"
    assert result_of(victim) == straight(victim)


@pytest.mark.usefixtures("both_nodes")
def test_a_task_that_dies_is_retried(slow_job: MakeJob, straight: Straight) -> None:
    job = slow_job()

    def kill(job: Job) -> None:
        psutil.Process(workers_of(job)[0].ppid()).kill()  # the relay

    outcome = Heard(make_ray(), react=at_epoch(40, kill)).run(job)[job.run_id]
    assert (outcome.status, outcome.attempt) == ("ok", 2)
    assert result_of(job) == straight(job)


def test_a_run_on_a_node_that_dies_continues_on_another(
    slow_job: MakeJob, straight: Straight, both_nodes: Ray
) -> None:
    jobs = slow_job(150), slow_job(150, lr=2e-3)

    def die(job: Job) -> None:
        if attempts.read(job.folder)[-1].attempt.node == FAR:
            both_nodes.kill_node()

    outcomes = Heard(make_ray(), react=at_epoch(60, die)).run(*jobs)
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert {outcome.node for outcome in outcomes.values()} == {HEAD}
    victim = next(job for job in jobs if len(attempts.read(job.folder)) == 2)
    assert attempts.read(victim.folder)[1].epoch > 0, "it continued from a checkpoint"
    for job in jobs:
        assert result_of(job) == straight(job)


SUICIDAL = '''
import os
import signal
from harness.model import MODELS, register_model

@register_model("suicidal")
class Suicidal(MODELS.get("transe")):
    """Ends the process that executes it."""
    def encode(self, entities=None):
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
'''


@pytest.mark.usefixtures("both_nodes")
def test_a_run_that_makes_no_progress_is_given_up(tmp_path: Path) -> None:
    from harness import catalog
    from harness.model import MODELS

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "suicidal.py").write_text(SUICIDAL)
    catalog.load_folder(tmp_path / "models")
    try:
        folders = (tmp_path / "models",)
        job = make_job(tmp_path / "home", "suicidal", epochs=3, model_folders=folders)
        outcome = Heard(make_ray(attempts=2)).run(job)[job.run_id]
    finally:
        del MODELS._entries["suicidal"]
    assert outcome.status == "lost"
    assert "given up: 2 attempts ended without a checkpoint" in outcome.message
    assert not (job.folder / "record.json").exists()


@pytest.mark.usefixtures("both_nodes")
def test_a_store_that_is_away_for_a_minute_loses_nothing(slow_job: MakeJob) -> None:
    job, told = slow_job(20), list[str]()
    with contextlib.closing(open_home(job.home)) as store, locked_later(job.home) as lock:
        summary = run_jobs(
            [job],
            store,
            make_ray(),
            on_event=lambda _, kind, __: lock() if kind == "epoch" else None,
            on_outcome=lambda *_: None,
            on_wait=lambda _: None,
            should_stop=lambda: False,
            on_message=told.append,
        )
        assert summary.failed == []
        assert summary.finished == [job.run_id]
        assert store.statuses() == {job.run_id: "ok"}
    assert any("another process has been writing" in text for text in told), told


# --- commands that come and go ------------------------------------------------------------

MAIN = (
    "import ray, sys; ray.init(address=sys.argv.pop(1), _node_ip_address='127.0.0.2', "
    "log_to_driver=False); from harness.cli.main import main; main()"
)


def started(folder: Path, slow_model: Path, cluster: Ray, **environment: str) -> Any:
    (folder / "suite.yaml").write_text(SUITE)
    words = ["run", "suite.yaml", "--models", str(slow_model), "--executor", "ray"]
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, cluster.address, *words, "--home", str(folder / "home")],
        cwd=folder,
        env={**os.environ, "HARNESS_SLOW_S": "0.2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tried(folder: Path) -> list[int]:
    return sorted(len(attempts.read(path)) for path in (folder / "home" / "runs").glob("*"))


def test_runs_of_a_command_that_is_killed_continue_with_the_next(
    tmp_path: Path, slow_model: Path, both_nodes: Ray
) -> None:
    """Ray ends the tasks of a driver that is gone; so none is executed twice at a time."""
    first = started(tmp_path, slow_model, both_nodes, HARNESS_SLOW_S="0.5")
    states = lambda: list((tmp_path / "home" / "runs").glob("*/state.json"))  # noqa: E731
    wait_for(lambda: len(states()) == 2, 120)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    second = started(tmp_path, slow_model, both_nodes)
    output = second.communicate(timeout=240)[0]
    assert second.returncode == 0, output
    assert tried(tmp_path) == [2, 2]
    began = [attempts.read(path)[1].epoch for path in (tmp_path / "home" / "runs").glob("*")]
    assert min(began) > 0, "they continued from checkpoints"
    check_results(tmp_path, slow_model)


def test_a_study_runs_its_trials_in_ray(tmp_path: Path, slow_model: Path, both_nodes: Ray) -> None:
    from harness.run.runs import get_record
    from harness.run.study import run_study

    suite = SUITE.replace("60", "3") + (
        "study: {sampler: random, trials: 2, seed: 0, pruner: none, space: "
        "{optimiser.lr: {low: 0.001, high: 0.1, log: true}}}\n"
    )
    (tmp_path / "suite.yaml").write_text(suite)
    result = run_study(
        tmp_path / "suite.yaml",
        home=tmp_path / "home",
        executor="ray",
        workers=2,
        model_folders=(slow_model,),
    )
    trials = result.searches[0].trials
    assert [trial.state for trial in trials] == ["complete", "complete"]
    for run_id in trials[0].runs.values():
        record = get_record(run_id, tmp_path / "home")
        assert record.provenance["execution"]["engine"] == "ray"


# --- nodes that differ --------------------------------------------------------------------


@pytest.fixture
def far_node(both_nodes: Ray) -> Iterator[Callable[..., RayExecutor]]:
    """Return ``far_node(NAME=value)``: restarts the second node with that environment, and returns
    an executor that uses this node alone."""

    def restart(**environment: str) -> RayExecutor:
        import ray

        both_nodes.kill_node()
        wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 1, 60)
        both_nodes.start_node(resources='{"far": 1}', **environment)
        return make_ray(resources={"far": 1})

    yield restart
    both_nodes.kill_node()


def test_a_node_with_other_data_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    far_node: Callable[..., RayExecutor],
) -> None:
    for node, count in (("here", 60), ("far", 59)):
        folder = tmp_path / node / "mini"
        folder.mkdir(parents=True)
        rows = [f"e{i % 20}\tr{i % 3}\te{(i * 7 + 1) % 20}" for i in range(80)]
        for name, part in (("train", rows[:count]), ("valid", rows[60:70]), ("test", rows[70:])):
            (folder / f"{name}.tsv").write_text("\n".join(part) + "\n")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "here"))
    job = make_job(tmp_path / "home", epochs=2)
    spec = job.spec.model_copy(
        update={"data": job.spec.data.model_copy(update={"dataset": "mini"})}
    )
    run_id = run_id_of(spec, load_graph("mini").digest, "")
    job = job.model_copy(update={"spec": spec, "run_id": run_id})
    outcome = Heard(far_node(HARNESS_DATA=str(tmp_path / "far"))).run(job)[run_id]
    assert (outcome.status, outcome.node) == ("failed", FAR), outcome.message
    assert "not those that it was planned with" in outcome.message
    assert not (job.folder / "record.json").exists()


def test_a_node_with_another_version_is_refused(
    tmp_path: Path, far_node: Callable[..., RayExecutor]
) -> None:
    root = Path(harness.__file__).resolve().parents[1]
    for name in ("harness", "models"):
        shutil.copytree(
            root / name, tmp_path / "old" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    init = tmp_path / "old" / "harness" / "__init__.py"
    init.write_text(init.read_text().replace(harness.__version__, "0.0.9"))
    job = make_job(tmp_path / "home", epochs=2)
    outcome = Heard(far_node(PYTHONPATH=str(tmp_path / "old"))).run(job)[job.run_id]
    assert outcome.status == "lost"
    assert "has version 0.0.9 of the harness" in outcome.message


def test_a_node_without_the_harness_is_refused_in_words(
    tmp_path: Path, far_node: Callable[..., RayExecutor]
) -> None:
    (tmp_path / "broken" / "harness").mkdir(parents=True)
    (tmp_path / "broken" / "harness" / "__init__.py").write_text("")
    job = make_job(tmp_path / "home", epochs=2)
    outcome = Heard(far_node(PYTHONPATH=str(tmp_path / "broken"))).run(job)[job.run_id]
    assert outcome.status == "lost"
    assert "harness" in outcome.message


def test_what_ray_says_is_no_result(
    both_nodes: Ray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    worker = ray._private.worker
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)  # put back
    connect(RaySettings())
    said = {"lines": ["A worker died"], "pid": "raylet", "is_err": False}
    worker.print_to_stdstream(said, ignore_prefix=False)
    printed = capsys.readouterr()
    assert "A worker died" in printed.err
    assert printed.out == ""


def test_other_versions_of_python_or_ray_are_told(
    both_nodes: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def refuse(**_: Any) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.12.1\n"
            "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7"
        )

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr("harness.run.cluster.ray._check_reachable", lambda address: None)
    with pytest.raises(MachineError) as refusal:
        connect(RaySettings(address="10.0.0.1:6379"))
    assert "other versions than this machine; install the same Python and Ray" in str(refusal.value)
    assert "Ray: 2.40.0" in str(refusal.value)


def test_no_cluster_at_an_address_is_told(monkeypatch: pytest.MonkeyPatch, both_nodes: Ray) -> None:
    import ray

    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(MachineError, match="no Ray cluster at 'auto': Could not find"):
        connect(RaySettings(address="auto"))


def test_needs_that_no_node_has_are_told(
    both_nodes: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.cluster.ray.STARVED_S", 2.0)
    told: list[str] = []

    def on_message(text: str) -> None:
        told.append(text)
        heard.stop = True

    heard = Heard(RayExecutor(RaySettings(), on_message=on_message))
    assert heard.run(make_job(tmp_path, needs=Needs(cpus=99))) == {}
    assert told[0] == "no node of the Ray cluster has 99 CPUs; waiting for one"


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    executor = make_executor("ray", Execution(executor="ray"))
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[ray\]'"):
        Heard(executor).run(make_job(tmp_path))
