"""Runs that fail in a model or strategy of the user: the reason names the line of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalog import load_folder, load_models
from harness.data.load import load_graph
from harness.model import MODELS
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.procedure import STRATEGIES
from harness.run.jobs import Job
from harness.run.worker import execute_job
from harness.store.files import read_own_record
from tests.toys import SMALL

load_models()

MODEL = """
from harness.model import MODELS, register_model

@register_model("own")
class Own(MODELS.get("transe")):
    def encode(self, entities=None):
        return BODY
"""
STRATEGY = """
from harness.procedure import Strategy, register_strategy

@register_strategy("picky")
class Picky(Strategy):
    def choose(self, batch, negatives):
        raise RuntimeError("\\x1b[1mbold\\x1b[0m")
"""


@pytest.fixture(autouse=True)
def _registries(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (MODELS, STRATEGIES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def failure(home: Path, text: str, model: str = "transe", strategy: str = "") -> tuple[str, str]:
    """Run a file's model or strategy; return the message and the error that is stored."""
    file = home / "own.py"
    file.write_text(text)
    load_folder(file)
    spec = RunSpec.model_validate(
        {
            "model": {"name": model, "dim": 8},
            "data": {"dataset": SMALL},
            "negatives": {"strategy": {"name": strategy}},
            "training": {"epochs": 1},
        }
    )
    run_id = run_id_of(spec, load_graph(SMALL).digest, "")
    job = Job(run_id=run_id, label=model, spec=spec, home=home, device="cpu", threads=1)
    outcome = execute_job(job, lambda *_: None, lambda: False)
    record = read_own_record(job.folder)
    assert outcome.status == "failed"
    assert record is not None
    return outcome.message, record.error or ""


def test_an_exception_of_an_own_model_has_its_line_and_the_command_that_checks_it(
    tmp_path: Path,
) -> None:
    message, error = failure(tmp_path, MODEL.replace("BODY", "self.vectors"), "own")
    file = tmp_path / "own.py"
    assert message.startswith("AttributeError: 'Own' object has no attribute 'vectors'")
    assert message.endswith(f"; raised at {file}:7; check it with: harness models check {file}")
    first, _, later = error.partition("\n")
    assert first == message
    assert later.startswith("Traceback")


def test_an_exception_that_an_own_model_causes_elsewhere_has_the_command(tmp_path: Path) -> None:
    text = MODEL.replace("encode(self, entities=None)", "penalty(self, *_)")
    message, _ = failure(tmp_path, text.replace("BODY", "'nothing'"), "own")
    assert message.startswith("TypeError: unsupported operand")
    assert "raised at" not in message
    assert message.endswith(f"; check it with: harness models check {tmp_path / 'own.py'}")


def test_a_fault_that_is_recognised_names_class_and_method(tmp_path: Path) -> None:
    message, error = failure(tmp_path, MODEL.replace("BODY", "[]"), "own")
    assert message == error
    assert message.startswith("Own: encode returned of type list; a mapping of table names")


def test_an_exception_of_an_own_strategy_has_its_line_and_no_colours(tmp_path: Path) -> None:
    message, error = failure(tmp_path, STRATEGY, strategy="picky")
    assert message == f"RuntimeError: bold; raised at {tmp_path / 'own.py'}:7"
    assert "\x1b" not in error


def test_an_exception_of_a_model_of_the_package_has_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(*_: object) -> None:
        raise RuntimeError("\x1b[1mbold\x1b[0m\nmore \x1b[31mred\x1b[0m")

    monkeypatch.setattr(MODELS.get("transe"), "encode", encode)
    message, error = failure(tmp_path, "")
    assert message == "RuntimeError: bold"
    assert "more red" in error
    assert "\x1b" not in error
