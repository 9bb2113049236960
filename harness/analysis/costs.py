"""Processor time of trainings: to the best epoch, in all, per epoch, to a published MRR.

A record holds the wall time and the processor time of each epoch and of each validation. Older
records have wall time alone: its product with the number of threads is an upper bound. On an
accelerator it is the wall time that counts, the time of the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from statistics import mean
from typing import NamedTuple

from harness.errors import ConfigError
from harness.store.records import RunRecord

__all__ = [
    "COSTS",
    "TIMINGS",
    "Validation",
    "best_validation",
    "cost",
    "is_timed",
    "leaked_validation",
    "load_note",
    "notes",
    "total_note",
    "validations",
]

TIMINGS = ("evaluate.valid", "evaluate.test")
"""Timings that are read beside the history."""
LEAKED = 0.5
"""Fraction of the validation rows from which, if train tells more, their MRR rewards memory."""
SPARE = 0.5
"""Load beyond the run's own threads from which other work counts: the system itself has some."""


def cost(record: RunRecord, name: str, target: float | None = None) -> float | None:
    """Return processor seconds of a run, None where there is nothing to count.

    Args:
        record: the run, with history, provenance and timings.
        name: one of ``COSTS``.
        target: MRR in percent whose first validation ends the time of "cost.published".
    """
    return COSTS[name](record, target) if is_timed(record) else None


def is_timed(record: RunRecord) -> bool:
    """Tell whether a run holds the time of each of its epochs."""
    return bool(record.history) and all("seconds" in row for row in record.history)


def processors(record: RunRecord) -> int:
    """Return how many threads computed; 1 for an accelerator."""
    threads = record.provenance.get("threads")
    on_cpu = record.provenance.get("device", "cpu") == "cpu"
    return threads if on_cpu and isinstance(threads, int) and threads > 0 else 1


def best_validation(records: Sequence[RunRecord]) -> float | None:
    """Return the greatest validation MRR of any epoch in percent, None without validations."""
    values = (row["valid_mrr"] for r in records for row in r.history if "valid_mrr" in row)
    best = max(values, default=None)
    return None if best is None else 100 * best


@cache
def leaked_validation(dataset: str) -> str:
    """Return why the validation MRR on a dataset is no measure of learning, "" where it is one.

    It is none where more than half of the validation rows stand in train or follow from it, as the
    dataset's card acknowledges.
    """
    from harness.data.load import source  # it imports torch: seconds, for other tables in vain

    try:
        card = source(dataset).card
    except ConfigError:
        return ""
    leaked, rows = card.leaked.get("valid", 0), card.counts.get("valid", 0)
    if leaked <= LEAKED * rows:
        return ""
    return (
        f"{leaked:,} of {rows:,} validation rows stand in train or follow from it: "
        "validation MRR rewards memory"
    )


def _to_best(record: RunRecord, _: float | None) -> float | None:
    best = round(record.diagnostics.get("best_epoch", len(record.history)))
    return sum(_processor_seconds(record, row) for row in record.history[:best])


def _in_all(record: RunRecord, _: float | None) -> float | None:
    epochs = sum(_processor_seconds(record, row) for row in record.history)
    ranking = sum((record.timing(name) or 0.0) for name in TIMINGS)
    return epochs + ranking * processors(record)


def _per_epoch(record: RunRecord, _: float | None) -> float | None:
    return mean(_processor_seconds(record, row, validation=False) for row in record.history)


def _to_target(record: RunRecord, target: float | None) -> float | None:
    if target is None or leaked_validation(record.dataset):
        return None
    seconds = 0.0
    for row in record.history:
        seconds += _processor_seconds(record, row)
        if 100 * row.get("valid_mrr", -1.0) >= target:
            return seconds
    return None


class Validation(NamedTuple):
    """A validation of a run.

    Attributes:
        seconds: wall time since the start of training, validations included; None when unknown.
        mrr: validation MRR, in (0, 1].
    """

    seconds: float | None
    mrr: float


def validations(record: RunRecord) -> dict[int, Validation]:
    """Return the validations of a run that has a history, by epoch."""
    timed, seconds = is_timed(record), 0.0
    by_epoch: dict[int, Validation] = {}
    for number, row in enumerate(record.history, 1):
        seconds += _with_validation(record, row) if timed else 0.0
        if "valid_mrr" in row:
            epoch = round(row.get("epoch", number))
            by_epoch[epoch] = Validation(seconds if timed else None, row["valid_mrr"])
    return by_epoch


def _with_validation(record: RunRecord, row: Mapping[str, float]) -> float:
    """Return the seconds of an epoch and of the validation after it."""
    # Earlier versions timed the last ranking of the validation split alone: one takes as long.
    ranking = record.timing("evaluate.valid") or 0.0 if "valid_mrr" in row else 0.0
    return row["seconds"] + row.get("valid_seconds", ranking)


def _processor_seconds(
    record: RunRecord, row: Mapping[str, float], *, validation: bool = True
) -> float:
    """Return the processor time of an epoch, with the validation after it."""
    on_cpu = record.provenance.get("device", "cpu") == "cpu"
    if on_cpu and "processor_seconds" in row:
        return row["processor_seconds"] + validation * row.get("valid_processor_seconds", 0.0)
    wall = _with_validation(record, row) if validation else row["seconds"]
    return wall * processors(record)


COSTS: Mapping[str, Callable[[RunRecord, float | None], float | None]] = {
    "cost.best": _to_best,
    "cost.total": _in_all,
    "cost.epoch": _per_epoch,
    "cost.published": _to_target,
}
"""Metric -> processor seconds of a run that has a history."""


# --- what must be known to read them ----------------------------------------------------------


def load_note(records: Sequence[RunRecord]) -> str:
    """Return the footnote of runs that shared the machine, as far as provenance knows; else ""."""
    loads = [load for record in records if (load := _other_load(record)) is not None]
    busy = [load for load in loads if load > SPARE]
    if not busy:
        return ""
    runs = f" ({len(busy)} of {len(records)} runs)" if len(busy) < len(records) else ""
    return f"measured beside other work{runs}: {max(busy):.1f} further processes were busy"


def _other_load(record: RunRecord) -> float | None:
    """Return the load average beyond the run's own threads, None when it was not recorded.

    It is 0 where processor time was measured, which does not count other work.
    """
    if record.history and all("processor_seconds" in row for row in record.history):
        return 0.0
    load = record.provenance.get("load")
    return load - processors(record) if isinstance(load, int | float) else None


def notes(records: Collection[RunRecord]) -> Iterator[str]:
    """Yield notes on the time counted and on the machines."""
    yield (
        "CPU h, CPU s: processor time of a run (older records: wall time x threads). To best: "
        "epochs and validations up to the epoch whose weights were kept; all: every epoch and "
        "validation, and the final rankings; "
        "s/epoch: training alone; to paper: until the validation MRR first reached the published "
        "(test) MRR. Loading, encoding of features and search of settings are not counted."
    )
    for dataset in dict.fromkeys(record.dataset for record in records):
        if reason := leaked_validation(dataset):
            yield f"No time to paper on {dataset}: {reason}."
    timed = [record for record in records if is_timed(record)]
    machines = Counter(map(_machine, timed))
    for machine, count in sorted(machines.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"Measured on {machine}: {count} run{'s' * (count != 1)}."
    unknown = sum(_other_load(record) is None for record in timed)
    if unknown:
        share = f"{unknown} of {len(timed)} runs do not say"
        yield f"{share} whether the machine did other work meanwhile."


def total_note(records: Collection[RunRecord]) -> str:
    """Return the processor time of all runs together, "" where none is known."""
    seconds = [value for record in records if (value := cost(record, "cost.total")) is not None]
    if not seconds:
        return ""
    runs = f"{len(seconds)} run{'s' * (len(seconds) != 1)}"
    return f"{sum(seconds) / 3600:.2f} CPU h in all, {runs} over all rows and seeds."


def _machine(record: RunRecord) -> str:
    provenance = record.provenance
    box = provenance.get("machine") or {}
    threads = processors(record)
    computed = f"{threads} thread{'s' * (threads != 1)}"
    if provenance.get("device", "cpu") != "cpu":
        computed = f"{provenance['device']} (h and s of the device)"
    return (
        f"{box.get('processor', 'an unknown processor')}, {box.get('cores', '?')} cores, {computed}"
    )
