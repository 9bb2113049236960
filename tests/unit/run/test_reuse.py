"""Runs that differ in the features of the test alone: one training, and the model of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness import pipeline
from harness.catalog import build_model, load_models
from harness.data.load import load_dataset
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.run.jobs import Job
from harness.run.worker import execute_job
from harness.store.files import read_record
from harness.store.records import RunRecord

DATASET = "synthetic:signal,entities=60,train=600,valid=40,test=40"
MOCME = {"name": "mocme", "dim": 4, "mi": {"batch": 60, "min_overlap": 20, "warmup_steps": 2}}


def spec(*corruptions: dict[str, Any]) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": MOCME,
            "data": {"dataset": DATASET, "features": "all", "corrupt": corruptions},
            "negatives": {"count": 2},
            "training": {"epochs": 3, "batch_size": 256, "evaluate_every": 1},
        }
    )


def drop(at: str, share: float = 0.9) -> dict[str, Any]:
    return {"kind": "drop", "share": share, "at": at}


def identity(of: RunSpec) -> str:
    load_models()
    dataset = load_dataset(DATASET, "all")
    return run_id_of(of, dataset.graph.digest, dataset.features.digest)


def execute(home: Path, of: RunSpec) -> RunRecord:
    job = Job(run_id=identity(of), label="x", spec=of, home=home, device="cpu", threads=1)
    assert execute_job(job, lambda *_: None, lambda: False).status == "ok"
    return read_record(job.folder / "record.json")


def mrr(record: RunRecord, split: str) -> float | None:
    return record.metric("mrr", split, "both", "all")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the intact run."""
    folder = tmp_path_factory.mktemp("home")
    execute(folder, spec())
    return folder


def test_a_run_corrupted_in_the_test_alone_takes_the_training_of_the_intact_one(
    home: Path, tmp_path: Path
) -> None:
    taken, trained = execute(home, spec(drop("test"))), execute(tmp_path, spec(drop("test")))
    assert taken.provenance["training_of"] == identity(spec())
    assert "training_of" not in trained.provenance
    assert taken.metrics == trained.metrics
    assert taken.diagnostics == trained.diagnostics
    # Validated as the intact run, tested on other features.
    intact = read_record(home / "runs" / identity(spec()) / "record.json")
    assert mrr(taken, "valid") == mrr(intact, "valid")
    assert mrr(taken, "test") != mrr(intact, "test")
    assert taken.provenance["test_split"]["test"]["count"] == 1


def test_weights_are_said_of_the_features_of_the_test(home: Path) -> None:
    """Who lacks all features has the structure alone; it has a larger weight on average."""
    intact, test = execute(home, spec()), execute(home, spec(drop("test")))
    key = "omega_b/structure"
    assert test.diagnostics[key] > intact.diagnostics[key]
    assert test.diagnostics["best_epoch"] == intact.diagnostics["best_epoch"]


def test_a_run_corrupted_in_training_alone_takes_the_training_of_the_one_always_corrupted(
    tmp_path: Path,
) -> None:
    both, train = execute(tmp_path, spec(drop("both"))), execute(tmp_path, spec(drop("train")))
    assert train.provenance["training_of"] == identity(spec(drop("both")))
    assert mrr(train, "valid") == mrr(both, "valid")
    assert mrr(train, "test") != mrr(both, "test")


def test_a_run_without_a_twin_that_is_finished_trains(tmp_path: Path) -> None:
    assert "training_of" not in execute(tmp_path, spec(drop("test", 0.5))).provenance


def test_the_checkpoint_outlives_the_run_that_it_was_taken_from(home: Path) -> None:
    of = spec(drop("test", 0.4))
    record = execute(home, of)
    model, _ = pipeline.load_trained(record, home / "runs" / identity(of), torch.device("cpu"))
    assert model.fusion_weights(torch.arange(5))


def test_what_was_counted_in_training_is_not_counted_again_in_the_test(home: Path) -> None:
    """At 90 % few entities share two modalities; what was estimated in training still counts."""
    of = spec(drop("test"))
    record = execute(home, of)
    model, _ = pipeline.load_trained(record, home / "runs" / identity(of), torch.device("cpu"))
    reliable = model.get_buffer("fusion.weights.reliable")
    assert reliable.sum() == 6  # all pairs of three


def test_checkpoints_of_earlier_versions_are_read() -> None:
    load_models()
    dataset = load_dataset(DATASET, "all")
    options = {k: v for k, v in MOCME.items() if k != "name"}
    model = build_model(
        "mocme", options, dataset.graph.index, dataset.features.modalities(), seed=0
    )
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("reliable")}
    model.load_state_dict(state)
