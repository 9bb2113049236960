"""Consistency of a record: its id with its settings, its numbers with each other and with stored
ranks; a cell with the record of its run.

Ranks are those of the test split and name no bucket: numbers of the validation split, and of warm
and cold triples, are compared with each other alone.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from harness.catalog import load_models
from harness.errors import DataError, StoreError
from harness.evaluation import shadow
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks
from harness.plan.identity import past_ids
from harness.plan.spec import RunSpec
from harness.store.archive.rank_files import RankFiles, epoch_ranks, rank_files
from harness.store.files import RANKS, RECORD, read_own_record
from harness.store.records import EXTERNAL, Cell, MetricValue, RunRecord, external_id

__all__ = ["cell_problems", "problems", "read_audited"]

SAME = 1e-9
"""Greatest relative difference of equal numbers: libraries add in different orders."""
NEAR = 1e-3
"""Greatest difference of MRRs of the same weights: a device may round otherwise than another."""
CELL_VALUES = ("dataset", "features", "seed")
"""Values that a cell and the record of its run share."""

Numbers = Mapping[tuple[str, str, str, str], MetricValue]
"""Split, side, bucket and metric -> number of a run."""


def read_audited(folder: Path) -> RunRecord | None:
    """Read the record in a run folder as ``read_own_record``, and refuse one that cannot be true.

    Raises:
        StoreError: as there; or its id, its numbers and its ranks do not belong together.
        MachineError: the file cannot be read.
    """
    record = read_own_record(folder)
    if record is not None and (untrue := problems(record, rank_files(folder / RANKS))):
        run = shlex.quote(folder.name)
        raise StoreError(
            f"{folder / RECORD}: {untrue[0]}; `harness runs rm {run}` removes the folder"
        )
    return record


def problems(record: RunRecord, files: RankFiles | None = None) -> list[str]:
    """Return the contradictions in a record and its ranks, one line each that names the run.

    Args:
        record: record of any run; a failed one has settings alone.
        files: its files of ranks; the record is checked alone where there are none.
    """
    spec = record.spec
    lines = [*_other_settings(record, spec), *_other_id(record, spec)]
    files, tested = files or {}, None
    try:
        if record.status == "ok":
            numbers: Numbers = {(m.split, m.side, m.bucket, m.metric): m for m in record.metrics}
            lines += _other_parts(numbers)
            if RANKS in files:
                tested = files[RANKS].load()
                lines += _other_ranks(numbers, spec, tested, files[RANKS].source)
        lines += _other_epochs(record, spec, files, tested)
    except DataError as error:
        lines.append(str(error))
    return [f"run {record.run_id}: {line}" for line in lines]


def cell_problems(cell: Cell, record: RunRecord) -> list[str]:
    """Return the values of a cell that differ from the record of its run, one line each."""
    row = f"suite {cell.suite}, {cell.label} on {cell.dataset}, seed {cell.seed}"
    pairs = {name: (getattr(cell, name), getattr(record, name)) for name in CELL_VALUES}
    return [
        f"{row}: {name} is '{value}', in the record of run {record.run_id} '{recorded}'"
        for name, (value, recorded) in pairs.items()
        if value != recorded
    ]


def _other_settings(record: RunRecord, spec: RunSpec) -> Iterator[str]:
    """Yield values of a record that differ from its settings."""
    pairs = {
        "model": (record.model, spec.model.name),
        "dataset": (record.dataset, spec.data.dataset),
        "features": (record.features, spec.data.features),
        "seed": (record.seed, spec.seed),
        "protocol": (record.protocol, spec.protocol.key),
    }
    for name, (value, setting) in pairs.items():
        if value != setting:
            yield f"{name} is '{value}', in its settings '{setting}'"


def _other_id(record: RunRecord, spec: RunSpec) -> Iterator[str]:
    """Yield that a record's settings and data have another id than the record."""
    if record.status == "failed" and not record.dataset_digest:  # failed before data were read
        return
    if record.model == EXTERNAL:
        name = str(spec.model.options.get("label", ""))
        ids = iter([external_id(name, record.seed, record.dataset_digest, record.protocol)])
    else:
        load_models()
        code = str(record.provenance.get("code", ""))
        ids = past_ids(spec, record.dataset_digest, record.feature_digest, code)
    newest = next(ids)
    if record.run_id != newest and record.run_id not in ids:
        yield (
            f"its settings and data are those of run {newest}: the record was renamed or edited, "
            "or a newer version of the harness made it"
        )


def _other_parts(numbers: Numbers) -> Iterator[str]:
    """Yield numbers that are not the mean of their two sides, or of warm and cold triples."""
    for (split, side, bucket, metric), total in numbers.items():
        divided = {}
        if side == "both":
            divided["head and tail"] = [(split, s, bucket, metric) for s in ("head", "tail")]
        if bucket == "all":
            divided["warm and cold"] = [(split, side, b, metric) for b in ("warm", "cold")]
        for names, subsets in divided.items():
            subset_values = [numbers[subset] for subset in subsets if subset in numbers]
            if len(subset_values) == 2 and (wrong := _not_the_mean(total, subset_values)):
                yield f"{split} {side} {bucket} {metric}: {names} together {wrong}"


def _not_the_mean(total: MetricValue, subset_values: list[MetricValue]) -> str:
    """Return how two sides differ from the pooled value, "" where they agree."""
    queries = sum(subset.queries for subset in subset_values)
    if queries != total.queries:
        return f"have {queries} queries, not {total.queries}"
    mean = sum(subset.value * subset.queries for subset in subset_values) / queries
    if total.metric != "amri" and not _same(mean, total.value):  # amri is no mean over queries
        return f"make {mean:g}, not {total.value:g}"
    return ""


def _other_ranks(numbers: Numbers, spec: RunSpec, ranks: Ranks, source: str) -> Iterator[str]:
    """Yield that stored ranks are of other sides, or that other numbers follow from them."""
    if set(ranks.sides) != set(spec.protocol.sides):
        yield f"{source}: ranks of {', '.join(ranks.sides)}, not {', '.join(spec.protocol.sides)}"
        return
    wrong = []
    for m in measure(ranks, spec.protocol):
        stored = numbers.get(("test", m.side, m.bucket, m.metric))
        if stored is None or stored.queries != m.queries or not _same(stored.value, m.value):
            stored_text = "not there" if stored is None else f"{stored.value:g} of {stored.queries}"
            wrong.append(
                f"test {m.side} {m.bucket} {m.metric} is {m.value:g} of {m.queries} queries, "
                f"in the record {stored_text}"
            )
    if wrong:
        remainder = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        yield f"{source}: other numbers follow from the ranks: {wrong[0]}{remainder}"


def _other_epochs(
    record: RunRecord, spec: RunSpec, files: RankFiles, tested: Ranks | None
) -> Iterator[str]:
    """Yield contradictions in the test ranks after each epoch.

    They are of epochs that were validated and of the triples that were tested, and those of the
    epoch that validation chose have the MRR of the test.
    """
    validated = {round(row["epoch"]) for row in record.history if "valid_mrr" in row}
    best_epoch, mrr = record.diagnostics.get("best_epoch"), record.metric("mrr")
    for epoch, ranks in epoch_ranks(files).items():
        source = files[f"{shadow.FOLDER}/{epoch}.filtered.npz"].source
        if epoch not in validated:
            yield f"{source}: epoch {epoch} was not validated"
        triples = (ranks.filtered.triples, ranks.raw.triples)
        if tested is not None and not all(np.array_equal(t, tested.triples) for t in triples):
            yield f"{source}: epoch {epoch}: ranks of other triples than were tested"
        if epoch == best_epoch and mrr is not None:
            mean = float((1.0 / ranks.filtered.ranks(spec.protocol.ties)[0]).mean())
            if abs(mean - mrr) > NEAR:
                yield f"{source}: epoch {epoch} has MRR {mean:g}, the run's test {mrr:g}"


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=SAME, abs_tol=SAME)
