"""A dataset whose split holds nothing: training is refused in words, counting still works."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from harness import pipeline
from harness.catalog import load_models
from harness.data.load import load_dataset
from harness.errors import DataError
from harness.plan.identity import run_id_of
from harness.plan.spec import DataSpec, ModelSpec, RunSpec, TrainingSpec
from harness.run.jobs import Job
from harness.run.worker import execute_job
from harness.store.files import RECORD


def write_dataset(folder: Path, empty: str) -> None:
    folder.mkdir(parents=True)
    (folder / "entity2id.txt").write_text("3\na 0\nb 1\nc 2\n")
    (folder / "relation2id.txt").write_text("1\nr 0\n")
    for split in ("train", "valid", "test"):
        (folder / f"{split}2id.txt").write_text("0\n" if split == empty else "1\n0 1 0\n")


def spec(model: str, select: Literal["validation", "last"] = "validation") -> RunSpec:
    return RunSpec(
        model=ModelSpec(name=model),
        data=DataSpec(dataset="hollow"),
        training=TrainingSpec(epochs=1, select=select),
    )


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    load_models()


@pytest.mark.parametrize("empty", ["train", "valid"])
def test_training_needs_triples_to_learn_from_and_to_choose_by(tmp_path: Path, empty: str) -> None:
    write_dataset(tmp_path / "cache" / "datasets" / "hollow", empty)
    with pytest.raises(DataError, match=f"dataset 'hollow': {empty} has no triples"):
        pipeline.execute("0" * 12, spec("transe"), pipeline.Workplace(tmp_path / "run"))


def test_without_validation_triples_the_last_epoch_has_nothing_to_be_validated_on(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path / "cache" / "datasets" / "hollow", "valid")
    with pytest.raises(DataError, match="valid has no triples, nothing to validate on"):
        pipeline.execute("0" * 12, spec("transe", "last"), pipeline.Workplace(tmp_path / "run"))


def test_without_test_triples_a_run_is_refused_before_training_and_a_study_is_not(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path / "cache" / "datasets" / "hollow", "test")
    workplace = pipeline.Workplace(tmp_path / "run")
    message = "^dataset 'hollow': test has no triples, nothing to rank$"
    with pytest.raises(DataError, match=message):
        pipeline.execute("0" * 12, spec("transe"), workplace)
    assert not workplace.folder.exists()
    record = pipeline.train("0" * 12, spec("transe"), workplace)
    assert record.status == "validated"
    with pytest.raises(DataError, match=message):
        pipeline.test(record, workplace)


def test_a_worker_without_test_triples_trains_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path / "cache" / "datasets" / "hollow", "test")
    dataset = load_dataset("hollow", "none")
    run_id = run_id_of(spec("transe"), dataset.graph.digest, dataset.features.digest)
    job = Job(run_id=run_id, label="TransE", spec=spec("transe"), home=tmp_path, device="cpu")
    outcome = execute_job(job, lambda *_: None, lambda: False)
    assert outcome.status == "failed"
    assert outcome.message == "dataset 'hollow': test has no triples, nothing to rank"
    assert not list(job.folder.glob("*.safetensors"))


def test_a_validated_run_keeps_its_record_when_there_is_nothing_to_test_it_on(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path / "cache" / "datasets" / "hollow", "test")
    dataset = load_dataset("hollow", "none")
    run_id = run_id_of(spec("transe"), dataset.graph.digest, dataset.features.digest)
    job = Job(run_id=run_id, label="TransE", spec=spec("transe"), home=tmp_path, device="cpu")
    validate = job.model_copy(update={"stage": "valid"})
    validated = execute_job(validate, lambda *_: None, lambda: False)
    assert validated.status == "ok"
    record = (job.folder / RECORD).read_bytes()
    tested = execute_job(job, lambda *_: None, lambda: False)
    assert tested.message == "dataset 'hollow': test has no triples, nothing to rank"
    assert (job.folder / RECORD).read_bytes() == record


def test_what_is_not_trained_is_ranked_where_there_are_triples(tmp_path: Path) -> None:
    write_dataset(tmp_path / "cache" / "datasets" / "hollow", "valid")
    (tmp_path / "run").mkdir()
    place = pipeline.Workplace(tmp_path / "run")
    record = pipeline.execute("0" * 12, spec("popularity"), place)
    assert {metric.split for metric in record.metrics} == {"test"}
