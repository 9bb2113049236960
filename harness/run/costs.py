"""Time and memory of runs, from stored measurements and from probes of two epochs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.environment import Folders, cache_folder, folder_paths
from harness.errors import StoreError
from harness.model import MODELS
from harness.plan.cell import Cell
from harness.plan.identity import run_id_of
from harness.plan.spec import AuditSpec, RunSpec, TrainingSpec
from harness.run.digests import digests
from harness.run.executors import Execution, make_executor
from harness.run.jobs import Job, OnProgress, Outcome
from harness.store import read_home
from harness.store.base import DamagedRecords
from harness.store.files import RECORD, read_record, write_record
from harness.store.records import RunRecord

__all__ = ["Cost", "CostTable", "Platform", "cost_of"]

UNTIMED = (
    *("seed", "training.epochs", "training.evaluate_every", "training.patience"),
    *("training.select", "protocol.ties", "protocol.filter", "protocol.valid_filter", "audit"),
)
"""Settings, or groups of them, that change neither the time of an epoch nor the memory, beside all
real numbers."""


class Cost(NamedTuple):
    """Measured time and memory of one run.

    Attributes:
        epoch: seconds of an epoch; 0 for a model that is not trained.
        validation: seconds of each validation during training.
        ranking: seconds of ranking validation and test split at the end.
        memory: bytes at the peak, of the process or of the GPU.
        platform: hardware of the measurement, "" for the hardware that runs are planned for.
    """

    epoch: float
    validation: float
    ranking: float
    memory: float
    platform: str = ""

    def seconds(self, training: TrainingSpec) -> float:
        """Return the time of a run that is not stopped early."""
        validations = math.ceil(training.epochs / training.evaluate_every)
        return training.epochs * self.epoch + validations * self.validation + self.ranking


class Platform(NamedTuple):
    """Hardware that a run is measured on.

    Attributes:
        processor: name of the CPU.
        cores: its number of cores.
        device: "cpu", or the name of the GPU.
        threads: CPU threads of a run.
    """

    processor: str
    cores: int
    device: str
    threads: int

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Platform:
        """Return the hardware that a record names."""
        machine = provenance.get("machine", {})
        cores, threads = machine.get("cores") or 0, provenance.get("threads") or 0
        return cls(machine.get("processor", ""), cores, provenance.get("device", "cpu"), threads)

    @classmethod
    def current(cls, device: str, threads: int) -> Platform:
        """Return this machine's hardware.

        Raises:
            ConfigError, MachineError: there is no such device.
        """
        from harness.pipeline import device_name, resolve_device
        from harness.provenance import machine

        name = device_name(resolve_device(device))
        return cls.of({"machine": machine(), "device": name, "threads": threads})

    def __str__(self) -> str:
        device = "" if self.device == "cpu" else f", {self.device}"
        return f"{self.processor or 'processor not recorded'}, {self.cores} cores{device}"

    def same_machine(self, platform: Platform) -> bool:
        """Tell whether only the number of threads may differ."""
        return self[:3] == platform[:3]


class CostTable:
    """Costs of earlier runs and probes, looked up by the settings that determine them.

    A measurement counts for a run of the same model on the same dataset if all settings are equal
    but for real numbers (learning rates, margins: they do not change the amount of work) and
    ``UNTIMED``. Of several, this machine's count before another's.

    Args:
        home: results folder; it need not exist.
        device: device that runs are planned for.
        threads: CPU threads of each run; 0 for the default of torch.
        platform: hardware that runs are planned for, where it is not this machine's.

    Raises:
        ConfigError, MachineError: there is no such device.
    """

    def __init__(
        self,
        home: Path,
        device: str = "auto",
        threads: int = 0,
        *,
        platform: Platform | None = None,
    ) -> None:
        import torch

        self.home, self.device = home, device
        self.threads = threads or torch.get_num_threads()
        self.platform = platform or Platform.current(device, self.threads)
        self._records: dict[tuple[str, str], list[tuple[str, RunRecord]]] = {}
        self._probes = list(_probes())

    def cost(self, spec: RunSpec) -> Cost | None:
        """Return the cost of a run, None where nothing comparable was measured.

        Raises:
            StoreError: the database cannot be read.
        """
        planned_work = _work(spec)
        costs = [
            (self._distance(spec, record), cost)
            for work, record in self._measured(spec)
            if work == planned_work and (cost := cost_of(record)) is not None
        ]
        if not costs:
            return None
        distance, cost = min(costs, key=lambda pair: pair[0])
        return cost._replace(platform="") if distance[0] == 0 else cost

    def probe(
        self,
        runs: Iterable[Cell],
        *,
        model_folders: Folders = (),
        on_event: OnProgress = lambda job, kind, values: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Job, Outcome]]:
        """Train each run for two epochs in a process of its own; yield how each ended.

        Time and memory are kept in the cache, nothing else is; the test split is not ranked. The
        first epoch only warms up: it compiles and loads kernels.

        Args:
            runs: what to measure.
            model_folders: folder or folders with models of the user's own.
            on_event: called with progress.
            should_stop: asked between and during runs.
        """
        with tempfile.TemporaryDirectory() as folder:
            jobs = {
                job.run_id: job
                for job in self._jobs(runs, Path(folder), folder_paths(model_folders))
            }
            executor = make_executor("processes", Execution(threads=self.threads))
            for outcome in executor.run(list(jobs.values()), on_event, should_stop):
                job = jobs[outcome.run_id]
                if outcome.status == "ok":
                    self._keep(read_record(job.folder / RECORD))
                yield job, outcome

    def _jobs(
        self, runs: Iterable[Cell], home: Path, model_folders: tuple[Path, ...]
    ) -> Iterator[Job]:
        distinct = {_digest(_work(run.spec)): run for run in runs}
        for run in distinct.values():
            changes = {"epochs": 2, "evaluate_every": 1, "patience": 0}
            training = run.spec.training.model_copy(update=changes)
            spec = run.spec.model_copy(update={"training": training, "audit": AuditSpec()})
            yield Job(
                run_id=run_id_of(spec, *digests(spec.data)),
                label=run.label,
                spec=spec,
                home=home,
                device=self.device,
                threads=self.threads,
                model_folders=model_folders,
                stage="valid",
            )

    def _keep(self, record: RunRecord) -> None:
        """Keep a probe's record in the cache."""
        folder = _probes_folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / f"{_digest(_work(record.spec), self.platform)}.json", record)
        self._probes.append(record)
        self._records.clear()

    def _distance(self, spec: RunSpec, record: RunRecord) -> tuple[bool, bool, int]:
        """Return how far a measurement is from a run: another machine, threads, settings."""
        measured = Platform.of(record.provenance)
        a, b = (_values(s.model_dump(mode="json")) for s in (record.spec, spec))
        differing = sum(a.get(key) != b.get(key) for key in a.keys() | b.keys())
        return not self.platform.same_machine(measured), measured[3] != self.threads, differing

    def _measured(self, spec: RunSpec) -> list[tuple[str, RunRecord]]:
        """Return the records of a run's model on its dataset, each with its ``_work``."""
        key = spec.model.name, spec.data.dataset
        if key not in self._records:
            on_cpu = self.platform.device == "cpu"
            self._records[key] = []
            probes = [r for r in self._probes if (r.model, r.dataset) == key]
            for record in [*probes, *_stored(self.home, *key)]:
                same_kind = (Platform.of(record.provenance).device == "cpu") == on_cpu
                if record.status in ("ok", "validated") and same_kind:
                    self._records[key].append((_work(record.spec), record))
        return self._records[key]


def cost_of(record: RunRecord) -> Cost | None:
    """Return the cost of a finished run, None where its record lacks it."""
    times: dict[str, list[float]] = {}
    for sample in record.timings:
        times.setdefault(sample.name, []).append(sample.value)
    if record.model not in MODELS or "memory.peak" not in times:
        return None
    trained = MODELS.get(record.model).capabilities.trainable
    validations = [row["valid_seconds"] for row in record.history if "valid_seconds" in row]
    rankings = times.get("evaluate.valid", []) + times.get("evaluate.test", []) or validations
    if not rankings or (trained and "train.epoch" not in times):
        return None
    return Cost(
        epoch=_typical(times["train.epoch"]) if trained else 0.0,
        validation=_typical(validations or rankings) if trained else 0.0,
        ranking=2 * sum(rankings) / len(rankings),
        memory=max(times["memory.peak"]),
        platform=str(Platform.of(record.provenance)),
    )


def _typical(seconds: Sequence[float]) -> float:
    """Return the median without the first, which also compiles and loads kernels."""
    return median(seconds[1:] or seconds)


def _work(spec: RunSpec) -> str:
    """Return the settings that determine the time of an epoch and the memory, as JSON."""
    values = _values(spec.model_dump(mode="json"))
    work = {k: v for k, v in values.items() if not (isinstance(v, float) or _untimed(k))}
    return json.dumps(work, sort_keys=True)


def _untimed(key: str) -> bool:
    return any(f"{key}.".startswith(f"{group}.") for group in UNTIMED)


def _values(tree: Any, key: str = "") -> dict[str, Any]:
    """Return nested values by dotted key, items of lists by number; nulls are left out."""
    if isinstance(tree, Mapping):
        items: Iterable[tuple[object, Any]] = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    else:
        return {} if tree is None else {key: tree}
    return {
        path: value
        for name, inner in items
        for path, value in _values(inner, f"{key}.{name}" if key else str(name)).items()
    }


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def _stored(home: Path, model: str, dataset: str) -> Sequence[RunRecord]:
    with contextlib.closing(read_home(home)) as store:
        try:
            return store.find(model=model, dataset=dataset)
        except DamagedRecords as damage:
            return damage.readable


def _probes() -> Iterator[RunRecord]:
    for path in sorted(_probes_folder().glob("*.json")):
        with contextlib.suppress(StoreError):  # damaged: the next probe writes it anew
            yield read_record(path)


def _probes_folder() -> Path:
    return cache_folder() / "probes"
