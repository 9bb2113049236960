"""Run folders: records that cannot be read, links, runs of other processes, what a kill leaves."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import StoreError
from harness.plan.spec import RunSpec
from harness.run.inline import InlineExecutor
from harness.run.jobs import Job, Outcome
from harness.run.scheduler import Pending, Summary, pending, run_jobs
from harness.run.worker import LOCK, execute_job
from harness.store import open_store
from harness.store.files import RECORD, read_own_record, write_record
from harness.store.memory import MemoryStore
from harness.store.records import RunRecord
from tests.toys import SMALL

pytestmark = pytest.mark.usefixtures("readable_ids")

TORN: dict[str, Callable[[RunRecord], str]] = {
    "empty": lambda record: "",
    "torn": lambda record: record.model_dump_json()[:200],
    "no record": lambda record: '{"name": "a package"}',
    "a list": lambda record: "[]",
    "of another run": lambda record: record.model_copy(
        update={"run_id": "other"}
    ).model_dump_json(),
    "no text": lambda record: "\udcff\udcfe",
}


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


def make_job(home: Path, run_id: str = "run", *, model: str = "random", epochs: int = 3) -> Job:
    options = {"name": model, "dim": 4} if model == "transe" else {"name": model}
    spec = RunSpec.model_validate(
        {
            "model": options,
            "data": {"dataset": SMALL},
            "training": {"epochs": epochs, "evaluate_every": 1},
        }
    )
    return Job(run_id=run_id, label=model, spec=spec, home=home, device="cpu", threads=1)


def execute(job: Job) -> Outcome:
    return execute_job(job, lambda *_: None, lambda: False)


def damage(folder: Path, kind: str, make_record: Callable[..., RunRecord]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = TORN[kind](make_record(folder.name))
    (folder / RECORD).write_bytes(content.encode(errors="surrogateescape"))


def run(jobs: Sequence[Job], store: MemoryStore, **changes: Any) -> Summary:
    hooks: dict[str, Any] = {
        "on_event": lambda *_: None,
        "on_outcome": lambda *_: None,
        "on_wait": lambda _: None,
        "should_stop": lambda: False,
    }
    return run_jobs(jobs, store, InlineExecutor(), **{**hooks, **changes})


# --- records that cannot be read ----------------------------------------------------------


@pytest.mark.parametrize("kind", TORN)
def test_a_record_that_cannot_be_read_skips_its_run_alone(
    kind: str, tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    damaged, other, new = (make_job(tmp_path, run_id) for run_id in ("damaged", "other", "new"))
    damage(damaged.folder, kind, make_record)
    other.folder.mkdir(parents=True)
    write_record(other.folder / RECORD, make_record("other"))
    store = MemoryStore()
    state = pending([damaged, other, new], store)
    assert (state.to_run, state.finished, state.failed) == ([new], [other], [])
    [outcome] = state.unreadable
    assert (outcome.run_id, outcome.status) == ("damaged", "failed")
    assert "`harness runs retry damaged` removes it" in outcome.message
    assert "`harness runs rm damaged` removes the folder" in outcome.message
    assert list(store.ids()) == ["other"]


def test_it_is_run_again_on_request(tmp_path: Path, make_record: Callable[..., RunRecord]) -> None:
    job = make_job(tmp_path)
    damage(job.folder, "torn", make_record)
    assert pending([job], MemoryStore(), retry_failed=True) == Pending([job], [], [], [])
    assert execute(job).status == "ok"


def test_a_record_behind_a_link_stays_then_too(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    job = make_job(tmp_path)
    damage(tmp_path / "elsewhere", "torn", make_record)
    job.folder.parent.mkdir(parents=True)
    job.folder.symlink_to(tmp_path / "elsewhere")
    (outcome,) = pending([job], MemoryStore(), retry_failed=True).unreadable
    assert "a symbolic link" in outcome.message
    assert (tmp_path / "elsewhere" / RECORD).is_file()


def test_a_worker_leaves_a_record_that_it_cannot_read(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    """It may have come there since the plan was compared with the store."""
    job, store = make_job(tmp_path), MemoryStore()
    damage(job.folder, "torn", make_record)
    before = (job.folder / RECORD).read_bytes()
    summary = run([job], store)
    assert [outcome.run_id for outcome in summary.failed] == ["run"]
    assert (job.folder / RECORD).read_bytes() == before
    assert list(store.ids()) == []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The results folder of the commands, with a database without runs."""
    open_store(tmp_path / "results" / "harness.db").close()
    return tmp_path / "results"


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, words)


def test_commands_know_runs_whose_record_cannot_be_read(
    home: Path, make_record: Callable[..., RunRecord]
) -> None:
    for run_id in ("aaaa", "bbbb"):
        damage(home / "runs" / run_id, "torn", make_record)
        (home / "runs" / run_id / "best-1.safetensors").touch()
    checked = invoke("db", "check")
    assert isinstance(checked.exception, StoreError)
    assert "runs/aaaa/record.json:1: not a record" in checked.output
    assert "`harness runs retry aaaa` removes it" in checked.output
    assert invoke("runs", "retry").output.splitlines()[:2] == ["aaaa", "bbbb"]
    files = [path.name for path in (home / "runs").rglob("*.*")]
    assert files == ["best-1.safetensors"] * 2
    damage(home / "runs" / "aaaa", "empty", make_record)
    assert invoke("runs", "rm", "aa", "--yes").exit_code == 0
    assert [path.name for path in (home / "runs").iterdir()] == ["bbbb"]


# --- links ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", LOCK, "log.jsonl", RECORD, "state.json"])
def test_a_run_does_not_write_through_a_link(name: str, tmp_path: Path) -> None:
    job, outside = make_job(tmp_path / "home"), tmp_path / "outside"
    if name:
        outside.write_text("precious")
        job.folder.mkdir(parents=True)
        (job.folder / name).symlink_to(outside)
    else:
        outside.mkdir()
        (outside / "mine.safetensors").touch()
        job.folder.parent.mkdir(parents=True)
        job.folder.symlink_to(outside)
    outcome = execute(job)
    assert outcome.status == "failed"
    assert f"{job.folder / name}: a symbolic link" in outcome.message
    if name:
        assert outside.read_text() == "precious"
    else:
        assert [path.name for path in outside.iterdir()] == ["mine.safetensors"]


def test_removing_a_run_whose_folder_is_a_link_removes_the_link(home: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine").touch()
    (home / "runs").mkdir()
    (home / "runs" / "aaaa").symlink_to(tmp_path / "outside")
    assert invoke("runs", "rm", "aaaa", "--yes").exit_code == 0
    assert not (home / "runs" / "aaaa").is_symlink()
    assert (tmp_path / "outside" / "mine").is_file()


# --- other processes ------------------------------------------------------------------------


@contextmanager
def executed_elsewhere(job: Job) -> Iterator[None]:
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_run_that_another_process_executes_is_said_to_be(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    with executed_elsewhere(job):
        assert execute(job).status == "busy"
    assert not (job.folder / RECORD).exists()


def test_it_is_not_removed(home: Path) -> None:
    job = make_job(home, "aaaa")
    with executed_elsewhere(job):
        removed = invoke("runs", "rm", "aaaa", "--yes")
        assert str(removed.exception) == "run aaaa is being executed; stop it first"
        assert job.folder.is_dir()
    assert invoke("runs", "rm", "aaaa", "--yes").exit_code == 0


@pytest.mark.parametrize("finishes", [True, False])
def test_it_is_waited_for_and_executed_where_the_other_leaves_it_unfinished(
    finishes: bool, tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    busy, other = make_job(tmp_path, "busy"), make_job(tmp_path, "other")
    store = MemoryStore()
    waited: list[Job] = []
    ended: list[tuple[str, str]] = []
    waits = threading.Event()

    def elsewhere() -> None:
        with executed_elsewhere(busy):
            begun.set()
            assert waits.wait(60)
            if finishes:
                write_record(busy.folder / RECORD, make_record("busy"))

    def on_wait(jobs: Sequence[Job]) -> None:
        waited.extend(jobs)
        waits.set()

    begun, thread = threading.Event(), threading.Thread(target=elsewhere)
    thread.start()
    assert begun.wait(60)

    def on_outcome(job: Job, outcome: Outcome) -> None:
        ended.append((job.run_id, outcome.status))

    summary = run([busy, other], store, on_wait=on_wait, on_outcome=on_outcome)
    thread.join()
    assert waited == [busy]
    assert ended == [("other", "ok"), ("busy", "ok")]
    assert (summary.finished, summary.failed) == (["other", "busy"], [])
    assert store.get("busy").model == ("rotate" if finishes else "random")


def test_a_failure_of_the_other_process_is_a_failure_here(
    tmp_path: Path, make_record: Callable[..., RunRecord]
) -> None:
    job, store = make_job(tmp_path), MemoryStore()
    lock = executed_elsewhere(job)

    def on_wait(jobs: Sequence[Job]) -> None:
        failure = make_record("run", status="failed", metrics=(), error="no such luck\nmore")
        write_record(job.folder / RECORD, failure)
        lock.__exit__(None, None, None)

    lock.__enter__()
    [outcome] = run([job], store, on_wait=on_wait).failed
    assert (outcome.status, outcome.message) == ("failed", "no such luck")


def test_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    job, began = make_job(tmp_path), time.monotonic()
    with executed_elsewhere(job):
        summary = run([job], MemoryStore(), should_stop=lambda: time.monotonic() > began + 0.3)
    assert summary.interrupted


# --- what a kill leaves ---------------------------------------------------------------------


def test_the_next_execution_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    job = make_job(tmp_path, model="transe")
    assert execute(job).status == "ok"
    expected = {path.name for path in job.folder.iterdir()}
    (job.folder / RECORD).unlink()
    rows = (job.folder / "log.jsonl").read_text()
    (job.folder / "log.jsonl").write_text(rows + '{"epoch": 4.0, "lo')
    for name in (
        ".record.json.abcd1234",
        ".last-2.safetensors.tmp",
        ".tmpXyZ",
        "last-2.safetensors",
    ):
        (job.folder / name).touch()
    assert execute(job).status == "ok"
    assert {path.name for path in job.folder.iterdir()} == expected


def test_the_log_does_not_repeat_epochs(tmp_path: Path) -> None:
    """Checkpoints are rarer than epochs: a killed process had logged more than it had saved."""
    job = make_job(tmp_path, model="transe", epochs=4)
    job.folder.mkdir(parents=True)
    log = job.folder / "log.jsonl"
    log.write_text("".join(json.dumps({"epoch": float(e)}) + "\n" for e in (1, 2, 3)) + '{"epo')
    assert execute(job).status == "ok"
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3, 4]


# --- permissions ----------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_all_files_of_a_results_folder_have_the_permissions_of_the_umask(
    umask: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        job = make_job(tmp_path / "home", model="transe")
        store = open_store(tmp_path / "home" / "harness.db")
        assert execute(job).status == "ok"
        store.add(read_own_record(job.folder))
        paths = list((tmp_path / "home").rglob("*"))
        store.close()
    finally:
        os.umask(before)
    assert {"harness.db", RECORD, "state.json", "last-3.safetensors"} <= {p.name for p in paths}
    for path in paths:
        if path.exists():
            expected = (0o777 if path.is_dir() else 0o666) & ~umask
            assert stat.S_IMODE(path.stat().st_mode) == expected, path
