"""Stages of a run: where it computes, and what it does without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from harness import pipeline, splits
from harness.catalog import build_model
from harness.cli.main import app
from harness.errors import ConfigError
from harness.evaluation.ranks import Ranks, SideCounts
from harness.model import Model
from harness.plan.spec import Protocol, RunSpec


@pytest.mark.parametrize("name", ["popularity", "lookup", "random"])
def test_a_model_without_parameters_is_ranked_on_the_device_of_the_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its counts are buffers and have moved there; "meta" stands for a GPU."""
    devices = []

    def ranked(model: Model, triples: Tensor, known: Any, protocol: Protocol, **more: Any) -> Ranks:
        devices.append(torch.device(more["device"]))
        ones = np.ones(len(triples), np.int32)
        return Ranks(triples.numpy(), {s: SideCounts(ones, ones, ones) for s in protocol.sides})

    monkeypatch.setattr(pipeline, "resolve_device", lambda wish: torch.device("meta"))
    monkeypatch.setattr(splits, "rank", ranked)
    spec = RunSpec.model_validate({"model": {"name": name}, "data": {"dataset": "synthetic"}})
    pipeline.execute("0" * 12, spec, pipeline.Workplace(tmp_path))
    assert devices == [torch.device("meta")] * 2


@pytest.mark.parametrize("wish", ["meta", "xla", "cpu:3", "gpu"])
def test_a_device_that_cannot_train_is_refused(wish: str) -> None:
    with pytest.raises(ConfigError, match=rf"device '{wish}': .*choose auto, cpu, cuda, cuda:0"):
        pipeline.resolve_device(wish)


@pytest.mark.parametrize("words", [["study", "promote", "x"], ["run", "quickstart"]])
def test_nothing_is_stored_for_a_device_that_cannot_train(words: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*words, "--device", "meta", "--home", str(tmp_path / "home")])
    assert "device 'meta': nothing can be trained there" in str(done.exception)
    assert not (tmp_path / "home").exists()


def test_a_run_of_no_epochs_is_the_initial_model(tmp_path: Path) -> None:
    spec = RunSpec.model_validate(
        {
            "model": {"name": "distmult", "dim": 4},
            "data": {"dataset": "synthetic"},
            "training": {"epochs": 0},
        }
    )
    record = pipeline.execute("0" * 12, spec, pipeline.Workplace(tmp_path, device="cpu"))
    model, dataset = pipeline.load_trained(record, tmp_path, torch.device("cpu"))
    fresh = build_model("distmult", {"dim": 4}, dataset.graph.index, seed=spec.seed)
    assert record.history == ()
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True)
    )
