"""One training for runs that differ in the features of the test alone."""

from __future__ import annotations

from harness.data.load import load_dataset
from harness.pipeline import Workplace, has_checkpoint
from harness.plan.identity import run_id_of
from harness.plan.spec import RunSpec
from harness.store.files import RECORD, read_own_record
from harness.store.records import RunRecord
from harness.training.checkpoint import CheckpointFolder

__all__ = ["take_over"]

_OF_THE_TEST = ("tested", "test_split")
"""What a run's provenance says of its test."""


def take_over(run_id: str, spec: RunSpec, place: Workplace) -> RunRecord | None:
    """Take the training of the run that was trained alike, if its folder lies beside this one's.

    A run that is corrupted ``at: test`` was trained as the intact run, one ``at: train`` as the
    run that is corrupted in both stages.

    Args:
        run_id, spec: the run.
        place: where; its folder gets the checkpoint.

    Returns:
        The record ("validated") with the validation and the history of the training, and whose it
        was in the provenance; None where no such run is finished, or this run is its own.

    Raises:
        DataError, ConfigError: of the dataset; the other folder holds a damaged checkpoint.
        StoreError: the other record cannot be read.
        MachineError: the folder cannot be written.
    """
    twin = spec.trained_as
    if twin == spec or spec.audit.shadow_test:  # ranks beside each validation take a training
        return None
    dataset = load_dataset(spec.data.dataset, spec.data.features, spec.data.modalities)
    twin_id = run_id_of(twin, dataset.graph.digest, dataset.features.digest)
    folder = place.folder.parent / twin_id
    if not (folder / RECORD).is_file() or not has_checkpoint(twin, folder):
        return None
    record = read_own_record(folder)
    if record is None or record.status not in ("validated", "ok"):
        return None
    CheckpointFolder(place.folder).copy_from(folder)
    trained = {k: v for k, v in record.provenance.items() if k not in _OF_THE_TEST}
    return record.model_copy(
        update={
            "run_id": run_id,
            "status": "validated",
            "spec": spec.model_dump(mode="json"),
            "metrics": tuple(m for m in record.metrics if m.split == "valid"),
            "timings": (),  # of the other run: nothing was trained here
            "provenance": {**trained, "training_of": twin_id},
        }
    )
