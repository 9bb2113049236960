"""What can go wrong on a real Slurm of two nodes, and what becomes of the runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

import harness
from harness import catalog
from harness.data.load import load_graph
from harness.plan.identity import run_id_of
from harness.run.cluster import attempts
from harness.run.cluster.mailbox import MAILBOX
from harness.run.cluster.settings import SlurmSettings
from harness.run.cluster.slurm import SlurmExecutor
from harness.run.executors import Execution, make_executor
from harness.run.jobs import Job, Outcome
from harness.run.logs import run_logs
from harness.run.runs import get_record
from harness.run.scheduler import run_jobs
from harness.store import DATABASE, open_home
from harness.store.files import read_record
from tests.cluster.engines import Slurm, wait_for
from tests.executing import Heard, make_job, record_of, result_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

Straight = Callable[[Job], dict[str, Any]]
MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def _whole_cluster(slurm: Slurm) -> Iterator[None]:
    """Each test finds both nodes idle, and leaves no job."""
    yield
    slurm.command("scancel", "--user", "root")
    for name in slurm.nodes:
        if name not in slurm.processes:
            slurm.start_node(name)
    wait_for(lambda: slurm.states() == dict.fromkeys(slurm.nodes, "idle"), 120)


def make_slurm(told: list[str] | None = None, **changes: Any) -> SlurmExecutor:
    values = {"poll": 1, "on_interrupt": "cancel", "needs": {"memory": 500}, **changes}
    detach = values.pop("detach", False)
    told = [] if told is None else told
    return SlurmExecutor(
        SlurmSettings.model_validate(values), detach=detach, on_message=told.append
    )


def at_epoch(number: int, action: Callable[[Job], object]) -> Callable[[Job], None]:
    """Return a reaction to events: the action, once, when a run has that many epochs."""
    counts: dict[str, int] = {}

    def react(job: Job) -> None:
        counts[job.run_id] = counts.get(job.run_id, 0) + 1
        if counts[job.run_id] == number:
            action(job)

    return react


def node_of(job: Job) -> str:
    return attempts.read(job.folder)[-1].attempt.node


def task_of(job: Job) -> str:
    return attempts.read(job.folder)[-1].attempt.task


def workers_of(job: Job) -> list[psutil.Process]:
    path = str(job.folder / "job.json")
    return [p for p in psutil.process_iter(["cmdline"]) if path in (p.info["cmdline"] or ())]


def soon_started(slurm: Slurm) -> contextlib.AbstractContextManager[None]:
    """Requeued jobs are started at once in the block; Slurm makes them wait for two minutes."""

    @contextlib.contextmanager
    def watching() -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(1.0):
                slurm.start_held_jobs()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    return watching()


def test_a_run_is_executed_on_a_node_as_on_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smoke test: a command line, a node, a record. The command is in a job of an array."""
    for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "MEM_PER_CPU"):
        monkeypatch.setenv(f"SLURM_{name}", "7")
    from typer.testing import CliRunner

    from harness.cli.main import app

    engine = tmp_path / "slurm.yaml"
    engine.write_text("poll: 1\nneeds: {memory: 500M}\n")
    spec = (
        "{model: {name: transe, dim: 8}, training: {epochs: 3}, data: {dataset: "
        "'synthetic:entities=40,relations=4,train=200,valid=20,test=20'}}"
    )
    words = ["run", "--spec", spec, "--home", str(tmp_path / "home"), "--executor", "slurm"]
    result = CliRunner().invoke(app, [*words, "--engine", str(engine)])
    assert result.exit_code == 0, result.output
    listed = CliRunner().invoke(app, ["runs", "list", "--where", "--home", str(tmp_path / "home")])
    assert "attempt" in listed.stdout
    assert "n1" in listed.stdout or "n2" in listed.stdout


def test_a_killed_worker_fails_its_run_alone_and_the_next_command_continues(
    slow_job: MakeJob, straight: Straight
) -> None:
    victim, other = slow_job(), slow_job(40, lr=2e-3)

    def kill(job: Job) -> None:
        if job.run_id == victim.run_id:
            workers_of(job)[0].kill()

    heard = Heard(make_slurm(), react=at_epoch(20, kill))
    outcomes = heard.run(victim, other)
    assert outcomes[victim.run_id].status == "failed"
    assert "killed (SIGKILL)" in outcomes[victim.run_id].message
    assert outcomes[other.run_id].status == "ok"
    assert Heard(make_slurm()).run(victim)[victim.run_id].status == "ok"
    assert result_of(victim) == straight(victim)


def test_a_job_that_ends_without_a_word_is_submitted_again(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    job, told = slow_job(seconds=0.2), list[str]()

    def kill(job: Job) -> None:
        psutil.Process(workers_of(job)[0].ppid()).kill()  # the relay

    outcomes = Heard(make_slurm(told), react=at_epoch(40, kill)).run(job)
    assert outcomes[job.run_id].status == "ok"
    assert outcomes[job.run_id].attempt == 2
    assert any("without a word" in text and "submitted again" in text for text in told)
    assert result_of(job) == straight(job)


def test_a_run_on_a_node_that_dies_continues_on_another(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    job, dead = slow_job(150), list[str]()

    def die(job: Job) -> None:
        dead.append(node_of(job))
        slurm.kill_node(dead[0])

    with soon_started(slurm):
        outcomes = Heard(make_slurm(), react=at_epoch(60, die)).run(job)
    assert outcomes[job.run_id].status == "ok"
    assert outcomes[job.run_id].node not in dead
    first, second = attempts.read(job.folder)
    assert first.attempt.node == dead[0]
    assert second.epoch > 0, "it continued from a checkpoint"
    assert result_of(job) == straight(job)


def test_a_preempted_run_writes_its_checkpoint_and_continues(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    job, told, rows = slow_job(seconds=0.2), list[str](), list[int]()

    def preempt(job: Job) -> None:
        words = f"--partition=high --nodelist={node_of(job)} --mem=500M --output=/dev/null"
        slurm.command("sbatch", *words.split(), "--wrap=sleep 3")

    executor = make_slurm(told, partition="low")
    heard = Heard(executor, react=at_epoch(30, preempt))
    with soon_started(slurm):
        assert heard.run(job)[job.run_id].status == "ok"
    rows = [values["epoch"] for _, kind, values in heard.events if kind == "epoch"]
    assert any("preempted on n" in text and "checkpoint written" in text for text in told)
    second = attempts.read(job.folder)[1]
    assert second.epoch >= 30
    assert rows == [float(epoch) for epoch in range(1, 101)], "no epoch is lost"
    assert record_of(job).provenance["execution"]["number"] == 2
    assert result_of(job) == straight(job)


def test_a_run_that_reaches_its_time_limit_continues_after_it(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    job, told = slow_job(80, 1.0), list[str]()
    with soon_started(slurm):
        outcomes = Heard(make_slurm(told, time="2", signal_seconds=50)).run(job)
    assert outcomes[job.run_id].status == "ok", outcomes[job.run_id].message
    assert outcomes[job.run_id].attempt >= 2
    assert any("time limit on n" in text for text in told)
    epochs = [entry.epoch for entry in attempts.read(job.folder)]
    assert epochs == sorted(set(epochs))
    assert result_of(job) == straight(job)


def test_a_run_that_makes_no_progress_is_given_up(slow_job: MakeJob, slurm: Slurm) -> None:
    """An epoch that is longer than an attempt would be requeued for ever."""
    job = slow_job(5, 300.0)
    outcomes: dict[str, Outcome] = {}
    thread = threading.Thread(
        target=lambda: outcomes.update(Heard(make_slurm(attempts=2)).run(job))
    )
    thread.start()
    for number in (1, 2):
        wait_for(lambda: len(attempts.read(job.folder)) == number, 120)  # noqa: B023
        wait_for(lambda: workers_of(job), 60)
        slurm.command("scontrol", "requeue", task_of(job))
        wait_for(lambda: not workers_of(job), 60)
        with soon_started(slurm):
            wait_for(lambda: len(attempts.read(job.folder)) == number + 1, 90)  # noqa: B023
    thread.join(60)
    assert outcomes[job.run_id].status == "lost"
    assert "given up: 2 attempts ended without a checkpoint" in outcomes[job.run_id].message
    assert not (job.folder / "record.json").exists(), "the next command may try again"


def test_a_run_that_a_person_cancels_is_not_submitted_again(
    slow_job: MakeJob, slurm: Slurm
) -> None:
    """It gets SIGTERM and has time for a checkpoint; a requeue would undo the cancel."""
    job, told = slow_job(seconds=0.2), list[str]()
    cancel = at_epoch(10, lambda job: slurm.command("scancel", task_of(job)))
    outcome = Heard(make_slurm(told), react=cancel).run(job)[job.run_id]
    assert outcome.status == "lost"
    assert "cancelled in Slurm" in outcome.message
    assert any("checkpoint written" in text for text in told), told
    assert attempts.checkpoint_epoch(job.folder) >= 10
    assert slurm.command("squeue", "-h", "-t", "PD,R") == ""


def test_runs_end_while_the_controller_is_away(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    job = slow_job(60)

    def end_controller(job: Job) -> None:
        slurm.processes["slurmctld"].terminate()
        slurm.processes.pop("slurmctld").wait(20)

    try:
        outcomes = Heard(make_slurm(), react=at_epoch(20, end_controller)).run(job)
    finally:
        slurm.start_controller()
    assert outcomes[job.run_id].status == "ok"
    assert result_of(job) == straight(job)


@contextlib.contextmanager
def locked_later(home: Path, seconds: float = 80) -> Iterator[Callable[[], None]]:
    """Yield a function whose first call locks the database of a results folder for a while."""
    connection = sqlite3.connect(home / DATABASE, isolation_level=None, check_same_thread=False)
    timer = threading.Timer(seconds, connection.rollback)

    def lock() -> None:
        if not timer.is_alive() and not timer.finished.is_set():
            connection.execute("BEGIN EXCLUSIVE")
            timer.start()

    yield lock
    timer.join()
    connection.close()


def test_a_store_that_is_away_for_a_minute_loses_nothing(slow_job: MakeJob) -> None:
    job, told = slow_job(20), list[str]()
    with contextlib.closing(open_home(job.home)) as store, locked_later(job.home) as lock:
        summary = run_jobs(
            [job],
            store,
            make_slurm(),
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

SUITE = """\
name: two
title: Two rows
datasets: ["synthetic:entities=40,relations=4,train=200,valid=20,test=20"]
seeds: [0, 1]
base: {model.dim: 8, training.epochs: 60, negatives.count: 2}
rows: [slow]
"""


def started(folder: Path, slow_model: Path, *more: str) -> subprocess.Popen[str]:
    """Start `harness run` of a suite of two runs."""
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "slurm.yaml").write_text("poll: 1\nneeds: {memory: 500M}\n")
    words = [sys.executable, "-m", "harness", "run", "suite.yaml", "--models", str(slow_model)]
    words += ["--executor", "slurm", "--engine", "slurm.yaml", "--home", str(folder / "home")]
    return subprocess.Popen(
        [*words, *more],
        cwd=folder,
        env={**os.environ, "HARNESS_SLOW_S": "0.2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tried(folder: Path) -> list[int]:
    """Number of attempts at each run."""
    return [len(attempts.read(path)) for path in (folder / "home" / "runs").glob("*")]


def trained(folder: Path) -> int:
    """Return the number of runs that have an epoch."""
    mailboxes = (folder / "home" / "runs").glob(f"*/{MAILBOX}")
    return sum('"kind": "epoch"' in path.read_text() for path in mailboxes)


def check_results(folder: Path, slow_model: Path) -> None:
    """Compare the runs of the suite with those of one process."""
    from harness.run.suite import run_suite

    catalog.load_folder(slow_model)
    suite = run_suite(folder / "suite.yaml", home=folder / "one", model_folders=(slow_model,))
    assert len(suite.run_ids) == 2
    for run_id in suite.run_ids:
        one, other = (folder / home / "runs" / run_id for home in ("one", "home"))
        assert (one / "ranks.npz").read_bytes() == (other / "ranks.npz").read_bytes()
        records = [read_record(path / "record.json") for path in (one, other)]
        assert records[0].metrics == records[1].metrics


@pytest.mark.parametrize("ending", ["kill", "interrupt", "detach"])
def test_runs_of_a_command_that_is_gone_are_adopted(
    ending: str, tmp_path: Path, slow_model: Path, slurm: Slurm
) -> None:
    first = started(tmp_path, slow_model, *["--detach"] * (ending == "detach"))
    if ending != "detach":
        wait_for(lambda: tried(tmp_path) == [1, 1], 120)
        first.send_signal(signal.SIGKILL if ending == "kill" else signal.SIGINT)
    output = first.communicate(timeout=120)[0]
    code = {"kill": -signal.SIGKILL, "interrupt": 130, "detach": 0}[ending]
    assert first.returncode == code, output
    if ending == "interrupt":
        assert "2 runs left in Slurm; the same command follows them again" in output
    second = started(tmp_path, slow_model)
    output = second.communicate(timeout=240)[0]
    assert second.returncode == 0, output
    assert "2 runs in Slurm already, submitted by an earlier command" in output
    assert "submitted to Slurm" not in output
    assert tried(tmp_path) == [1, 1], "no run is executed twice"
    check_results(tmp_path, slow_model)


def test_ctrl_c_may_cancel_runs_which_write_their_checkpoints(
    tmp_path: Path, slow_model: Path, slurm: Slurm
) -> None:
    command = started(tmp_path, slow_model, "--on-interrupt", "cancel")
    wait_for(lambda: trained(tmp_path) == 2, 120)
    command.send_signal(signal.SIGINT)
    output = command.communicate(timeout=120)[0]
    assert command.returncode == 130, output
    wait_for(lambda: slurm.command("squeue", "-h") == "", 30)  # COMPLETING for a moment
    states = list((tmp_path / "home" / "runs").glob("*/state.json"))
    assert len(states) == 2


def test_a_study_runs_its_trials_in_slurm(
    tmp_path: Path, slow_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command alone talks to Optuna."""
    from harness.run.study import run_study

    suite = SUITE.replace("60", "3") + (
        "study: {sampler: random, trials: 2, seed: 0, pruner: none, space: "
        "{optimiser.lr: {low: 0.001, high: 0.1, log: true}}}\n"
    )
    (tmp_path / "suite.yaml").write_text(suite)
    (tmp_path / "slurm.yaml").write_text("poll: 1\nneeds: {memory: 500M}\n")
    result = run_study(
        tmp_path / "suite.yaml",
        home=tmp_path / "home",
        executor="slurm",
        engine=tmp_path / "slurm.yaml",
        workers=2,
        model_folders=(slow_model,),
    )
    assert [trial.state for trial in result.searches[0].trials] == ["complete", "complete"]
    nodes = {
        get_record(run_id, tmp_path / "home").provenance["execution"]["node"]
        for trial in result.searches[0].trials
        for run_id in trial.runs.values()
    }
    assert nodes <= {"n1", "n2"}


# --- nodes that differ --------------------------------------------------------------------


def test_a_node_with_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph on n2 lacks a triple; a result of it would stand under the id of the other."""
    for node, count in (("n1", 60), ("n2", 59)):
        folder = tmp_path / node / "mini"
        folder.mkdir(parents=True)
        rows = [f"e{i % 20}\tr{i % 3}\te{(i * 7 + 1) % 20}" for i in range(80)]
        for name, part in (("train", rows[:count]), ("valid", rows[60:70]), ("test", rows[70:])):
            (folder / f"{name}.tsv").write_text("\n".join(part) + "\n")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "n1"))
    job = make_job(tmp_path / "home", epochs=2)
    spec = job.spec.model_copy(
        update={"data": job.spec.data.model_copy(update={"dataset": "mini"})}
    )
    run_id = run_id_of(spec, load_graph("mini").digest, "")
    job = job.model_copy(update={"spec": spec, "run_id": run_id})
    setup = [f"export HARNESS_DATA={tmp_path}/$SLURMD_NODENAME"]
    refused = Heard(make_slurm(setup=setup, sbatch={"nodelist": "n2"})).run(job)[run_id]
    assert refused.status == "failed"
    assert refused.node == "n2"
    assert "not those that it was planned with" in refused.message
    assert not (job.folder / "record.json").exists()
    done = Heard(make_slurm(setup=setup, sbatch={"nodelist": "n1"})).run(job)[run_id]
    assert done.status == "ok", done.message


def test_a_node_with_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Python prefers the folder where the command was given
    root = Path(harness.__file__).resolve().parents[1]
    for name in ("harness", "models"):
        shutil.copytree(
            root / name, tmp_path / "old" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    init = tmp_path / "old" / "harness" / "__init__.py"
    init.write_text(init.read_text().replace(harness.__version__, "0.0.9"))
    job = make_job(tmp_path / "home", epochs=2)
    executor = make_slurm(setup=[f"export PYTHONPATH={tmp_path / 'old'}"])
    outcome = Heard(executor).run(job)[job.run_id]
    assert outcome.status == "lost"
    assert "has version 0.0.9 of the harness" in outcome.message
    assert f"the submitting machine {harness.__version__}: install the same" in outcome.message


def test_what_sbatch_refuses_is_said(tmp_path: Path) -> None:
    from harness.errors import MachineError

    with pytest.raises(MachineError, match=r"Slurm refuses the jobs .*partition"):
        Heard(make_slurm(partition="no-such")).run(make_job(tmp_path))


def test_the_logs_of_a_lost_run_are_reached_by_one_command(tmp_path: Path, slurm: Slurm) -> None:
    job = make_job(tmp_path / "home")
    outcome = Heard(make_slurm(attempts=1, setup=["echo no module; exit 3"])).run(job)[job.run_id]
    assert outcome.status == "lost"
    assert f"harness runs log {job.run_id}" in outcome.message
    with contextlib.closing(open_home(tmp_path / "home")):
        pass
    logs = run_logs(job.run_id, tmp_path / "home")
    assert any("no module" in log.path.read_text() for log in logs)


def test_runs_that_need_different_things_are_different_arrays(tmp_path: Path, slurm: Slurm) -> None:
    from harness.run.jobs import Needs

    jobs = [
        make_job(tmp_path, lr=lr, epochs=2, needs=Needs(memory=memory))
        for lr, memory in ((1e-3, 400), (2e-3, 800), (3e-3, 400))
    ]
    told: list[str] = []
    executor = make_slurm(told, detach=True)
    assert Heard(executor).run(*jobs) == {}
    printed = slurm.command("squeue", "-h", "-r", "-t", "all", "-o", "%F %K %m %j")
    submitted = [json.loads(path.read_text()) for path in tmp_path.glob("cluster/*/jobs.json")]
    assert sorted(map(len, submitted)) == [1, 2]
    assert "400M" in printed
    assert "800M" in printed
    assert "3 runs submitted to Slurm" in told[0]


def test_each_job_of_an_array_requeues_itself_alone(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    """The last job of an array has the id of the whole array."""
    jobs = slow_job(seconds=0.2), slow_job(seconds=0.2, lr=2e-3)

    def preempt(job: Job) -> None:
        slurm.command("scancel", "--signal=TERM", task_of(job))

    heard = Heard(make_slurm(), react=at_epoch(20, preempt))
    with soon_started(slurm):
        outcomes = heard.run(*jobs)
    assert [(o.status, o.attempt) for o in outcomes.values()] == [("ok", 2), ("ok", 2)]
    for job in jobs:
        assert result_of(job) == straight(job)


def test_a_job_that_slurm_does_not_requeue_is_submitted_again(
    slow_job: MakeJob, straight: Straight, slurm: Slurm
) -> None:
    job, told = slow_job(seconds=0.2), list[str]()
    executor = make_slurm(told, sbatch={"requeue": False, "no-requeue": True})

    def preempt(job: Job) -> None:
        slurm.command("scancel", "--signal=TERM", task_of(job))

    outcome = Heard(executor, react=at_epoch(20, preempt)).run(job)[job.run_id]
    assert (outcome.status, outcome.attempt) == ("ok", 2)
    assert any("Slurm did not requeue the job" in text for text in told)
    assert any("submitted again" in text for text in told)
    assert result_of(job) == straight(job)


def test_without_a_limit_the_partition_has_one(tmp_path: Path, slurm: Slurm) -> None:
    told: list[str] = []
    assert Heard(make_slurm(told, detach=True)).run(make_job(tmp_path, epochs=2)) == {}
    number = told[0].rpartition(" ")[2]
    assert "TimeLimit=01:00:00" in slurm.command("scontrol", "show", "job", number)


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.errors import ConfigError

    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[slurm\]'"):
        make_executor("slurm", Execution(executor="slurm"))
