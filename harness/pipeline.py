"""One run, in two stages.

``train`` ends with a checkpoint, that of the best validation or of the last epoch
(``training.select``); ``test`` scores the test split with it, once. A study trains only.

The test split is locked during training (``KnowledgeGraph.locked``). Every access to it is logged
in the run's folder (``harness.store.accesses``).

Features may be corrupted in one of the stages (``DataSpec.corrupt``). The test then builds the
model with its own features and loads the trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness import kernels, provenance
from harness.catalog import build_model, origin
from harness.data.corrupt import corrupted
from harness.data.corruption import Corruption, in_training, when_tested
from harness.data.features import FeatureSet
from harness.data.graph import KnowledgeGraph
from harness.data.load import Dataset, load_dataset, load_graph
from harness.errors import ChangedDataError, ConfigError, DataError, MachineError, RunError
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.events import report_step
from harness.index import FilterIndex
from harness.model import MODELS, Model
from harness.peak import forget_peak, peak
from harness.plan.spec import RunSpec
from harness.splits import (
    SplitOutcome,
    metrics_of,
    rank_split,
    score_test,
    shadow_test_writer,
    stored_ranks,
    test_access_summary,
)
from harness.store import accesses
from harness.store.accesses import Access
from harness.store.files import RANKS, check_run_folder
from harness.store.records import EXTERNAL, RunRecord, TimingSample
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import EpochReport, FitResult, fit
from harness.training.procedures import StandardProcedure
from harness.unchanged import require_unchanged

__all__ = [
    "Hooks",
    "Workplace",
    "check_testable",
    "device_name",
    "execute",
    "has_checkpoint",
    "load_trained",
    "resolve_device",
    "retest",
    "test",
    "train",
]

PEAK = "memory.peak"
"""Name of the largest size of a process among the timings."""


@dataclass(frozen=True)
class Workplace:
    """Folder, device and threads of a run; not part of its identity.

    Attributes:
        folder: the run's own folder (record, checkpoints, log, ranks).
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        threads: CPU threads; 0 leaves torch's choice.
    """

    folder: Path
    device: str = "auto"
    threads: int = 0


@dataclass(frozen=True)
class Hooks:
    """Callbacks of the caller for progress and for stopping."""

    on_epoch: Callable[[EpochReport], None] = lambda report: None
    on_stage: Callable[[str, int], None] = lambda stage, total: None
    on_queries: Callable[[int], None] = lambda count: None
    should_stop: Callable[[], bool] = lambda: False


_DEVICES = "choose auto, cpu, cuda, cuda:0 or mps"


def resolve_device(wish: str) -> torch.device:
    """Return the device for "auto", "cpu", "cuda", "cuda:i" or "mps".

    Raises:
        ConfigError: there is no such kind of device, or it cannot train ("meta").
        MachineError: the machine has no such device.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise ConfigError(f"device '{wish}': {_DEVICES}") from error
    if device.type not in ("cpu", "cuda", "mps") or (device.type != "cuda" and device.index):
        raise ConfigError(f"device '{wish}': nothing can be trained there; {_DEVICES}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(f"device '{wish}': this machine has {torch.cuda.device_count()} GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError(f"device '{wish}' is not available on this machine")
    return device


def execute(
    run_id: str, spec: RunSpec, workplace: Workplace, hooks: Hooks | None = None
) -> RunRecord:
    """Train (or resume), test, and return the record ("ok").

    Raises:
        Interrupted, NonFiniteError, DataError, ConfigError, MachineError: see the stages.
    """
    check_testable(spec)
    return test(train(run_id, spec, workplace, hooks), workplace, hooks)


def check_testable(spec: RunSpec) -> None:
    """Refuse a run that cannot be tested, before it is trained.

    Raises:
        DataError: the test split of its dataset is empty.
    """
    load_graph(spec.data.dataset).require_triples("test", "to rank")


def train(
    run_id: str,
    spec: RunSpec,
    workplace: Workplace,
    hooks: Hooks | None = None,
    limits: Mapping[int, float] | None = None,
) -> RunRecord:
    """Train, or resume from the folder's checkpoint, and rank the validation split.

    The test split is read only to filter validation ranks (``Protocol.valid_filter``) and is locked
    afterwards. With ``audit.shadow_test`` it is ranked at each validation; these held-out ranks are
    stored in the folder and not read here.

    Args:
        run_id: identity of the run.
        spec: what to run.
        workplace: folder, device and threads of the run.
        hooks: progress and interruption.
        limits: epoch -> validation MRR that must have been reached by then.

    Returns:
        A record without test metrics: "validated", or, if a limit was not met, "pruned", which has
        a history but no metrics.

    Raises:
        Interrupted: ``hooks.should_stop`` returned True; the checkpoint is written.
        NonFiniteError: a loss or a score is not finite.
        DataError, ConfigError, MachineError: the dataset, the model or the device is unusable.
    """
    hooks = hooks or Hooks()
    device = _prepare(workplace)
    full = load_dataset(spec.data.dataset, spec.data.features, spec.data.modalities)
    filter_index = full.graph.filter_index(spec.protocol.filter_of("valid"))
    dataset = replace(full, graph=full.graph.locked())
    features = _corrupted(spec, full, in_training(spec.data.corrupt))
    model = _build(spec, dataset, features).to(device)
    write_shadow = shadow_test_writer(model, spec, full.graph, workplace.folder, device)
    checkpoints = CheckpointFolder(workplace.folder)
    result = _fit(
        model,
        spec,
        dataset.graph,
        filter_index,
        features,
        device,
        checkpoints,
        write_shadow,
        hooks,
        limits,
    )
    valid = None
    if not result.pruned:
        hooks.on_stage("valid", _queries(dataset.graph, "valid", spec))
        valid = rank_split(
            model, spec, dataset.graph, "valid", filter_index, device, hooks.on_queries
        )
    epochs = (TimingSample(name="train.epoch", value=row["seconds"]) for row in result.history)
    return RunRecord(
        run_id=run_id,
        status="validated" if valid else "pruned",
        spec=spec,
        model=spec.model.name,
        dataset=dataset.card.name,
        dataset_digest=dataset.graph.digest,
        features=spec.data.features,
        feature_digest=dataset.features.digest,
        modalities=tuple(features.tables),
        seed=spec.seed,
        protocol=spec.protocol.key,
        metrics=valid.metrics if valid else (),
        history=tuple(result.history),
        diagnostics=_diagnostics(model, result),
        timings=(*epochs, *_timings("valid", valid, device)),
        provenance=_provenance(device)
        | {"data": dict(full.graph.digests)}
        | origin(spec)
        | test_access_summary(workplace.folder),
        notes=(
            *dataset.card.notes,
            *dataset.graph.notes,
            *_divergence(run_id, spec, result.history),
        ),
    )


def test(record: RunRecord, workplace: Workplace, hooks: Hooks | None = None) -> RunRecord:
    """Rank the test split with the weights that training kept; keep the ranks in the folder.

    The record of a tested run is returned unchanged. If the split was scored but the process died
    before the record was written, its stored ranks are used; the split is scored again only if
    these are lost.

    Args:
        record: record that ``train`` returned.
        workplace: device and threads; its folder holds the checkpoint.
        hooks: progress.

    Returns:
        The record with the test metrics ("ok"). Its provenance has the differences to the training
        (commit, machine, ...) under "tested" and the accesses to the split under "test_split".

    Raises:
        ConfigError: the run was not validated, or its test split was scored with other weights.
        StoreError: its settings, or the log of accesses, cannot be read.
        ChangedDataError: the data or the model differ from those of the training.
        DataError: the folder holds no checkpoint, or the test split is empty.
        NonFiniteError: a score is NaN or infinite.
        MachineError: no such device, or the folder cannot be written.
    """
    if record.status == "ok":
        return record
    if record.status != "validated":
        raise ConfigError(f"run {record.run_id} is {record.status}, there is nothing to test yet")
    hooks = hooks or Hooks()
    device = _prepare(workplace)
    spec = record.spec
    model, dataset = load_trained(record, workplace.folder, device)
    dataset.graph.require_triples("test", "to rank")
    earlier = accesses.scoring(accesses.read(workplace.folder))
    weights = CheckpointFolder(workplace.folder).best_digest()
    if earlier is not None and earlier.weights != weights:
        raise ConfigError(
            f"run {record.run_id}: its test split was scored on {earlier.when} with other weights "
            f"and is not scored again; `harness runs rm {record.run_id}` forgets the run"
        )
    ranks, lost = stored_ranks(spec, dataset.graph, workplace.folder)
    if earlier is not None and ranks is not None:
        outcome, access = SplitOutcome(ranks, metrics_of(ranks, spec, "test")), earlier
    else:
        outcome, access = _score(
            model, spec, dataset, workplace.folder, device, hooks, lost if earlier else ""
        )
        outcome.ranks.save(workplace.folder / RANKS)
    before = [sample for sample in record.timings if sample.name != PEAK]
    peak_bytes = max((s.value for s in record.timings if s.name == PEAK), default=0.0)
    provenance = _with_test(record.provenance, access.provenance)
    # Diagnostics of a model built with other features describe those of the test.
    diagnostics = model.diagnostics() if spec.trained_as != spec else {}
    return record.model_copy(
        update={
            "status": "ok",
            "metrics": (*record.metrics, *outcome.metrics),
            "diagnostics": {**record.diagnostics, **diagnostics},
            "timings": (*before, *_timings("test", outcome, device, peak_bytes)),
            "provenance": provenance | test_access_summary(workplace.folder),
        }
    )


def retest(record: RunRecord, workplace: Workplace, hooks: Hooks | None = None) -> RunRecord:
    """Rank the test split of a tested run again, because its file of ranks is lost or damaged.

    Args:
        record: record of a tested run ("ok").
        workplace: device and threads; its folder holds the checkpoint.
        hooks: progress.

    Returns:
        The record, with the repetition in its provenance; the ranks are in the folder again.

    Raises:
        ConfigError: the run was not tested, or its ranks are there.
        ChangedDataError: the data or the model differ from those of the run.
        DataError: the folder holds no checkpoint.
        RunError: the metrics differ from those of the record; the ranks are not stored.
        StoreError, NonFiniteError, MachineError: as ``test``.
    """
    if record.status != "ok":
        raise ConfigError(f"run {record.run_id} is {record.status}, it was never tested")
    hooks = hooks or Hooks()
    device = _prepare(workplace)
    spec = record.spec
    model, dataset = load_trained(record, workplace.folder, device)
    ranks, lost = stored_ranks(spec, dataset.graph, workplace.folder)
    if ranks is not None:
        raise ConfigError(
            f"run {record.run_id} has its ranks ({workplace.folder / RANKS}): the test split is "
            "scored once, and again only when they are lost"
        )
    outcome, _ = _score(model, spec, dataset, workplace.folder, device, hooks, lost)
    for m in outcome.metrics:
        stored = record.metric(m.metric, "test", m.side, m.bucket)
        if stored is None or not math.isclose(stored, m.value, rel_tol=1e-9, abs_tol=1e-9):
            stored_text = "nothing" if stored is None else f"{stored:g}"
            raise RunError(
                f"run {record.run_id}: scored again, test {m.side} {m.bucket} {m.metric} is "
                f"{m.value:g}, the record says {stored_text}: another device, or other weights; "
                "the ranks were not kept"
            )
    outcome.ranks.save(workplace.folder / RANKS)
    return record.model_copy(
        update={"provenance": record.provenance | test_access_summary(workplace.folder)}
    )


def has_checkpoint(spec: RunSpec, folder: Path) -> bool:
    """Return True if ``load_trained`` finds the checkpoint that it needs in a folder."""
    trains = MODELS.get(spec.model.name).capabilities.trainable and spec.training.epochs
    return not trains or (folder.is_dir() and CheckpointFolder(folder).has_best())


def load_trained(record: RunRecord, folder: Path, device: torch.device) -> tuple[Model, Dataset]:
    """Return the model of a finished run with its best weights, and its dataset.

    The model holds the features of the test; parameters fitted to the features of the training are
    in its state.

    Raises:
        ConfigError: the run was made by another code base.
        StoreError: its settings or the log of accesses cannot be read, or the folder is a link.
        ChangedDataError: the dataset, the features, a user's own model or the weights differ from
            those of the run.
        DataError: the folder holds no checkpoint of a validated model.
    """
    if record.model == EXTERNAL:
        raise ConfigError(f"run {folder.name} was evaluated from an external file: it has no model")
    spec = record.spec
    dataset = load_dataset(spec.data.dataset, spec.data.features, spec.data.modalities)
    require_unchanged(record, dataset)
    features = _corrupted(spec, dataset, when_tested(spec.data.corrupt))
    model = _build(spec, dataset, features).to(device)
    if model.capabilities.trainable and spec.training.epochs:
        check_run_folder(folder)
        best = CheckpointFolder(folder).load_best() if folder.is_dir() else None
        if best is None:
            raise DataError(
                f"{folder}: no trained model there; `harness runs show {folder.name}` prints the "
                f"command that trains it, `harness runs rm {folder.name}` forgets the result first"
            )
        with CheckpointFolder(folder).restoring():
            model.load_state_dict(best)
        if record.status == "ok":
            _require_tested(folder)
    model.eval()
    return model, dataset


def _require_tested(folder: Path) -> None:
    """Check that the checkpoint of a tested run is the one that was tested.

    Raises:
        ChangedDataError: it is another one.
    """
    tested = accesses.scoring(accesses.read(folder))
    if tested and tested.weights not in ("", CheckpointFolder(folder).best_digest()):
        raise ChangedDataError(
            f"{folder}: the checkpoint is not the one that was tested on {tested.when}; put that "
            f"one back, or `harness runs rm {folder.name}` forgets the run"
        )


def _prepare(workplace: Workplace) -> torch.device:
    if workplace.threads:
        torch.set_num_threads(workplace.threads)
    device = resolve_device(workplace.device)
    kernels.prepare(device.type)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    forget_peak()  # of what this process did before
    return device


def _provenance(device: torch.device) -> dict[str, Any]:
    return provenance.describe(
        device=device_name(device),
        threads=torch.get_num_threads(),
        kernels=kernels.backend_name(device.type),
    )


def _with_test(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of the training with the differences and the end of the test."""
    volatile = ("finished", "load")  # differ between any two moments
    changed = {k: v for k, v in tested.items() if k not in volatile and v != trained.get(k)}
    if not changed:
        return {**trained, "finished": tested["finished"]}
    return {**trained, "tested": {**changed, "finished": tested["finished"]}}


def _corrupted(spec: RunSpec, dataset: Dataset, corruptions: Sequence[Corruption]) -> FeatureSet:
    return corrupted(dataset.features, corruptions, seed=spec.seed, dataset=dataset.graph.digest)


def _build(spec: RunSpec, dataset: Dataset, features: FeatureSet) -> Model:
    return build_model(
        spec.model.name,
        spec.model.options,
        dataset.graph.index,
        features.modalities(),
        seed=spec.seed,
    )


def _fit(
    model: Model,
    spec: RunSpec,
    graph: KnowledgeGraph,
    filter_index: FilterIndex,
    features: FeatureSet,
    device: torch.device,
    checkpoints: CheckpointFolder,
    write_shadow: Callable[[int], None],
    hooks: Hooks,
    limits: Mapping[int, float] | None,
) -> FitResult:
    """Fit the model and load the selected weights (``training.select``) into it.

    Args:
        model: model on ``device``.
        spec: the run.
        graph: graph with a locked test split.
        filter_index: filter of the validation ranks.
        features: features of the training.
        device: device of the training.
        checkpoints: folder of the state.
        write_shadow: callback with each validated epoch.
        hooks: progress and interruption.
        limits: epoch -> minimum validation MRR.
    """
    if not model.capabilities.trainable:
        return FitResult(best_epoch=0)
    chooses = spec.training.select == "validation"
    by = "to choose the epoch by" if chooses else "to validate on"
    for split, use in (("train", "to learn from"), ("valid", by)):
        graph.require_triples(split, use)
    hooks.on_stage("train", spec.training.epochs)

    valid, filter_index = graph.splits["valid"].to(device), filter_index.to(device)

    def validate() -> Mapping[str, float]:
        total, n_ranked = _queries(graph, "valid", spec), 0

        def on_queries(count: int) -> None:
            nonlocal n_ranked
            n_ranked += count
            report_step("ranking valid", n_ranked, total)

        report_step("ranking valid", 0, total)
        ranks = rank(model, valid, filter_index, spec.protocol, device=device, progress=on_queries)
        report_step("ranking valid", total, total)
        pooled = {m.metric: m.value for m in measure(ranks, spec.protocol) if m.side == "both"}
        return {**pooled, **model.diagnostics()}

    procedure = StandardProcedure(
        model, graph.index, spec, device, modalities=features.modalities()
    )
    result = fit(
        model,
        procedure,
        spec.training,
        checkpoints,
        validate,
        seed=spec.seed,
        dataset=graph.digest,
        limits=limits,
        on_validated=write_shadow,
        on_epoch=hooks.on_epoch,
        should_stop=hooks.should_stop,
    )
    best = checkpoints.load_best()
    if best is not None:
        model.load_state_dict(best)
    return result


def _score(
    model: Model,
    spec: RunSpec,
    dataset: Dataset,
    folder: Path,
    device: torch.device,
    hooks: Hooks,
    reason: str,
) -> tuple[SplitOutcome, Access]:
    """Score the test split; ``reason`` says why it is scored again, "" the first time."""
    hooks.on_stage("test", _queries(dataset.graph, "test", spec))
    return score_test(
        model,
        spec,
        dataset.graph,
        folder,
        device,
        hooks.on_queries,
        reason=reason,
        provenance=_provenance(device),
    )


def _queries(graph: KnowledgeGraph, split: str, spec: RunSpec) -> int:
    return len(graph.splits[split]) * len(spec.protocol.sides)


def _diagnostics(model: Model, result: FitResult) -> dict[str, float]:
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "parameters": float(parameters),
        "best_epoch": float(result.best_epoch),
        "epochs": float(len(result.history)),
        **model.diagnostics(),
    }


def _divergence(
    run_id: str, spec: RunSpec, history: Sequence[Mapping[str, float]]
) -> Iterator[str]:
    """Yield a note if the last epoch has a larger loss than the first, by more than a percent.

    A loss that is not finite ends a run; one that only grows does not.
    """
    losses = [row["loss"] for row in history]
    if losses and losses[-1] - losses[0] > 0.01 * abs(losses[0]):
        title = MODELS.get(spec.model.name).capabilities.title
        yield (
            f"Run {run_id} ({title}, seed {spec.seed}) may have diverged: its loss was "
            f"{losses[0]:.3g} in the first epoch and {losses[-1]:.3g} in the last."
        )


def _timings(
    split: str, outcome: SplitOutcome | None, device: torch.device, before: float = 0.0
) -> tuple[TimingSample, ...]:
    """Return the time of a ranking and the peak memory, at least ``before`` bytes."""
    used_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak()
    memory = TimingSample(name=PEAK, value=max(before, float(used_bytes)), unit="bytes")
    if outcome is None or outcome.seconds is None:
        return (memory,)
    return TimingSample(name=f"evaluate.{split}", value=outcome.seconds), memory


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, the type of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
