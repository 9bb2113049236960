"""Run folders that hold what belongs to another run, or lead out of the results folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import catalog, pipeline
from harness.cli.main import app
from harness.data.load import load_graph
from harness.errors import DataError, StoreError
from harness.execution.base import Job
from harness.execution.inline import InlineExecutor
from harness.execution.scheduler import pending
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.store import open_store
from harness.store.archive import import_records
from harness.store.archive.redaction import redacted
from harness.store.files import RANKS, RECORD, read_record, write_record
from harness.store.memory import MemoryStore
from harness.store.records import RunRecord

DATA = "synthetic:entities=40,relations=4,train=200,valid=20,test=20"


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


def make_job(home: Path, *, dim: int = 4, seed: int = 0) -> Job:
    spec = RunSpec.model_validate(
        {
            "model": {"name": "transe", "dim": dim},
            "data": {"dataset": DATA},
            "training": {"epochs": 1, "evaluate_every": 1},
            "seed": seed,
        }
    )
    catalog.load_models()
    run_id = run_id_of(spec, load_graph(DATA).digest, "")
    return Job(run_id=run_id, label="row", spec=spec, home=home, device="cpu", threads=1)


def execute(*jobs: Job) -> list[str]:
    executor = InlineExecutor()
    return [o.status for o in executor.run(jobs, lambda *_: None, lambda: False)]


def test_a_record_of_another_run_under_this_runs_id_is_refused(tmp_path: Path) -> None:
    one, two = make_job(tmp_path), make_job(tmp_path, seed=1)
    assert execute(one) == ["ok"]
    foreign = read_record(one.folder / RECORD).model_copy(update={"run_id": two.run_id})
    two.folder.mkdir()
    write_record(two.folder / RECORD, foreign)
    store = MemoryStore()
    (outcome,) = pending([two], store).unreadable
    assert "its settings and data are those of run" in outcome.message
    assert "harness runs rm" in outcome.message
    assert not store.ids()
    assert execute(two) == ["failed"]


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    one, two = make_job(tmp_path), make_job(tmp_path, dim=8)
    assert execute(one, two) == ["ok", "ok"]
    (checkpoint,) = two.folder.glob("best-*.safetensors")
    (target,) = one.folder.glob("best-*.safetensors")
    target.write_bytes(checkpoint.read_bytes())
    with pytest.raises(DataError, match="checkpoint is of another model"):
        pipeline.load_trained(
            read_record(one.folder / RECORD), one.folder, pipeline.resolve_device("cpu")
        )


def test_retry_deletes_nothing_behind_a_link(tmp_path: Path) -> None:
    elsewhere, runs = tmp_path / "elsewhere", tmp_path / "home" / "runs"
    elsewhere.mkdir()
    (elsewhere / RECORD).write_text("torn")
    runs.mkdir(parents=True)
    (runs / "abcdef123456").symlink_to(elsewhere)
    open_store(tmp_path / "home" / "harness.db").close()
    ended = CliRunner().invoke(app, ["runs", "retry", "--home", str(tmp_path / "home")])
    assert isinstance(ended.exception, StoreError)
    assert (elsewhere / RECORD).read_text() == "torn"


def test_an_import_writes_nothing_behind_a_link(tmp_path: Path) -> None:
    elsewhere, runs, records = (tmp_path / name for name in ("elsewhere", "new", "records"))
    for folder in (elsewhere, runs, records):
        folder.mkdir()
    job = make_job(tmp_path)
    assert execute(job) == ["ok"]
    shutil.copy(job.folder / RECORD, records / f"{job.run_id}.json")
    shutil.copy(job.folder / RANKS, records / f"{job.run_id}.npz")
    (runs / job.run_id).symlink_to(elsewhere)
    with (
        closing(open_store(tmp_path / "harness.db")) as store,
        pytest.raises(StoreError, match="symbolic link"),
    ):
        import_records(store, records, runs=runs)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("home", ["/", "/none"])
def test_a_record_is_exported_where_the_user_has_no_name(
    home: str, make_record: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setenv("HOME", home)
    record = make_record("aaaa", status="failed", error="lost 3/4 of a file", metrics=())
    assert redacted(record).error == "lost 3/4 of a file"


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_exit_code(closed: str) -> None:
    command = f"exec {sys.executable} -m harness --version {closed}"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
