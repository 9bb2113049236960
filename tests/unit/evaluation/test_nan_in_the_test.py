"""A model that is sound until the test split: its run fails, says why, and leaves no figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.data.load import load_graph
from harness.errors import RunError
from harness.model import MODELS
from harness.store import open_store
from tests.toys import SMALL

MODEL = '''
"""A model that counts, but for one entity."""
import torch
from harness.model import Capabilities, Model, ModelConfig, register_model

class Options(ModelConfig):
    entity: int = 0
    value: str = "0"

@register_model("unsound")
class Unsound(Model):
    Config = Options
    capabilities = Capabilities(title="Unsound", reference="-", formula="-", trainable=False)
    free_encoding = True

    def encode(self, entities=None):
        return {}

    def score_all(self, tables, anchors, relations, side):
        scores = torch.zeros(len(anchors), self.n_entities)
        scores[anchors == self.config.entity] = float(self.config.value)
        return scores
'''


@pytest.fixture(autouse=True)
def _models_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))


def only_in_test() -> int:
    """Return an entity that is asked about in test and not in valid."""
    asked = {
        split: {e for h, _, t in load_graph(SMALL).splits[split].tolist() for e in (h, t)}
        for split in ("valid", "test")
    }
    return min(asked["test"] - asked["valid"])


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_score_that_is_no_score_fails_the_run_in_the_test_stage(
    tmp_path: Path, value: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "unsound.py").write_text(MODEL)
    suite = tmp_path / "small.yaml"
    suite.write_text(
        f"name: small\ndatasets: ['{SMALL}']\nseeds: [0]\nrows:\n"
        f"  - {{model: unsound, set: {{model: {{entity: {only_in_test()}, value: {value}}}}}}}\n"
    )
    home = tmp_path / "home"
    words = ["run", str(suite), "--models", str(tmp_path / "mine"), "--home", str(home)]
    done: Any = CliRunner().invoke(app, words)
    assert isinstance(done.exception, RunError)
    assert done.exception.exit_code == 1
    assert "scores are NaN or infinite" in str(done.exception)
    assert "Unsound" in str(done.exception)
    store = open_store(home / "harness.db")
    (record,) = store.find()
    store.close()
    assert (record.status, record.metrics) == ("failed", ())
    assert "queries: " in record.error
    (folder,) = (home / "runs").iterdir()
    assert not (folder / "ranks.npz").exists()
    assert len((folder / "test_split.jsonl").read_text().splitlines()) == 1
