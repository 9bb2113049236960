"""Jobs of Slurm with stand-ins for its commands: on the node, and in the command that submits."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit")

from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import MachineError
from harness.plan.spec import RunSpec
from harness.run.cluster import slurm, slurm_node, squeue
from harness.run.cluster.folder import new_submission
from harness.run.cluster.mailbox import MAILBOX, MailboxReader, MailboxWriter
from harness.run.cluster.relay import assignment_of
from harness.run.cluster.settings import SlurmSettings
from harness.run.cluster.slurm import SlurmExecutor
from harness.run.cluster.squeue import QueueEntry
from harness.run.jobs import Job, Needs, Outcome
from tests.toys import SMALL

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")


def make_job(home: Path, run_id: str = "run1", **more: Any) -> Job:
    spec = RunSpec.model_validate({"model": {"name": "random"}, "data": {"dataset": SMALL}})
    return Job(run_id=run_id, label="Random", spec=spec, home=home, device="cpu", **more)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return ``command(name, script)``: replaces a command of Slurm; its file ``NAME.called``
    has a line for each call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def make(name: str, script: str) -> Path:
        called = tmp_path / f"{name}.called"
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "$@" >> "{called}"\n{script}\n')
        path.chmod(0o755)
        return called

    for name in COMMANDS:
        make(name, "exit 0")
    return make


# --- on the node --------------------------------------------------------------------------


@pytest.fixture
def ended_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Return ``ended_by(*signals)``: executes a run that these signals interrupt, and returns the
    messages of its relay."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    handlers = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(slurm_node, "SECONDS_TO_BE_REQUEUED", 0)
    monkeypatch.setenv("SLURM_JOB_ID", "44")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "41")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")

    def execute(*signals: signal.Signals) -> list[dict[str, Any]]:
        def relay(assignment: Any, attempt: Any, make_forward: Any, should_stop: Any) -> Outcome:
            make_forward({"kind": "attempt", **attempt.model_dump()})
            for number in signals:
                os.kill(os.getpid(), number)
            assert should_stop()
            return Outcome(run_id="run1", status="interrupted")

        monkeypatch.setattr(slurm_node, "relay", relay)
        job = make_job(tmp_path)
        assignment = assignment_of(job, "command", new_submission(tmp_path, [job]), 3)
        slurm_node.execute(assignment.model_dump_json())
        return MailboxReader(job.folder).read()[1:]

    yield execute
    for number, handler in handlers.items():
        signal.signal(number, handler)


def kinds(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [message["kind"] for message in messages]


def test_a_preempted_job_requeues_itself(
    ended_by: Callable[..., list[dict[str, Any]]], command: Callable[[str, str], Path]
) -> None:
    """During its grace time Slurm shows it as running."""
    command("squeue", "echo RUNNING")
    called = command("scontrol", "exit 0")
    messages = ended_by(signal.SIGTERM)
    assert messages[0] == {"kind": "requeued", "reason": "preempted"}
    assert called.read_text() == "requeue 41_3\n"


def test_a_job_that_a_person_cancels_does_not_requeue_itself(
    ended_by: Callable[..., list[dict[str, Any]]], command: Callable[[str, str], Path]
) -> None:
    """It gets the same signal, and Slurm would take the requeue."""
    called = command("scontrol", "exit 0")
    asked = command("squeue", "echo COMPLETING")
    assert kinds(ended_by(signal.SIGTERM)) == ["ended"]
    assert not called.exists()
    assert "--jobs=41_3" in asked.read_text()


def test_a_job_whose_controller_is_silent_requeues_itself(
    ended_by: Callable[..., list[dict[str, Any]]], command: Callable[[str, str], Path]
) -> None:
    command("squeue", "echo no answer >&2; exit 1")
    assert kinds(ended_by(signal.SIGTERM))[0] == "requeued"


def test_a_job_at_its_time_limit_requeues_itself_even_late(
    ended_by: Callable[..., list[dict[str, Any]]], command: Callable[[str, str], Path]
) -> None:
    """Its last epoch ended after the limit, when Slurm was ending the job."""
    command("squeue", "echo COMPLETING")
    messages = ended_by(signal.SIGUSR2, signal.SIGTERM)
    assert messages[0] == {"kind": "requeued", "reason": "time limit"}


def test_a_job_that_its_command_stops_is_not_requeued(
    ended_by: Callable[..., list[dict[str, Any]]], command: Callable[[str, str], Path]
) -> None:
    called = command("scontrol", "exit 0")
    assert kinds(ended_by(signal.SIGUSR1, signal.SIGTERM)) == ["outcome"]
    assert not called.exists()


# --- submission ---------------------------------------------------------------------------


def executed(jobs: Sequence[Job], stop: bool = False, **settings: Any) -> tuple[Any, list[str]]:
    """Return the outcomes of jobs, and the messages."""
    told: list[str] = []
    detach = settings.pop("detach", False)
    values = {"poll": 0.01, **settings}
    executor = SlurmExecutor(
        SlurmSettings.model_validate(values), detach=detach, on_message=told.append
    )
    asked = itertools.count()
    outcomes = list(executor.run(jobs, lambda *_: None, lambda: stop and next(asked) > 0))
    return outcomes, told


def test_nodes_get_neither_passwords_nor_the_job_of_the_command(
    tmp_path: Path, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm stores the environment of a job; and an array that the command runs in is not that of
    the jobs it submits."""
    monkeypatch.setenv("HARNESS_STORE", "postgresql://ann:secret@db/results")
    monkeypatch.setenv("HARNESS_DATA", "/data")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_JOB_NAME", "mine")  # jobs are recognised by their names
    monkeypatch.setenv("SBATCH_ACCOUNT", "group")
    command("sbatch", f"env > {tmp_path}/env; echo Submitted batch job 8")
    executed([make_job(tmp_path / "home")], detach=True)
    exported = (tmp_path / "env").read_text()
    assert "secret" not in exported
    assert "SLURM_ARRAY_JOB_ID" not in exported
    assert "SBATCH_JOB_NAME" not in exported
    assert "SBATCH_ACCOUNT=group" in exported
    assert "HARNESS_DATA=/data" in exported
    assert "SLURM_CONF=/etc/slurm.conf" in exported
    assert os.environ["PGPASSWORD"] == "secret"
    for path in (tmp_path / "home" / "cluster").rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes()


def test_a_command_that_leaves_prints_its_runs_and_how_to_follow_them(
    tmp_path: Path, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("sbatch", "echo Submitted batch job 8")
    (tmp_path / "engine.yaml").write_text("partition: all\n")
    suite = f"{{name: small, datasets: ['{SMALL}'], seeds: [0, 1], rows: [random]}}"
    (tmp_path / "my suite.yaml").write_text(suite)
    monkeypatch.chdir(tmp_path)
    words = ["run", "my suite.yaml", "--executor", "slurm", "--engine", "engine.yaml", "--detach"]
    monkeypatch.setattr("sys.argv", ["harness", *words])
    called = CliRunner().invoke(app, words)
    assert called.exit_code == 0, called.output
    heading, *runs, again = called.stdout.splitlines()
    assert heading == "2 runs in Slurm:"
    assert [run.split()[1:] for run in runs] == [
        ["Random", SMALL, "seed", "0"],
        ["Random", SMALL, "seed", "1"],
    ]
    follow = "harness run 'my suite.yaml' --executor slurm --engine engine.yaml"
    assert again == f"Follow them with: {follow}"
    assert "2 runs submitted to Slurm: 8" in called.stderr


def test_ctrl_c_does_not_end_sbatch_before_it_says_what_it_submitted(
    tmp_path: Path, command: Callable[[str, str], Path]
) -> None:
    command("sbatch", "kill -INT $$; echo Submitted batch job 8")
    _, told = executed([make_job(tmp_path)], detach=True)
    assert told[0] == "1 run submitted to Slurm: 8"


def test_ctrl_c_does_not_reach_squeue(tmp_path: Path, command: Callable[[str, str], Path]) -> None:
    command("squeue", f"ps -o pgid= -p $$ > {tmp_path}/group")
    squeue.queue("harness-")
    assert int((tmp_path / "group").read_text()) != os.getpgrp()


def test_what_was_submitted_before_a_refusal_is_told(
    tmp_path: Path, command: Callable[[str, str], Path]
) -> None:
    jobs = [make_job(tmp_path, name, needs=Needs(cpus=i)) for i, name in enumerate("ab", 1)]
    again = tmp_path / "again"
    command(
        "sbatch",
        f'[ -e {again} ] && {{ echo "sbatch: error: too many jobs" >&2; exit 1; }}\n'
        f"touch {again}; echo Submitted batch job 8",
    )
    told: list[str] = []
    executor = SlurmExecutor(SlurmSettings(), on_message=told.append)
    with pytest.raises(MachineError, match=r"Slurm refuses the jobs \(2 CPUs\): .*too many jobs"):
        list(executor.run(jobs, lambda *_: None, lambda: False))
    assert told == [
        "1 run left in Slurm; the same command follows them again, `scancel 8` ends them"
    ]


# --- runs that end without a word ---------------------------------------------------------


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch, command: Callable[[str, str], Path]) -> list[str]:
    """States in which the jobs of the test end, one after another; sbatch counts from 1."""
    states: list[str] = []
    names: list[str] = []

    def sbatch(self: SlurmExecutor, needs: Needs, jobs: Sequence[Job], submission: Any) -> Any:
        names.append(submission.name)
        return [str(len(names))]

    def queue(prefix: str) -> dict[str, QueueEntry]:
        return {
            str(i): QueueEntry(state, "n1", "", prefix + name, 0)
            for i, (name, state) in enumerate(zip(names, states, strict=False), 1)
        }

    monkeypatch.setattr(SlurmExecutor, "_sbatch", sbatch)
    monkeypatch.setattr(squeue, "queue", queue)
    monkeypatch.setattr(slurm, "LOOKS_S", (0.0, 0.01))
    return states


def test_jobs_that_never_begin_are_given_up_with_what_nodes_need(
    tmp_path: Path, ends: list[str]
) -> None:
    ends += ["FAILED"] * 3
    (outcome,), told = executed([make_job(tmp_path)])
    assert outcome.status == "lost"
    assert "given up: 3 jobs ended before the run began; all nodes must see" in outcome.message
    assert str(tmp_path) in outcome.message
    assert told[1:] == [f"Random on {SMALL}, seed 0: ended on n1 without a word (FAILED); "
                        "submitted again"] * 2  # fmt: skip


def test_a_job_that_a_person_cancels_is_lost(tmp_path: Path, ends: list[str]) -> None:
    ends += ["CANCELLED"]
    (outcome,), _ = executed([make_job(tmp_path)])
    assert (outcome.status, outcome.message) == ("lost", "cancelled in Slurm on n1")


def test_a_state_of_a_later_slurm_is_not_an_end(
    tmp_path: Path, ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends += ["EXPEDITING"]
    looks = itertools.count()

    def end_later(*_: Any) -> None:
        if next(looks) == 10:
            ends[0] = "CANCELLED"

    monkeypatch.setattr(SlurmExecutor, "_tell_held", end_later)
    (outcome,), told = executed([make_job(tmp_path)])
    assert outcome.status == "lost"
    assert told == ["1 run submitted to Slurm: 1"]


def test_a_slurm_that_is_silent_when_a_run_is_lost_is_asked_again(
    tmp_path: Path, ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other runs go on: an error here would leave or cancel them all."""
    ends += ["NODE_FAIL", "CANCELLED"]
    refusals = iter([MachineError("sbatch: no answer"), MachineError("sbatch: no answer")])
    original = SlurmExecutor._adopt_or_submit
    calls = itertools.count()

    def adopt_or_submit(self: SlurmExecutor, jobs: Sequence[Job]) -> Any:
        if next(calls) and (error := next(refusals, None)):
            raise error
        return original(self, jobs)

    monkeypatch.setattr(SlurmExecutor, "_adopt_or_submit", adopt_or_submit)
    (outcome,), told = executed([make_job(tmp_path)], on_interrupt="cancel")
    assert outcome.message == "cancelled in Slurm on n1"
    assert [text.rpartition("; ")[2] for text in told[1:]] == ["trying again", "submitted again"]


def test_a_refusal_that_lasts_loses_the_run(
    tmp_path: Path, ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends += ["NODE_FAIL"]
    original = SlurmExecutor._sbatch
    calls = itertools.count()

    def sbatch(self: SlurmExecutor, *rest: Any) -> Any:
        if next(calls):
            raise MachineError("Slurm refuses the jobs (1 CPU): no such account")
        return original(self, *rest)

    monkeypatch.setattr(SlurmExecutor, "_sbatch", sbatch)
    monkeypatch.setattr(slurm, "PATIENCE_S", -1.0)
    (outcome,), _ = executed([make_job(tmp_path)])
    assert outcome.status == "lost"
    assert outcome.message.endswith("Slurm refuses the jobs (1 CPU): no such account")


def test_a_job_that_was_just_starting_is_asked_again_to_stop(
    tmp_path: Path, ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal reaches no job whose process is not there yet."""
    ends += ["RUNNING"]
    job, signals = make_job(tmp_path), itertools.count(1)

    def send(ids: Any, name: str) -> None:
        if next(signals) == 2:
            mailbox = MailboxWriter(job.folder, {"kind": "attempt", "node": "n1", "number": 1})
            mailbox.write({"kind": "outcome", "run_id": "run1", "status": "interrupted"})
            mailbox.close()

    monkeypatch.setattr(squeue, "signal", send)
    monkeypatch.setattr(slurm, "STOP_S", 0.05)
    (outcome,), _ = executed([job], stop=True, on_interrupt="cancel")
    assert outcome.status == "interrupted"


def test_a_slurm_that_is_silent_at_ctrl_c_is_asked_again(
    tmp_path: Path, ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends += ["RUNNING"]
    calls = itertools.count()

    def cancel(ids: Any, *, pending: bool = False) -> None:
        if not next(calls):
            raise MachineError("scancel: no answer")
        ends[0] = "CANCELLED"

    monkeypatch.setattr(squeue, "cancel", cancel)
    monkeypatch.setattr(squeue, "signal", lambda *_: None)
    monkeypatch.setattr(slurm, "STOP_S", 0.05)
    (outcome,), _ = executed([make_job(tmp_path)], stop=True, on_interrupt="cancel")
    assert (outcome.status, outcome.message) == ("interrupted", "ended by Slurm")


@pytest.mark.parametrize(("status", "submitted"), [("interrupted", 1), ("ok", 0)])
def test_a_run_that_has_just_stopped_is_submitted_again(
    status: str,
    submitted: int,
    tmp_path: Path,
    ends: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C and the same command again: Slurm still shows the job as it ends."""
    job = make_job(tmp_path)
    name = slurm.PREFIX + new_submission(tmp_path, [job]).name
    mailbox = MailboxWriter(job.folder, {"kind": "attempt", "node": "n1", "number": 1})
    mailbox.write({"kind": "outcome", "run_id": "run1", "status": status})
    mailbox.close()
    new_jobs = squeue.queue
    completing = QueueEntry("COMPLETING", "n1", "", name, 0)
    monkeypatch.setattr(squeue, "queue", lambda prefix: {"0": completing, **new_jobs(prefix)})
    ends += ["CANCELLED"]
    (outcome,), told = executed([job])
    assert outcome.status == ("lost" if submitted else "ok")
    assert sum("submitted to Slurm" in text for text in told) == submitted


def test_messages_of_an_earlier_submission_are_not_taken_for_new_ones(
    tmp_path: Path, ends: list[str]
) -> None:
    job = make_job(tmp_path)
    job.folder.mkdir(parents=True)
    old = {"kind": "outcome", "run_id": "run1", "status": "ok"}
    (job.folder / MAILBOX).write_text(json.dumps(old) + "\n")
    ends += ["CANCELLED"]
    (outcome,), _ = executed([job])
    assert outcome.status == "lost"
