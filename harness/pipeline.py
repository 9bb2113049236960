"""One run, in two stages: ``train`` ends with a checkpoint chosen on validation; ``test`` scores
the test split with it, once. A study stops after the first."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from harness import kernels, provenance
from harness.catalog import create_model, origin
from harness.data.load import Dataset, load
from harness.errors import ConfigError, DataError, MachineError
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks
from harness.model import MODELS, Model
from harness.plan.spec import RunSpec
from harness.store.files import RANKS
from harness.store.records import MetricValue, RunRecord, TimingSample
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import EpochReport, FitResult, fit
from harness.training.procedures import StandardProcedure

__all__ = [
    "Hooks",
    "Workplace",
    "execute",
    "has_checkpoint",
    "load_trained",
    "resolve_device",
    "test",
    "train",
]

PEAK = "memory.peak"
"""Name of the largest size of a process among the timings."""


@dataclass(frozen=True)
class Workplace:
    """Where a run is executed; not part of its identity.

    Attributes:
        folder: the run's own folder (spec, checkpoints, log, ranks).
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        threads: CPU threads; 0 leaves torch's choice.
    """

    folder: Path
    device: str = "auto"
    threads: int = 0


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to hear, and whether to stop."""

    on_epoch: Callable[[EpochReport], None] = lambda report: None
    on_stage: Callable[[str, int], None] = lambda stage, total: None
    on_queries: Callable[[int], None] = lambda done: None
    should_stop: Callable[[], bool] = lambda: False


def resolve_device(wish: str) -> torch.device:
    """Return the device for "auto", "cpu", "cuda", "cuda:i" or "mps".

    Raises:
        ConfigError: there is no such kind of device.
        MachineError: the machine has no such device.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise ConfigError(f"device '{wish}': choose auto, cpu, cuda, cuda:0 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(f"device '{wish}': this machine has {torch.cuda.device_count()} GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError(f"device '{wish}' is not available on this machine")
    return device


def execute(run_id: str, spec: RunSpec, place: Workplace, hooks: Hooks | None = None) -> RunRecord:
    """Train (or resume), test, and return the record ("ok").

    Raises:
        Interrupted, NonFiniteError, DataError, ConfigError, MachineError: see the stages.
    """
    return test(train(run_id, spec, place, hooks), place, hooks)


def train(
    run_id: str,
    spec: RunSpec,
    place: Workplace,
    hooks: Hooks | None = None,
    limits: Mapping[int, float] | None = None,
) -> RunRecord:
    """Train, or go on from the folder's checkpoint, and rank the validation split.

    The test split is read for one thing alone: to filter validation ranks where the protocol says
    so (``Protocol.valid_filter``).

    Args:
        run_id: identity of the run.
        spec: what to run.
        place: where.
        hooks: progress and interruption.
        limits: epoch -> validation MRR that must have been reached by then.

    Returns:
        A record without figures of the test split: "validated", or, where a limit was not met,
        "pruned"; then without figures but the history's.

    Raises:
        Interrupted: ``hooks.should_stop`` said so; the checkpoint is written.
        NonFiniteError: a loss or a score is not finite.
        DataError, ConfigError, MachineError: of the dataset, the model, the device.
    """
    hooks = hooks or Hooks()
    device = _prepare(place)
    dataset = load(spec.data.dataset, spec.data.features, spec.data.modalities)
    model = _build(spec, dataset).to(device)
    result = _fit(model, spec, dataset, device, CheckpointFolder(place.folder), hooks, limits)
    valid = None
    if not result.pruned:
        valid = _rank_split(model, spec, dataset, "valid", device, hooks)
    epochs = (TimingSample(name="train.epoch", value=row["seconds"]) for row in result.history)
    return RunRecord(
        run_id=run_id,
        status="validated" if valid else "pruned",
        spec=spec.model_dump(mode="json"),
        model=spec.model.name,
        dataset=dataset.card.name,
        dataset_digest=dataset.graph.digest,
        features=spec.data.features,
        feature_digest=dataset.features.digest,
        modalities=tuple(dataset.features.tables),
        seed=spec.seed,
        protocol=spec.protocol.key,
        metrics=valid.metrics if valid else (),
        history=tuple(result.history),
        diagnostics=_diagnostics(model, result),
        timings=(*epochs, *_timings("valid", valid, device)),
        provenance=_provenance(device) | origin(spec.model.name),
        notes=(*dataset.card.notes, *dataset.graph.notes),
    )


def test(record: RunRecord, place: Workplace, hooks: Hooks | None = None) -> RunRecord:
    """Rank the test split with the checkpoint that validation chose; keep the ranks in the folder.

    A record that has been tested is returned as it is.

    Args:
        record: what ``train`` returned.
        place: where; its folder holds the checkpoint.
        hooks: progress.

    Returns:
        The record with the figures of the test split ("ok"); what was different of the execution
        (commit, machine, ...) stands in its provenance under "tested".

    Raises:
        ConfigError: the run was not validated.
        StoreError: its settings cannot be read.
        DataError: the folder holds no checkpoint.
        NonFiniteError: a score is NaN.
        MachineError: no such device, or the folder cannot be written.
    """
    if record.status == "ok":
        return record
    if record.status != "validated":
        raise ConfigError(f"run {record.run_id} is {record.status}, there is nothing to test yet")
    hooks = hooks or Hooks()
    device = _prepare(place)
    spec = record.settings()
    model, dataset = load_trained(spec, place.folder, device)
    outcome = _rank_split(model, spec, dataset, "test", device, hooks)
    outcome.ranks.save(place.folder / RANKS)
    earlier = [sample for sample in record.timings if sample.name != PEAK]
    before = max((s.value for s in record.timings if s.name == PEAK), default=0.0)
    return record.model_copy(
        update={
            "status": "ok",
            "metrics": (*record.metrics, *outcome.metrics),
            "timings": (*earlier, *_timings("test", outcome, device, before)),
            "provenance": _with_test(record.provenance, _provenance(device)),
        }
    )


def has_checkpoint(spec: RunSpec, folder: Path) -> bool:
    """Tell whether ``load_trained`` finds what it needs in a folder."""
    trains = MODELS.get(spec.model.name).capabilities.trainable and spec.training.epochs
    return not trains or (folder.is_dir() and CheckpointFolder(folder).has_best())


def load_trained(spec: RunSpec, folder: Path, device: torch.device) -> tuple[Model, Dataset]:
    """Return the model of a finished run with its best weights, and its dataset.

    Raises:
        DataError: the folder holds no checkpoint of a validated model.
    """
    dataset = load(spec.data.dataset, spec.data.features, spec.data.modalities)
    model = _build(spec, dataset).to(device)
    if model.capabilities.trainable and spec.training.epochs:
        best = CheckpointFolder(folder).load_best() if folder.is_dir() else None
        if best is None:
            raise DataError(
                f"{folder}: no trained model there; `harness runs show {folder.name}` prints the "
                f"command that trains it, `harness runs rm {folder.name}` forgets the result first"
            )
        model.load_state_dict(best)
    model.eval()
    return model, dataset


def _prepare(place: Workplace) -> torch.device:
    if place.threads:
        torch.set_num_threads(place.threads)
    device = resolve_device(place.device)
    kernels.prepare(device.type)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return device


def _provenance(device: torch.device) -> dict[str, Any]:
    return provenance.describe(
        device=_device_name(device),
        threads=torch.get_num_threads(),
        kernels=kernels.chosen(device.type),
    )


def _with_test(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of the training with what the test has otherwise, and its end."""
    other = {k: v for k, v in tested.items() if k != "finished" and v != trained.get(k)}
    if not other:
        return {**trained, "finished": tested["finished"]}
    return {**trained, "tested": {**other, "finished": tested["finished"]}}


def _build(spec: RunSpec, dataset: Dataset) -> Model:
    return create_model(
        spec.model.name,
        spec.model.options,
        dataset.graph.index,
        dataset.features.modalities(),
        seed=spec.seed,
    )


def _fit(
    model: Model,
    spec: RunSpec,
    dataset: Dataset,
    device: torch.device,
    checkpoints: CheckpointFolder,
    hooks: Hooks,
    limits: Mapping[int, float] | None,
) -> FitResult:
    """Fit the model and leave it with the weights that were best on validation."""
    if not model.capabilities.trainable:
        return FitResult(best_epoch=0, best_value=float("nan"))
    graph = dataset.graph
    for split, use in (("train", "to learn from"), ("valid", "to choose the epoch by")):
        if not len(graph.splits[split]):
            raise DataError(f"dataset '{graph.name}': {split} has no triples, nothing {use}")
    hooks.on_stage("train", spec.training.epochs)

    known = graph.known(spec.protocol.filter_of("valid")).to(device)
    valid = graph.splits["valid"].to(device)

    def validate() -> Mapping[str, float]:
        ranks = rank(model, valid, known, spec.protocol, device=device)
        pooled = {m.metric: m.value for m in measure(ranks, spec.protocol) if m.side == "both"}
        return {**pooled, **model.diagnostics()}

    procedure = StandardProcedure(model, graph.index, spec, device)
    result = fit(
        model,
        procedure,
        procedure.rows,
        spec.training,
        checkpoints,
        validate,
        seed=spec.seed,
        dataset=graph.digest,
        limits=limits,
        on_epoch=hooks.on_epoch,
        should_stop=hooks.should_stop,
    )
    best = checkpoints.load_best()
    if best is not None:
        model.load_state_dict(best)
    return result


@dataclass(frozen=True)
class _SplitOutcome:
    ranks: Ranks
    metrics: tuple[MetricValue, ...]
    seconds: float = field(compare=False, default=0.0)


def _rank_split(
    model: Model,
    spec: RunSpec,
    dataset: Dataset,
    split: Any,
    device: torch.device,
    hooks: Hooks,
) -> _SplitOutcome:
    graph = dataset.graph
    triples = graph.splits[split]
    hooks.on_stage(split, len(triples) * len(spec.protocol.sides))
    began = time.perf_counter()
    ranks = rank(
        model,
        triples,
        graph.known(spec.protocol.filter_of(split)),
        spec.protocol,
        device=device,
        progress=hooks.on_queries,
    )
    seconds = time.perf_counter() - began
    seen = graph.index.seen
    warm = (seen[triples[:, 0]] & seen[triples[:, 2]]).numpy()
    ranks = replace(ranks, warm=warm)
    metrics = tuple(
        MetricValue(
            split=split,
            side=m.side,
            bucket=m.bucket,
            metric=m.metric,
            value=m.value,
            queries=m.queries,
        )
        for m in measure(ranks, spec.protocol, ranks.buckets)
    )
    return _SplitOutcome(ranks, metrics, seconds)


def _diagnostics(model: Model, result: FitResult) -> dict[str, float]:
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "parameters": float(parameters),
        "best_epoch": float(result.best_epoch),
        "epochs": float(len(result.history)),
        **model.diagnostics(),
    }


def _timings(
    split: str, outcome: _SplitOutcome | None, device: torch.device, before: float = 0.0
) -> tuple[TimingSample, ...]:
    """Return the time of a ranking, and the process's peak of memory (``before``: an earlier)."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        # Kibibytes on Linux, bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    memory = TimingSample(name=PEAK, value=max(before, float(peak)), unit="bytes")
    if outcome is None:
        return (memory,)
    return TimingSample(name=f"evaluate.{split}", value=outcome.seconds), memory


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
