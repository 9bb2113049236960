"""Checks that data and code are those that a run was trained with."""

from __future__ import annotations

from harness.data.load import Dataset, load_dataset
from harness.errors import ChangedDataError
from harness.plan.identity import code_of, run_id_of
from harness.plan.spec import RunSpec
from harness.store.records import RunRecord

__all__ = ["check_before", "require_unchanged"]

DIFFERENCES = {
    "triples": "triples differ",
    "entities": "entity order differs",
    "relations": "relation order differs",
}
"""Key of ``KnowledgeGraph.digests`` -> message for a different digest."""


def require_unchanged(record: RunRecord, dataset: Dataset) -> None:
    """Check that dataset, features and source code of a trained run have not changed.

    Args:
        record: record of the run, of any stage from "pruned" on.
        dataset: the data that its settings name, as present on this machine.

    Raises:
        ChangedDataError: data or code differ; the message names the difference and a remedy.
    """
    if differences := [*_of_data(record, dataset), *_of_code(record)]:
        raise ChangedDataError(
            f"run {record.run_id}: {'; '.join(differences)}; put back the files that it was "
            "trained with, or train another run with those that are here: "
            f"`harness runs show {record.run_id}` prints the command"
        )


def check_before(run_id: str, spec: RunSpec, record: RunRecord | None, *, trained: bool) -> None:
    """Check that id and record of a run match the present data and code, before it is computed.

    Args:
        run_id: id under which the result will be stored.
        spec: settings of the run; its model is loaded.
        record: stored record of the run, or None.
        trained: True if only the test remains, which accepts checkpoints of other versions of the
            harness.

    Raises:
        ChangedDataError: data or code changed since the run was planned or trained.
        ConfigError, DataError: as ``harness.data.load.load_dataset``.
    """
    dataset = load_dataset(spec.data.dataset, spec.data.features, spec.data.modalities)
    if record is not None and record.dataset_digest:
        require_unchanged(record, dataset)
    if trained:
        return
    if (present := run_id_of(spec, dataset.graph.digest, dataset.features.digest)) != run_id:
        raise ChangedDataError(
            f"run {run_id}: the data here, the model's code or the version of the harness are not "
            f"those that it was planned with: its settings now make run {present}; put back what "
            "was changed, or give the command again that planned it"
        )


def _of_data(record: RunRecord, dataset: Dataset) -> list[str]:
    if dataset.graph.digest != record.dataset_digest:
        difference = _of_graph(record, dataset)
    elif dataset.features.digest != record.feature_digest:
        difference = f"features differ ('{record.features}')"
    else:
        return []
    return [f"the data here are not those of the run: {record.dataset}: {difference}"]


def _of_graph(record: RunRecord, dataset: Dataset) -> str:
    recorded = record.provenance.get("data")
    if not isinstance(recorded, dict):  # a record of an earlier version
        return "triples differ, or their order or the entity order differs"
    present = dataset.graph.digests
    differing = (text for key, text in DIFFERENCES.items() if recorded.get(key) != present[key])
    return next(differing, "the order of the triples differs")


def _of_code(record: RunRecord) -> list[str]:
    recorded = record.provenance.get("code")
    # Not recorded by earlier versions, nor for models of the package, whose ids do not need it.
    if recorded is None or recorded == code_of(record.spec):
        return []
    return ["the model's source is not that of the run, or --models does not name its folder"]
