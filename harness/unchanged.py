"""Whether the data and the code here are those that a run was trained with."""

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
"""Key of ``KnowledgeGraph.digests`` -> the message when the digest is another."""


def require_unchanged(record: RunRecord, dataset: Dataset) -> None:
    """Refuse a trained run where its dataset, its features or its own code have changed.

    Args:
        record: the run, of any stage from "pruned" on.
        dataset: the data that its settings name, as they are here.

    Raises:
        ChangedDataError: something differs; the message says what, and what to do.
    """
    if differences := [*_of_data(record, dataset), *_of_code(record)]:
        raise ChangedDataError(
            f"run {record.run_id}: {'; '.join(differences)}; put back the files that it was "
            "trained with, or train another run with those that are here: "
            f"`harness runs show {record.run_id}` prints the command"
        )


def check_before(run_id: str, spec: RunSpec, record: RunRecord | None, *, trained: bool) -> None:
    """Refuse to train or test a run whose id or record is of other data or other code.

    Args:
        run_id: id under which the result will be stored.
        spec: every setting; its model is loaded.
        record: the stored record of the run; None where there is none.
        trained: its checkpoint is only tested, by whatever version of the harness it was trained.

    Raises:
        ChangedDataError: the data or the code changed since the run was planned or trained.
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
    if not isinstance(recorded, dict):  # a run of an earlier version
        return "triples differ, or their order or the entity order differs"
    present = dataset.graph.digests
    differing = (text for key, text in DIFFERENCES.items() if recorded.get(key) != present[key])
    return next(differing, "the order of the triples differs")


def _of_code(record: RunRecord) -> list[str]:
    recorded = record.provenance.get("code")
    # Earlier versions did not record it, and no id of the package's own models depends on it.
    if recorded is None or recorded == code_of(record.settings()):
        return []
    return ["the model's source (--models) is not that of the run"]
