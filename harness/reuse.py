"""Shared training of runs that differ only in the features of the test."""

from __future__ import annotations

from harness.data.load import load_dataset
from harness.pipeline import Workplace, has_checkpoint
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.store.files import RECORD, read_own_record
from harness.store.records import RunRecord
from harness.training.checkpoint import CheckpointFolder

__all__ = ["take_over"]

_TEST_KEYS = ("tested", "test_split")
"""Keys of a run's provenance that concern its test."""


def take_over(run_id: str, spec: RunSpec, workplace: Workplace) -> RunRecord | None:
    """Copy the training of the run that this one shares it with, from a sibling folder.

    A run corrupted ``at: test`` shares the training of the intact run, one corrupted ``at: train``
    that of the run corrupted in both stages.

    Args:
        run_id, spec: the run.
        workplace: folder and device of the run; the checkpoint is copied to the folder.

    Returns:
        The record ("validated") with the metrics of the validation and the history, and the id of
        the other run in the provenance; None if this run does not share a training, or the other
        run is not finished.

    Raises:
        DataError, ConfigError: the dataset cannot be loaded, or the checkpoint is damaged.
        StoreError: the other record cannot be read.
        MachineError: the folder cannot be written.
    """
    spec_trained = spec.trained_as
    # Held-out test ranks of each epoch exist only where this run itself is trained.
    if spec_trained == spec or spec.audit.shadow_test:
        return None
    dataset = load_dataset(spec.data.dataset, spec.data.features, spec.data.modalities)
    trained_id = run_id_of(spec_trained, dataset.graph.digest, dataset.features.digest)
    folder = workplace.folder.parent / trained_id
    if not (folder / RECORD).is_file() or not has_checkpoint(spec_trained, folder):
        return None
    record = read_own_record(folder)
    if record is None or record.status not in ("validated", "ok"):
        return None
    CheckpointFolder(workplace.folder).copy_from(folder)
    trained = {k: v for k, v in record.provenance.items() if k not in _TEST_KEYS}
    return record.model_copy(
        update={
            "run_id": run_id,
            "status": "validated",
            "spec": spec,
            "metrics": tuple(m for m in record.metrics if m.split == "valid"),
            "timings": (),  # nothing was trained here
            "provenance": {**trained, "training_of": trained_id},
        }
    )
