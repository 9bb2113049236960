"""Consistency of a record: its id with its settings, its numbers with each other and with stored
ranks.

Ranks are those of the test split and name no bucket: numbers of the validation split, and of warm
and cold triples, are compared with each other alone.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.catalog import load_models
from harness.errors import DataError, StoreError
from harness.evaluation import shadow
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks
from harness.plan.identity import past_ids
from harness.plan.spec import RunSpec
from harness.store.files import RANKS, RECORD, read_own_record
from harness.store.records import EXTERNAL, MetricValue, RunRecord, external_id

__all__ = ["RankSource", "SealedSource", "problems", "read_audited", "sealed_problems"]

SAME = 1e-9
"""Greatest relative difference of equal numbers: libraries add in different orders."""
NEAR = 1e-3
"""Greatest difference of MRRs of the same weights: a device may round otherwise than another."""

Place = tuple[str, str, str, str]
"""Split, side, bucket, metric: what tells the numbers of a run apart."""


class RankSource(Protocol):
    """Ranks that are stored elsewhere than in a file of their own; printed as where they are."""

    def load(self) -> Ranks | None:
        """Load the ranks, None when there are none; errors as ``Ranks.load``."""
        ...


class SealedSource(Protocol):
    """The same for the test ranks of earlier epochs."""

    def load(self) -> Mapping[int, shadow.Shadow]:
        """Load the ranks by epoch; errors as ``Ranks.load``."""
        ...


def read_audited(folder: Path) -> RunRecord | None:
    """Read the record in a run folder as ``read_own_record``, and refuse one that cannot be true.

    Raises:
        StoreError: as there; or its id, its numbers and its ranks do not belong together.
        MachineError: the file cannot be read.
    """
    record = read_own_record(folder)
    if record is not None and (untrue := problems(record, folder / RANKS)):
        run = shlex.quote(folder.name)
        raise StoreError(
            f"{folder / RECORD}: {untrue[0]}; `harness runs rm {run}` removes the folder"
        )
    return record


def problems(record: RunRecord, ranks: Path | RankSource | None = None) -> list[str]:
    """Return the contradictions in a record, one line each; every line names the run.

    Args:
        record: of any run; a failed one has settings alone.
        ranks: its ranks or their file; where there are none the record is looked at alone.
    """
    run = f"run {record.run_id}: "
    try:
        spec = record.settings()
    except StoreError as error:
        return [str(error)]
    found = [*_other_settings(record, spec), *_other_id(record, spec)]
    if record.status == "ok":
        numbers: dict[Place, MetricValue] = {
            (m.split, m.side, m.bucket, m.metric): m for m in record.metrics
        }
        found += _other_parts(numbers)
        found += _other_ranks(numbers, spec, ranks)
    return [f"{run}{problem}" for problem in found]


def sealed_problems(
    record: RunRecord, sealed: Path | SealedSource, ranks: Path | RankSource
) -> list[str]:
    """Return the contradictions in the test ranks that an audit sealed, one line each.

    They are of epochs that were validated and of the triples that were tested, and those of the
    epoch that validation chose have the MRR of the test.

    Args:
        record: of the run.
        sealed: its sealed ranks or their folder; nothing is wrong when there are none.
        ranks: its ranks or their file.
    """
    try:
        epochs = shadow.read(sealed) if isinstance(sealed, Path) else sealed.load()
        tested = _load(ranks) if epochs else None
    except DataError as error:
        return [f"run {record.run_id}: {error}"]
    validated = {round(row["epoch"]) for row in record.history if "valid_mrr" in row}
    chosen, mrr = record.diagnostics.get("best_epoch"), record.metric("mrr")
    wrong = []
    for epoch, kept in epochs.items():
        if epoch not in validated:
            wrong.append(f"epoch {epoch} was not validated")
        for ranks_of in (kept.filtered, kept.raw):
            if tested is not None and not np.array_equal(ranks_of.triples, tested.triples):
                wrong.append(f"epoch {epoch}: ranks of other triples than were tested")
        if epoch == chosen and mrr is not None:
            found = 1.0 / kept.filtered.ranks(record.settings().protocol.ties)[0]
            if abs(float(found.mean()) - mrr) > NEAR:
                wrong.append(f"epoch {epoch} has MRR {found.mean():g}, the run's test {mrr:g}")
    return [f"run {record.run_id}: {sealed}: {problem}" for problem in dict.fromkeys(wrong)]


def _other_settings(record: RunRecord, spec: RunSpec) -> Iterator[str]:
    """Yield what a record says beside its settings and they say otherwise."""
    pairs = {
        "model": (record.model, spec.model.name),
        "dataset": (record.dataset, spec.data.dataset),
        "features": (record.features, spec.data.features),
        "seed": (record.seed, spec.seed),
        "protocol": (record.protocol, spec.protocol.key),
    }
    for name, (said, set_) in pairs.items():
        if said != set_:
            yield f"{name} is '{said}', in its settings '{set_}'"


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


def _other_parts(numbers: Mapping[Place, MetricValue]) -> Iterator[str]:
    """Yield numbers that are not the mean of their two sides, or of warm and cold triples."""
    for (split, side, bucket, metric), whole in numbers.items():
        divided = {}
        if side == "both":
            divided["head and tail"] = [(split, s, bucket, metric) for s in ("head", "tail")]
        if bucket == "all":
            divided["warm and cold"] = [(split, side, b, metric) for b in ("warm", "cold")]
        for names, places in divided.items():
            parts = [numbers[place] for place in places if place in numbers]
            if len(parts) == 2 and (wrong := _not_the_mean(whole, parts)):
                yield f"{split} {side} {bucket} {metric}: {names} together {wrong}"


def _not_the_mean(whole: MetricValue, parts: list[MetricValue]) -> str:
    """Return how two sides differ from the pooled value, "" where they agree."""
    queries = sum(part.queries for part in parts)
    if queries != whole.queries:
        return f"have {queries} queries, not {whole.queries}"
    mean = sum(part.value * part.queries for part in parts) / queries
    if whole.metric != "amri" and not _same(mean, whole.value):  # amri is no mean over queries
        return f"make {mean:g}, not {whole.value:g}"
    return ""


def _load(ranks: Path | RankSource | None) -> Ranks | None:
    if isinstance(ranks, Path):
        return Ranks.load(ranks) if ranks.is_file() else None
    return None if ranks is None else ranks.load()


def _other_ranks(
    numbers: Mapping[Place, MetricValue], spec: RunSpec, path: Path | RankSource | None
) -> Iterator[str]:
    """Yield what is wrong with stored ranks, or that other numbers follow from them."""
    try:
        ranks = _load(path)
    except DataError as error:
        yield str(error)
        return
    if ranks is None:
        return
    if set(ranks.sides) != set(spec.protocol.sides):
        yield f"{path}: ranks of {', '.join(ranks.sides)}, not {', '.join(spec.protocol.sides)}"
        return
    wrong = []
    for m in measure(ranks, spec.protocol):
        said = numbers.get(("test", m.side, m.bucket, m.metric))
        if said is None or said.queries != m.queries or not _same(said.value, m.value):
            shown = "not there" if said is None else f"{said.value:g} of {said.queries}"
            wrong.append(
                f"test {m.side} {m.bucket} {m.metric} is {m.value:g} of {m.queries} queries, "
                f"in the record {shown}"
            )
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        yield f"{path}: other numbers follow from the ranks: {wrong[0]}{more}"


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=SAME, abs_tol=SAME)
