"""One run, in two stages: ``train`` ends with a checkpoint chosen on validation; ``test`` scores
the test split with it, once. A study stops after the first."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness import kernels, provenance
from harness.catalog import create_model
from harness.data.load import Dataset, load
from harness.errors import DataError, MachineError
from harness.evaluation.evaluator import measure, rank
from harness.evaluation.ranks import Ranks
from harness.model import Model
from harness.plan.spec import RunSpec
from harness.store.records import MetricValue, RunRecord, TimingSample
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import EpochReport, FitResult, fit
from harness.training.procedures import StandardProcedure

__all__ = ["Hooks", "Workplace", "execute", "load_trained", "resolve_device"]


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
        MachineError: the machine has no such device.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise MachineError(f"device '{wish}': choose auto, cpu, cuda, cuda:0 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(f"device '{wish}': this machine has {torch.cuda.device_count()} GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError(f"device '{wish}' is not available on this machine")
    return device


def execute(run_id: str, spec: RunSpec, place: Workplace, hooks: Hooks | None = None) -> RunRecord:
    """Train (or resume), test, and return the record.

    Args:
        run_id: identity of the run.
        spec: what to run.
        place: where.
        hooks: progress and interruption.

    Raises:
        Interrupted, NonFiniteError, DataError, ConfigError, MachineError: see the stages.
    """
    hooks = hooks or Hooks()
    if place.threads:
        torch.set_num_threads(place.threads)
    device = resolve_device(place.device)
    kernels.prepare(device.type)
    dataset = load(spec.data.dataset, spec.data.features, spec.data.modalities)
    checkpoints = CheckpointFolder(place.folder)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = _build(spec, dataset).to(device)
    result = _train(model, spec, dataset, device, checkpoints, hooks)
    valid = _rank_split(model, spec, dataset, "valid", device, hooks)
    test = _rank_split(model, spec, dataset, "test", device, hooks)
    test.ranks.save(place.folder / "ranks.npz")
    return RunRecord(
        run_id=run_id,
        status="ok",
        spec=spec.model_dump(mode="json"),
        model=spec.model.name,
        dataset=dataset.card.name,
        dataset_digest=dataset.graph.digest,
        features=spec.data.features,
        feature_digest=dataset.features.digest,
        modalities=tuple(dataset.features.tables),
        seed=spec.seed,
        protocol=spec.protocol.key,
        metrics=(*valid.metrics, *test.metrics),
        history=tuple(result.history),
        diagnostics=_diagnostics(model, result),
        timings=_timings(result, valid, test, device),
        provenance=provenance.describe(
            device=_device_name(device),
            threads=torch.get_num_threads(),
            kernels=kernels.chosen(device.type),
        ),
        notes=(*dataset.card.notes, *dataset.graph.notes),
    )


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


def _build(spec: RunSpec, dataset: Dataset) -> Model:
    return create_model(
        spec.model.name,
        spec.model.options,
        dataset.graph.index,
        dataset.features.modalities(),
        seed=spec.seed,
    )


def _train(
    model: Model,
    spec: RunSpec,
    dataset: Dataset,
    device: torch.device,
    checkpoints: CheckpointFolder,
    hooks: Hooks,
) -> FitResult:
    """Fit the model and leave it with the weights that were best on validation."""
    if not model.capabilities.trainable:
        return FitResult(best_epoch=0, best_value=float("nan"))
    graph = dataset.graph
    for split, use in (("train", "to learn from"), ("valid", "to choose the epoch by")):
        if not len(graph.splits[split]):
            raise DataError(f"dataset '{graph.name}': {split} has no triples, nothing {use}")
    hooks.on_stage("train", spec.training.epochs)

    known = graph.known(spec.protocol.filter).to(device)
    valid = graph.splits["valid"].to(device)

    def validate() -> Mapping[str, float]:
        ranks = rank(model, valid, known, spec.protocol, device=device)
        pooled = {m.metric: m.value for m in measure(ranks, spec.protocol) if m.side == "both"}
        return {**pooled, **model.diagnostics()}

    result = fit(
        model,
        StandardProcedure(model, graph.index, spec, device),
        graph.splits["train"].to(device),
        spec.training,
        checkpoints,
        validate,
        seed=spec.seed,
        dataset=graph.digest,
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
        graph.known(spec.protocol.filter),
        spec.protocol,
        device=device,
        progress=hooks.on_queries,
    )
    seconds = time.perf_counter() - began
    seen = graph.index.seen
    warm = (seen[triples[:, 0]] & seen[triples[:, 2]]).numpy()
    buckets = {"warm": warm, "cold": ~warm} if not warm.all() else {}
    metrics = tuple(
        MetricValue(
            split=split,
            side=m.side,
            bucket=m.bucket,
            metric=m.metric,
            value=m.value,
            queries=m.queries,
        )
        for m in measure(ranks, spec.protocol, buckets)
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
    result: FitResult, valid: _SplitOutcome, test: _SplitOutcome, device: torch.device
) -> tuple[TimingSample, ...]:
    epochs = tuple(TimingSample(name="train.epoch", value=row["seconds"]) for row in result.history)
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        # Kibibytes on Linux, bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return (
        *epochs,
        TimingSample(name="evaluate.valid", value=valid.seconds),
        TimingSample(name="evaluate.test", value=test.seconds),
        TimingSample(name="memory.peak", value=float(peak), unit="bytes"),
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
