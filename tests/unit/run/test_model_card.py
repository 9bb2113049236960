"""A model card: metrics, settings, weights and record of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file

import harness
from harness.errors import ConfigError
from harness.run.model_card import write_model_card
from harness.run.suite import SuiteResult
from harness.store.records import RunRecord

DATASET = "synthetic:entities=60,train=300,seed=1"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SuiteResult:
    plan = harness.plan_run(
        {"model": {"name": "transe", "dim": 8}, "data.dataset": DATASET, "training.epochs": 2}
    )
    home = tmp_path_factory.mktemp("card")
    return harness.run_suite(plan, home=home, device="cpu", threads=1)


def test_a_card_has_the_metrics_of_the_test_and_the_weights(
    result: SuiteResult, tmp_path: Path
) -> None:
    (run_id,) = result.run_ids
    files = write_model_card(run_id[:6], tmp_path / "card", result.home)
    assert [path.name for path in files] == ["README.md", "model.safetensors", "record.json"]
    text = files[0].read_text()
    header = YAML(typ="safe").load(text.split("---\n")[1])
    (model,) = header["model-index"]
    metrics = {m["type"]: m["value"] for m in model["results"][0]["metrics"]}
    record = result.records[0]
    assert metrics["mrr"] == pytest.approx(record.metric("mrr"), abs=1e-6)
    assert set(metrics) == {"mrr", "hits@1", "hits@3", "hits@10"}
    assert f"| MRR | {100 * record.metric('mrr'):.2f} % |" in text
    assert '"epochs": 2' in text
    run = harness.load_run(run_id, result.home, device="cpu")
    weights = load_file(files[1])
    assert set(weights) == set(run.model.state_dict())
    for name, tensor in run.model.state_dict().items():
        assert weights[name].equal(tensor)
    assert RunRecord.model_validate_json(files[2].read_bytes()).run_id == run_id


def test_a_card_never_replaces_files(result: SuiteResult, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not empty"):
        write_model_card(result.run_ids[0], tmp_path, result.home)
    with pytest.raises(ConfigError, match="no run"):
        write_model_card("ffff", tmp_path / "card", result.home)
