"""Runs of a second, executed by any executor, with what the executor tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import catalog
from harness.data.load import load_graph
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.run.jobs import Executor, Job, Outcome
from harness.store.files import read_record
from harness.store.records import RunRecord
from tests.toys import SMALL

SLOW_MODEL = '''
import os
import time
from harness.model import MODELS, register_model

@register_model("slow")
class Slow(MODELS.get("transe")):
    """Sleeps in every step."""
    def encode(self, entities=None):
        time.sleep(float(os.environ.get("HARNESS_SLOW_S", "0")))
        return super().encode(entities)
'''
"""Source of a model that takes ``HARNESS_SLOW_S`` seconds for a step."""


def make_job(
    home: Path, model: str = "transe", *, lr: float = 1e-3, epochs: int = 60, **more: Any
) -> Job:
    spec = RunSpec.model_validate(
        {
            "model": {"name": model, "dim": 8},
            "data": {"dataset": SMALL},
            "negatives": {"count": 2},
            "optimiser": {"lr": lr},
            "training": {"epochs": epochs, "evaluate_every": 10, "patience": 0},
        }
    )
    catalog.load_models()
    run_id = run_id_of(spec, load_graph(spec.data.dataset).digest, "")
    return Job(run_id=run_id, label=model, spec=spec, home=home, device="cpu", threads=1, **more)


@dataclass
class Heard:
    """Runs jobs and keeps what the executor tells."""

    executor: Executor
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    stop: bool = False
    stop_at_first_epoch: bool = False
    react: Callable[[Job], None] | None = None

    def run(self, *jobs: Job) -> dict[str, Outcome]:
        outcomes = list(self.executor.run(jobs, self._event, lambda: self.stop))
        assert len({o.run_id for o in outcomes}) == len(outcomes)
        return {outcome.run_id: outcome for outcome in outcomes}

    def _event(self, job: Job, kind: str, values: dict[str, Any]) -> None:
        if kind in ("attempt", "activity"):  # of clusters, which tell where a run is; of steps
            return
        if kind == "stage" and values["stage"] in ("start", "load"):  # before there is work
            return
        self.events.append((job.run_id, kind, values))
        if kind == "epoch":
            self.stop = self.stop or self.stop_at_first_epoch
            if self.react is not None:
                self.react(job)


def record_of(job: Job) -> RunRecord:
    return read_record(job.folder / "record.json")


def result_of(job: Job) -> dict[str, Any]:
    """What a repetition must give again: everything but times and places."""
    record = record_of(job).model_dump(exclude={"timings", "provenance", "history", "created"})
    history = [
        {k: v for k, v in row.items() if "seconds" not in k} for row in record_of(job).history
    ]
    return {**record, "history": history, "ranks": (job.folder / "ranks.npz").read_bytes()}
