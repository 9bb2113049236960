"""Run folders that hold what belongs to another run, or lead out of the results folder."""

from __future__ import annotations

import json
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
from harness.errors import ChangedDataError, DataError, StoreError
from harness.evaluation.ranks import Ranks
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.run.inline import InlineExecutor
from harness.run.jobs import Job
from harness.run.scheduler import pending
from harness.store import open_store
from harness.store.archive import import_records
from harness.store.archive.redaction import redacted
from harness.store.files import RANKS, RECORD, read_record, write_record
from harness.store.memory import MemoryStore
from harness.store.records import RunRecord
from tests.toys import SMALL


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


def make_job(home: Path, *, dim: int = 4, seed: int = 0) -> Job:
    spec = RunSpec.model_validate(
        {
            "model": {"name": "transe", "dim": dim},
            "data": {"dataset": SMALL},
            "training": {"epochs": 1, "evaluate_every": 1},
            "seed": seed,
        }
    )
    catalog.load_models()
    run_id = run_id_of(spec, load_graph(SMALL).digest, "")
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


EPOCH = {"epoch": 1.0, "loss": 1.0, "seconds": 0.1, "valid_mrr": 0.1}
PROGRESS = {"best": 0.1, "best_epoch": 1, "waited": 0, "history": [EPOCH]}


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {k: v for k, v in PROGRESS.items() if k != "waited"},
        {**PROGRESS, "best": "high"},
        {**PROGRESS, "history": [1, 2]},
        {**PROGRESS, "history": []},
        {**PROGRESS, "history": [{**EPOCH, "epoch": 2.0}]},
        {**PROGRESS, "history": [{"epoch": 1.0}]},
        {**PROGRESS, "best": {"a": 1}},
        {**PROGRESS, "procedure/optimiser": 3},
        {**PROGRESS, "best/a": 1},
    ],
)
def test_a_training_is_not_continued_from_a_state_that_lacks_or_twists_its_progress(
    plain: dict[str, object], tmp_path: Path
) -> None:
    job = make_job(tmp_path)
    assert execute(job) == ["ok"]
    (job.folder / RECORD).unlink()
    state = json.loads((job.folder / "state.json").read_text())
    (job.folder / "state.json").write_text(json.dumps({**state, "plain": plain}))
    (outcome,) = InlineExecutor().run([job], lambda *_: None, lambda: False)
    assert outcome.status == "failed"
    assert "checkpoint" in outcome.message
    assert f"`harness runs rm {job.run_id}` removes it" in outcome.message
    assert "Traceback" not in str(read_record(job.folder / RECORD).error)


def load_trained(job: Job) -> None:
    record = read_record(job.folder / RECORD)
    pipeline.load_trained(record, job.folder, pipeline.resolve_device("cpu"))


def test_a_checkpoint_of_the_same_shape_is_not_taken_for_the_one_that_was_tested(
    tmp_path: Path,
) -> None:
    one, two = make_job(tmp_path), make_job(tmp_path, seed=1)
    assert execute(one, two) == ["ok", "ok"]
    load_trained(one)
    (target,) = one.folder.glob("best-*.safetensors")
    target.unlink()
    shutil.copy(next(two.folder.glob("best-*.safetensors")), target)
    with pytest.raises(ChangedDataError, match="the checkpoint is not the one that was tested on"):
        load_trained(one)


@pytest.mark.parametrize("link", ["folder", "file"])
def test_what_is_linked_into_the_results_is_not_followed_and_is_named(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path / "home")
    assert execute(job) == ["ok"]
    with closing(open_store(tmp_path / "home" / "harness.db")) as store:
        store.add(read_record(job.folder / RECORD))
    target = job.folder if link == "folder" else job.folder / RANKS
    target.rename(tmp_path / "elsewhere")
    target.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    asked = ("--relation", "relation 0", "--head", "entity 0")
    for words in (
        ("predict", job.run_id, *asked),
        ("db", "export", "--out", str(tmp_path / "records")),
        ("runs", "retest", job.run_id),
        ("db", "check"),
    ):
        ended = CliRunner().invoke(app, list(words))
        assert isinstance(ended.exception, StoreError), words
        told = ended.stdout if words[-1] == "check" else str(ended.exception)
        assert told.count(f"{target}: a symbolic link") == 1, words
    with pytest.raises(DataError, match="a symbolic link"):
        Ranks.load(job.folder / RANKS)


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
