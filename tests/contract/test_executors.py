"""What every executor does: outcomes, failures, events, stops, kills, equal results."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from harness import catalog
from harness.model import MODELS
from harness.run.cluster.ray import RayExecutor
from harness.run.cluster.settings import RaySettings, SlurmSettings
from harness.run.cluster.slurm import SlurmExecutor
from harness.run.inline import InlineExecutor
from harness.run.jobs import Executor, Job, Outcome
from harness.run.processes import ProcessExecutor
from tests.executing import Heard, make_job, record_of, result_of

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "inline": InlineExecutor,
    "processes": lambda: ProcessExecutor(workers=2, threads=1),
    "slurm": lambda: SlurmExecutor(
        SlurmSettings(poll=1, on_interrupt="cancel", needs={"memory": 500})
    ),
    "ray": lambda: RayExecutor(RaySettings()),
}
FIXTURES = {"slurm": "slurm", "ray": "ray_here"}
"""Executor of a cluster -> fixture that starts the cluster."""
ON_CLUSTERS = [pytest.param(name, marks=pytest.mark.cluster) for name in FIXTURES]

OWN_MODELS = '''
import os
import sys
import time
from harness.model import MODELS, register_model

@register_model("raising")
class Raising(MODELS.get("transe")):
    """A mistake of its author."""
    def encode(self, entities=None):
        print("a model that prints", end="")
        raise ValueError("no such luck\\nand more about it")

@register_model("leaving")
class Leaving(MODELS.get("transe")):
    """Ends the interpreter."""
    def encode(self, entities=None):
        sys.exit("good bye")

@register_model("dawdling")
class Dawdling(MODELS.get("transe")):
    """Takes HARNESS_SLOW_S seconds for a step."""
    def encode(self, entities=None):
        time.sleep(float(os.environ.get("HARNESS_SLOW_S", "0")))
        return super().encode(entities)
'''


@pytest.fixture(scope="module")
def own_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own_models")
    (folder / "own.py").write_text(OWN_MODELS)
    catalog.load_folder(folder)
    yield folder
    for name in ("raising", "leaving", "dawdling"):  # other tests list the models
        del MODELS._entries[name]


@pytest.fixture(autouse=True, scope="module")
def _plain_kernels() -> Iterator[None]:
    """Nothing needs compiling, in whatever process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_KERNELS", "reference")
        yield


@dataclass
class Batch:
    """Two runs that succeed around three that do not."""

    good: tuple[Job, Job]
    raising: Job
    leaving: Job
    diverging: Job
    outcomes: dict[str, Outcome]
    heard: Heard


@pytest.fixture(scope="module", params=["inline", "processes", *ON_CLUSTERS])
def batch(
    request: pytest.FixtureRequest, own_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Batch:
    if request.param in FIXTURES:
        request.getfixturevalue(FIXTURES[request.param])
    home = tmp_path_factory.mktemp(request.param)
    folders = (own_models,)
    first, last = make_job(home), make_job(home, "distmult")
    raising = make_job(home, "raising", model_folders=folders)
    leaving = make_job(home, "leaving", model_folders=folders)
    diverging = make_job(home, "distmult", lr=1e38)
    heard = Heard(EXECUTORS[request.param]())
    outcomes = heard.run(first, raising, leaving, diverging, last)
    return Batch((first, last), raising, leaving, diverging, outcomes, heard)


def test_every_job_has_one_outcome(batch: Batch) -> None:
    jobs = [*batch.good, batch.raising, batch.leaving, batch.diverging]
    assert set(batch.outcomes) == {job.run_id for job in jobs}


def test_failing_jobs_do_not_stop_the_others(batch: Batch) -> None:
    for job in batch.good:
        assert batch.outcomes[job.run_id].status == "ok"
        assert record_of(job).status == "ok"


def test_a_model_that_raises_leaves_its_traceback(batch: Batch) -> None:
    outcome, record = batch.outcomes[batch.raising.run_id], record_of(batch.raising)
    assert outcome.status == "failed"
    assert re.match(r"ValueError: no such luck; raised at \S+own\.py:\d+; check", outcome.message)
    assert record.status == "failed"
    assert record.error is not None
    assert "Traceback" in record.error
    assert "own.py" in record.error
    assert "and more about it" in record.error


def test_a_model_that_ends_the_interpreter_fails_alone(batch: Batch) -> None:
    outcome = batch.outcomes[batch.leaving.run_id]
    assert outcome.status == "failed"
    assert re.match(r"SystemExit: good bye; raised at \S+own\.py:\d+; check", outcome.message)
    assert record_of(batch.leaving).status == "failed"


def test_a_diverging_run_fails_with_advice(batch: Batch) -> None:
    outcome, record = batch.outcomes[batch.diverging.run_id], record_of(batch.diverging)
    assert outcome.status == "failed"
    assert "optimiser.lr" in outcome.message
    assert record.error == outcome.message  # a message meant for the user needs no traceback


def test_events_reach_the_caller_in_order(batch: Batch) -> None:
    job = batch.good[0]
    told = [(kind, values) for run_id, kind, values in batch.heard.events if run_id == job.run_id]
    stages = [values["stage"] for kind, values in told if kind == "stage"]
    epochs = [values["epoch"] for kind, values in told if kind == "epoch"]
    assert stages == ["train", "valid", "test"]
    assert epochs == [float(epoch) for epoch in range(1, 61)]
    assert sum(values["done"] for kind, values in told if kind == "queries") == 80


def test_a_failure_is_replaced_by_the_next_attempt(batch: Batch, tmp_path: Path) -> None:
    job = make_job(tmp_path)
    job.folder.mkdir(parents=True)
    failed = record_of(batch.diverging).model_copy(update={"run_id": job.run_id})
    (job.folder / "record.json").write_text(failed.model_dump_json())
    assert Heard(InlineExecutor()).run(job)[job.run_id].status == "ok"
    assert result_of(job)["metrics"] == result_of(batch.good[0])["metrics"]


in_processes_slow = pytest.mark.parametrize(
    "batch",
    ["inline", pytest.param("processes", marks=pytest.mark.slow), *ON_CLUSTERS],
    indirect=True,
)
"""For what starts workers several times: processes have their turn before a release."""


@in_processes_slow
def test_a_result_is_not_computed_twice(batch: Batch) -> None:
    """Another command may have finished the run between planning and executing."""
    heard, before = Heard(batch.heard.executor), record_of(batch.good[0])
    assert heard.run(batch.good[0])[batch.good[0].run_id].status == "ok"
    assert heard.events == []
    assert record_of(batch.good[0]) == before


@in_processes_slow
def test_a_stop_leaves_a_checkpoint_from_which_the_run_goes_on(
    batch: Batch, own_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, later = (
        make_job(tmp_path, "dawdling", lr=lr, model_folders=(own_models,)) for lr in (1e-3, 2e-3)
    )
    job_again = job.model_copy()
    monkeypatch.setenv("HARNESS_SLOW_S", "0.3")  # the stop takes its way through a busy cluster
    heard = Heard(batch.heard.executor, stop_at_first_epoch=True)
    outcomes = heard.run(job, later)
    assert outcomes[job.run_id].status == "interrupted"
    assert (job.folder / "state.json").is_file()
    assert not (job.folder / "record.json").exists()
    assert not (later.folder / "record.json").exists()
    monkeypatch.setenv("HARNESS_SLOW_S", "0")
    resumed = Heard(batch.heard.executor)
    assert resumed.run(job_again)[job.run_id].status == "ok"
    epochs = [values["epoch"] for _, kind, values in resumed.events if kind == "epoch"]
    assert epochs[0] > 1
    straight = job.model_copy(update={"home": tmp_path / "straight"})
    Heard(InlineExecutor()).run(straight)
    assert result_of(job) == result_of(straight)


def stages(heard: Heard) -> list[str]:
    return [values["stage"] for _, kind, values in heard.events if kind == "stage"]


@in_processes_slow
def test_a_validated_run_is_tested_later_and_nothing_is_trained_twice(
    batch: Batch, tmp_path: Path
) -> None:
    job = make_job(tmp_path)
    first = Heard(batch.heard.executor)
    validated = job.model_copy(update={"stage": "valid"})
    assert first.run(validated)[job.run_id].status == "ok"
    assert stages(first) == ["train", "valid"]
    assert record_of(job).status == "validated"
    assert {metric.split for metric in record_of(job).metrics} == {"valid"}
    assert not (job.folder / "ranks.npz").exists()

    again = Heard(batch.heard.executor)
    assert again.run(validated)[job.run_id].status == "ok"
    assert again.events == []

    second = Heard(batch.heard.executor)
    assert second.run(job)[job.run_id].status == "ok"
    assert stages(second) == ["test"]
    assert result_of(job) == result_of(batch.good[0])

    third = Heard(batch.heard.executor)
    assert third.run(validated)[job.run_id].status == "ok", "what is tested is validated"
    assert third.events == []


@in_processes_slow
def test_a_pruned_run_is_a_partial_run(batch: Batch, tmp_path: Path) -> None:
    """Nothing is lost: it goes on from where it was left, and ends as if it had not been pruned."""
    changes = {"stage": "valid", "limits": {10: 0.0, 30: 2.0}}
    job = make_job(tmp_path)
    pruned = Heard(batch.heard.executor)
    assert pruned.run(job.model_copy(update=changes))[job.run_id].status == "pruned"
    record = record_of(job)
    assert (record.status, len(record.history), record.metrics) == ("pruned", 30, ())

    still = Heard(batch.heard.executor)
    assert still.run(job.model_copy(update=changes))[job.run_id].status == "pruned"
    assert [kind for _, kind, _ in still.events if kind == "epoch"] == []

    rest = Heard(batch.heard.executor)
    assert rest.run(job)[job.run_id].status == "ok"
    epochs = [values["epoch"] for _, kind, values in rest.events if kind == "epoch"]
    assert epochs == [float(epoch) for epoch in range(31, 61)]
    assert result_of(job) == result_of(batch.good[0])


@in_processes_slow
def test_a_validated_run_without_its_checkpoint_is_trained_again(
    batch: Batch, tmp_path: Path
) -> None:
    job = make_job(tmp_path)
    Heard(InlineExecutor()).run(job.model_copy(update={"stage": "valid"}))
    for file in (*job.folder.glob("*.safetensors"), job.folder / "state.json"):
        file.unlink()
    heard = Heard(batch.heard.executor)
    assert heard.run(job)[job.run_id].status == "ok"
    assert stages(heard) == ["train", "valid", "test"]
    assert result_of(job) == result_of(batch.good[0])


def test_no_job_is_started_after_a_stop(batch: Batch, tmp_path: Path) -> None:
    assert Heard(batch.heard.executor, stop=True).run(make_job(tmp_path)) == {}


def test_executors_give_equal_results(batch: Batch, tmp_path: Path) -> None:
    for job in batch.good:
        straight = job.model_copy(update={"home": tmp_path})
        Heard(InlineExecutor()).run(straight)
        assert result_of(job) == result_of(straight)


def test_a_killed_worker_fails_its_job_alone_and_a_locked_run_says_so(
    own_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, other = (
        make_job(tmp_path, "dawdling", lr=lr, epochs=20, model_folders=(own_models,))
        for lr in (1e-3, 2e-3)
    )
    monkeypatch.setenv("HARNESS_SLOW_S", "0.1")  # until the victim is killed, the other asked for
    at_once: list[Outcome] = []

    def react(job: Job) -> None:
        if job.run_id == victim.run_id:
            for process in psutil.Process().children():
                if str(victim.folder / "job.json") in process.cmdline():
                    process.kill()
        elif not at_once:
            at_once.extend(Heard(InlineExecutor()).run(other).values())

    outcomes = Heard(ProcessExecutor(workers=2, threads=1), react=react).run(victim, other)
    assert outcomes[victim.run_id].status == "failed"
    assert "killed (SIGKILL)" in outcomes[victim.run_id].message
    assert not (victim.folder / "record.json").exists()
    assert outcomes[other.run_id].status == "ok"
    assert at_once[0].status == "busy"

    monkeypatch.setenv("HARNESS_SLOW_S", "0")
    assert Heard(InlineExecutor()).run(victim)[victim.run_id].status == "ok"
    straight = victim.model_copy(update={"home": tmp_path / "straight"})
    Heard(InlineExecutor()).run(straight)
    assert result_of(victim) == result_of(straight)


def test_an_abandoned_executor_leaves_no_process(tmp_path: Path) -> None:
    """The second Ctrl-C raises wherever the parent is."""
    job = make_job(tmp_path, epochs=100_000)

    def react(job: Job) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Heard(ProcessExecutor(workers=2), react=react).run(job)
    assert not [p for p in psutil.Process().children() if "job.json" in " ".join(p.cmdline())]


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'shadow'}{os.pathsep}{Path.cwd()}")
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "pydantic.py").write_text("raise ImportError('a broken installation')")
    job = make_job(tmp_path)
    outcome = Heard(ProcessExecutor(workers=1)).run(job)[job.run_id]
    assert outcome.status == "failed"
    assert "left with code 1: ImportError: a broken installation" in outcome.message
