"""A model that takes its time, so that there is time for what can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import MODELS
from harness.run.inline import InlineExecutor
from harness.run.jobs import Job
from tests.executing import SLOW_MODEL, Heard, make_job, result_of


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "slow.py").write_text(SLOW_MODEL)
    catalog.load_folder(folder)
    yield folder
    del MODELS._entries["slow"]  # other tests list the models


@pytest.fixture
def slow_job(
    slow_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Job]:
    """Return ``slow_job(epochs, seconds)``: a run whose every step takes that long."""

    def make(epochs: int = 100, seconds: float = 0.1, **more: Any) -> Job:
        monkeypatch.setenv("HARNESS_SLOW_S", str(seconds))
        folder = more.pop("home", tmp_path / "home")
        return make_job(folder, "slow", epochs=epochs, model_folders=(slow_model,), **more)

    return make


@pytest.fixture
def straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Job], dict[str, Any]]:
    """Return a function that returns a run's result as one process gives it."""

    def execute(job: Job) -> dict[str, Any]:
        monkeypatch.setenv("HARNESS_SLOW_S", "0")
        again = job.model_copy(update={"home": tmp_path / "straight"})
        Heard(InlineExecutor()).run(again)
        return result_of(again)

    return execute
