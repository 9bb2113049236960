"""What commands show and store of runs on a cluster, with an executor that only pretends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.cli.progress import Lines
from harness.errors import ConfigError, MachineError
from harness.plan.spec import RunSpec
from harness.run import executors
from harness.run.cluster.folder import new_submission
from harness.run.events import RunEnded, RunProgress
from harness.run.executors import Execution
from harness.run.jobs import Attempt, Job, OnProgress, Outcome
from harness.run.logs import run_logs
from harness.run.scheduler import Summary, patiently, run_jobs
from harness.run.suite import check_execution
from harness.run.worker import execute_job
from harness.store import open_home
from harness.store.archive.redaction import redacted
from harness.store.failures import TransientError
from harness.store.records import RunRecord
from tests.toys import SMALL

ATTEMPT = Attempt(engine="slurm", node="n7", number=2, task="41_3")


def make_job(home: Path, run_id: str = "run1") -> Job:
    spec = RunSpec.model_validate({"model": {"name": "random"}, "data": {"dataset": SMALL}})
    return Job(run_id=run_id, label="Random", spec=spec, home=home, device="cpu", threads=1)


class Pretending:
    """Executes jobs here and says that a node did."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs

    def run(
        self, jobs: Sequence[Job], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        for job in jobs:
            self.jobs.append(job)
            on_event(job, "attempt", ATTEMPT.model_dump())
            outcome = execute_job(
                job.model_copy(update={"attempt": ATTEMPT}), on_event, should_stop
            )
            yield outcome.model_copy(update={"node": "n7", "attempt": 2})


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs that "Slurm" got."""
    jobs: list[Job] = []
    monkeypatch.setitem(
        executors.EXECUTORS,  # type: ignore[arg-type]
        "slurm",
        lambda settings, on_message: Pretending(jobs),
    )
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    return jobs


def run_command(*words: str) -> Any:
    groups = "model: {name: transe, dim: 4}, training: {epochs: 2}"
    spec = f"{{{groups}, data: {{dataset: '{SMALL}'}}}}"
    return CliRunner().invoke(app, ["run", "--spec", spec, "--executor", "slurm", *words])


def test_a_run_says_where_it_is_and_its_record_keeps_it(
    submitted: list[Job], tmp_path: Path
) -> None:
    result = run_command("--home", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "on n7 (attempt 2)" in result.stderr
    assert "seed 0 on n7, valid MRR" in result.stderr
    listed = CliRunner().invoke(app, ["runs", "list", "--where", "--home", str(tmp_path)])
    assert listed.stdout.splitlines()[0].split()[-2:] == ["node", "attempt"]
    assert listed.stdout.splitlines()[1].split()[-2:] == ["n7", "2"]
    words = ["runs", "list", "--where", "--json", "--home", str(tmp_path)]
    as_json = CliRunner().invoke(app, words)
    assert json.loads(as_json.stdout)[0]["node"] == "n7"


def test_the_place_of_execution_changes_neither_id_nor_metrics(
    submitted: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_command("--home", str(tmp_path / "cluster"))
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    run_command("--executor", "inline", "--home", str(tmp_path / "here"))
    records: list[RunRecord] = []
    for name in ("cluster", "here"):
        with contextlib.closing(open_home(tmp_path / name)) as store:
            records += store.find()
    assert records[0].run_id == records[1].run_id
    assert records[0].metrics == records[1].metrics
    assert "execution" not in records[1].provenance


def test_needs_take_the_place_of_the_checks_of_this_machine(
    submitted: list[Job], tmp_path: Path
) -> None:
    """There is no GPU here, and no memory is asked for."""
    engine = tmp_path / "slurm.yaml"
    engine.write_text("needs: {cpus: 2, minutes: 30, memory: 900G}\n")
    run_command("--home", str(tmp_path), "--engine", str(engine))
    needs = submitted[0].needs
    assert (needs.cpus, needs.minutes, needs.memory) == (2, 30, 900 * 1024)
    assert submitted[0].threads == 2


@pytest.mark.parametrize("device", ["cuda:1", "mps", "gpu"])
def test_a_cluster_numbers_its_gpus_itself(device: str) -> None:
    with pytest.raises(ConfigError, match="on a cluster auto, cpu or cuda"):
        check_execution(Execution(executor="slurm", device=device))


def test_a_gpu_that_is_not_here_may_be_there() -> None:
    check_execution(Execution(executor="slurm", device="cuda"))


def test_a_dry_run_tells_needs_and_asks_nothing_of_this_machine(tmp_path: Path) -> None:
    engine = tmp_path / "slurm.yaml"
    engine.write_text("needs: {cpus: 4, gpus: 1, memory: 16G}\n")
    words = ["run", "quickstart", "--dry-run", "--executor", "slurm", "--engine", str(engine)]
    result = CliRunner().invoke(app, [*words, "--device", "cuda"])
    assert result.exit_code == 0, result.output
    assert "on the cluster:\n  18 runs, each 4 CPUs, 1 GPU, 16 GiB" in result.stdout
    result = CliRunner().invoke(app, [*words, "--probe"])
    assert isinstance(result.exception, ConfigError)
    assert "leave --executor out" in str(result.exception)


def test_a_wrong_engine_file_ends_the_command_before_anything_is_run(
    submitted: list[Job], tmp_path: Path
) -> None:
    engine = tmp_path / "slurm.yaml"
    engine.write_text("partitoin: gpu\n")
    result = run_command("--home", str(tmp_path / "home"), "--engine", str(engine))
    assert isinstance(result.exception, ConfigError)
    told = "slurm.yaml:1: partitoin: unknown key; did you mean 'partition'?"
    assert told in str(result.exception)
    assert submitted == []


def test_an_exported_record_names_no_node(make_record: Callable[..., RunRecord]) -> None:
    record = make_record("aaaa", provenance={"execution": ATTEMPT.model_dump(), "commit": "c"})
    assert redacted(record).provenance == {"commit": "c"}


# --- lines --------------------------------------------------------------------------------


def test_lines_name_the_node_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, lines = make_job(tmp_path), Lines(interval=0.0)
    lines.on_event(RunProgress(job, "attempt", {**ATTEMPT.model_dump(), "number": 1}))
    lines.on_event(RunProgress(job, "epoch", {"epoch": 1.0, "loss": 0.5}))
    lines.on_event(RunEnded(job, Outcome(run_id="run1", status="lost", message="gone", node="n7")))
    printed = capsys.readouterr().err.splitlines()
    title = f"Random on {SMALL}, seed 0"
    assert printed[0] == f"{title}: on n7"
    assert printed[1].startswith(f"{title} on n7: epoch 1/")
    assert printed[2] == f"[0/0] lost: {title} on n7 (run1): gone"


# --- logs ---------------------------------------------------------------------------------


def test_logs_of_a_run_that_never_started_are_those_of_slurm(tmp_path: Path) -> None:
    with contextlib.closing(open_home(tmp_path)):
        pass
    jobs = [make_job(tmp_path, name) for name in ("first", "second")]
    submission = new_submission(tmp_path, jobs)
    for name in ("41_0_0_log.err", "41_1_0_log.err", "41_1_0_log.out"):
        (submission.folder / name).write_text(f"text of {name}\n")
    assert [log.path.name for log in run_logs("sec", tmp_path)] == [
        "41_1_0_log.err",
        "41_1_0_log.out",
    ]
    result = CliRunner().invoke(app, ["runs", "log", "second", "--home", str(tmp_path)])
    assert "text of 41_1_0_log.err" in result.stdout
    assert "text of 41_0_0_log.err" not in result.stdout


def test_logs_of_all_attempts_are_shown_oldest_first(tmp_path: Path) -> None:
    with contextlib.closing(open_home(tmp_path)):
        pass
    job = make_job(tmp_path)
    job.folder.mkdir(parents=True)
    for name in ("stderr.log", "stderr-1.log"):
        (job.folder / name).write_text(name)
    assert [log.path.name for log in run_logs("run1", tmp_path)] == ["stderr-1.log", "stderr.log"]


def test_a_run_without_logs_says_so(tmp_path: Path) -> None:
    with contextlib.closing(open_home(tmp_path)):
        pass
    make_job(tmp_path).folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match="run1: no logs"):
        run_logs("run1", tmp_path)


# --- outcomes -----------------------------------------------------------------------------


@pytest.mark.usefixtures("readable_ids")
@pytest.mark.parametrize(
    ("ended", "message"), [("lost", "gone"), ("interrupted", "stopped, and not by this command")]
)
def test_a_lost_run_is_no_stored_failure(ended: Any, message: str, tmp_path: Path) -> None:
    """Nor is one that another command stopped: without a word a table would lack it."""
    job = make_job(tmp_path)

    class Losing:
        def run(self, *_: Any) -> Iterator[Outcome]:
            yield Outcome(run_id=job.run_id, status=ended, message="gone")

    with contextlib.closing(open_home(tmp_path)) as store:
        ignored: Any = lambda *_: None  # noqa: E731
        summary = run_jobs(
            [job],
            store,
            Losing(),
            on_event=ignored,
            on_outcome=ignored,
            on_wait=ignored,
            should_stop=lambda: False,
        )
        assert [outcome.status for outcome in summary.failed] == ["lost"]
        assert message in summary.failed[0].message
        assert store.statuses() == {}


def test_a_busy_run_counts_as_nothing_yet() -> None:
    summary = Summary()
    summary.add(Outcome(run_id="a", status="busy"))
    assert summary.ended == 0


def test_a_store_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.scheduler.SECONDS_BETWEEN_TRIES", 0.01)
    answers: Any = iter([TransientError("away"), TransientError("away"), 7])
    told: list[str] = []

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(call, told.append, lambda: False) == 7
    assert told == ["away; waiting for it"]


@pytest.mark.parametrize("reason", ["stop", "time"])
def test_a_store_is_not_waited_for_for_ever(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.scheduler.SECONDS_BETWEEN_TRIES", 0.01)
    monkeypatch.setattr("harness.run.scheduler.PATIENCE_S", 0.05 if reason == "time" else 60.0)

    def call() -> None:
        raise TransientError("away")

    with pytest.raises(TransientError):
        patiently(call, lambda text: None, lambda: reason == "stop")


@pytest.mark.usefixtures("readable_ids")
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(MachineError, match=r"cannot lock files.*mount it with locks"):
        execute_job(make_job(tmp_path), lambda *_: None, lambda: False)
