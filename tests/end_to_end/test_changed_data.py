"""Data or a model's code that change under a trained run: refused, or another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from harness import catalog
from harness.cli.main import app
from harness.data import load as loading
from harness.errors import ChangedDataError
from harness.model import MODELS
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.run.jobs import Job
from harness.run.worker import execute_job

SETTINGS = "{model.dim: 4, training: {epochs: 1, batch_size: 64, evaluate_every: 1}}"
SUITE = f"""
name: small
datasets: [{{dataset: toy, features: {{features}}}}]
base: {SETTINGS}
rows: {{rows}}
seeds: [0]
"""
STUDY = f"""
name: search
datasets: [toy]
base: {SETTINGS}
rows: [transe]
seeds: [0]
study: {{sampler: grid, space: {{optimiser.lr: [0.01, 0.02]}}}}
"""


def harness(*words: object) -> Result:
    """Run a command as a new process would: data are read anew. Errors are raised."""
    for read in (loading._graph, loading._features):
        read.cache_clear()
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_suite(folder: Path, features: str, rows: str) -> None:
    text = SUITE.replace("{features}", features).replace("{rows}", rows)
    (folder / "small.yaml").write_text(text)
    harness("run", folder / "small.yaml", "--threads", 1)


def refused(*words: object) -> str:
    with pytest.raises(ChangedDataError) as error:
        harness(*words)
    assert error.value.exit_code == 3
    return str(error.value)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a dataset of ten cities in a ring."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    folder = tmp_path / "data" / "toy"
    (folder / "features").mkdir(parents=True)
    for split, step in (("train", 1), ("valid", 2), ("test", 3)):
        rows = (f"c{i}\tnear\tc{(i + step) % 10}\n" for i in range(10))
        (folder / f"{split}.tsv").write_text("".join(rows))
    write_features(folder, torch.eye(10))
    return folder


def write_features(folder: Path, matrix: torch.Tensor) -> None:
    save_file({"image": matrix.contiguous()}, folder / "features" / "image.safetensors")


def reverse(toy: Path) -> None:
    path = toy / "train.tsv"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def add(toy: Path) -> None:
    with (toy / "train.tsv").open("a") as file:
        file.write("new\tnear\tc1\n")


DATA = {"entity order differs": reverse, "triples differ": add}


def stored(model: str) -> str:
    (run,) = json.loads(harness("runs", "list", "--model", model, "--json").stdout)
    return str(run["run_id"])


@pytest.mark.parametrize("change", DATA)
def test_predict_and_retest_after_the_data_changed(toy: Path, tmp_path: Path, change: str) -> None:
    run_suite(tmp_path, "none", "[popularity, transe]")
    runs = [stored("popularity"), stored("transe")]
    DATA[change](toy)
    for run in runs:
        (tmp_path / "results" / "runs" / run / "ranks.npz").unlink()
        assert change in refused("predict", run, "--head", "c1", "--relation", "near")
        assert change in refused("runs", "retest", run)


def test_predict_after_the_features_changed(toy: Path, tmp_path: Path) -> None:
    run_suite(tmp_path, "files", "[ikrl]")
    query = ("predict", stored("ikrl"), "--head", "c1", "--relation", "near")
    assert harness(*query).exit_code == 0
    for other in (torch.eye(10).flip(0), torch.ones(10, 3)):
        write_features(toy, other)
        assert "features differ ('files')" in refused(*query)


@pytest.mark.parametrize("change", DATA)
def test_promote_after_the_data_changed_tests_nothing(
    toy: Path, tmp_path: Path, change: str
) -> None:
    (tmp_path / "search.yaml").write_text(STUDY)
    harness("study", "run", tmp_path / "search.yaml", "--threads", 1)
    before = (toy / "train.tsv").read_text()
    DATA[change](toy)
    assert change in refused("study", "promote", "search")
    listed = json.loads(harness("runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["validated", "validated"]
    (toy / "train.tsv").write_text(before)
    assert harness("study", "promote", "search").exit_code == 0


def test_a_worker_refuses_data_that_changed_since_the_plan(toy: Path, tmp_path: Path) -> None:
    spec = RunSpec.model_validate({"model": {"name": "popularity"}, "data": {"dataset": "toy"}})
    catalog.load_models()
    run_id = run_id_of(spec, loading.load_graph("toy").digest, "")
    reverse(toy)
    loading._graph.cache_clear()
    job = Job(run_id=run_id, label="x", spec=spec, home=tmp_path, device="cpu", threads=1)
    outcome = execute_job(job, lambda *_: None, lambda: False)
    assert outcome.status == "failed"
    assert "not those that it was planned with" in outcome.message
    assert not (job.folder / "record.json").exists()


MODEL = """
from harness.model import MODELS, register_model
from ._rate import RATE

@register_model("{name}")
class Own(MODELS.get("popularity")):
    rate = RATE
"""


@pytest.fixture
def own_model(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a folder with a model "own", as a later process finds it."""

    def write(rate: str) -> Path:
        MODELS._entries.pop("own", None)
        folder = tmp_path / f"models{rate}"
        folder.mkdir()
        (folder / "own.py").write_text(MODEL.format(name="own"))
        (folder / "_rate.py").write_text(f"RATE = {rate}\n")
        return folder

    return write


@pytest.fixture(autouse=True)
def _forget_own_models() -> object:
    yield
    MODELS._entries.pop("own", None)


def test_an_edited_model_of_the_users_own_is_another_run(
    toy: Path, tmp_path: Path, own_model: Callable[[str], Path]
) -> None:
    suite = tmp_path / "own.yaml"
    suite.write_text("name: own\ndatasets: [toy]\nrows: [own]\nseeds: [0]\n")
    first = own_model("1")
    harness("run", suite, "--models", first)
    before = stored("own")
    assert "1 of 1 runs are finished already" in harness("run", suite, "--models", first).stderr
    second = own_model("2")
    query = ("predict", before, "--head", "c1", "--relation", "near", "--models", second)
    assert (
        "the model's source is not that of the run, or --models does not name its folder"
        in refused(*query)
    )
    assert "finished already" not in harness("run", suite, "--models", second).stderr
    assert len(json.loads(harness("runs", "list", "--model", "own", "--json").stdout)) == 2
