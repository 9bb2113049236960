"""Outcomes from SQL: a statement per table, and only the rows that are wanted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import isfinite
from operator import eq
from statistics import mean
from typing import Any, NamedTuple, get_args

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, Text, and_, case, cast, func, select, tuple_

from harness.store.outcomes import OWN_FIELDS, MetricPlace, Outcome, Wanted
from harness.store.records import Status, check_value
from harness.store.tables import Diagnostic, Epoch, Metric, Note, Run, Timing

__all__ = ["Read", "read_outcomes"]

OWN = {
    **dict.fromkeys(OWN_FIELDS, str),
    "seed": int,
    "error": str | None,
    "modalities": list,
    "spec": dict,
}
"""Fields of an outcome that are columns of a run, and their types."""
JSON = ("modalities", "spec")
COLUMNS = [cast(c, Text) if name in JSON else c for name in OWN if (c := getattr(Run, name))]
"""JSON as text: SQLAlchemy would take longer to parse it."""
STATUSES = frozenset(get_args(Status))


class Read(NamedTuple):
    """Outcomes by run id, and the ids of the runs of which something cannot be read."""

    outcomes: dict[str, Outcome]
    damaged: set[str]


def read_outcomes(connection: Connection, ids: Sequence[str], wanted: Wanted) -> Read:
    """Return the outcomes of the runs that there are.

    Args:
        connection: to the database.
        ids: no more than a statement may have parameters.
        wanted: the numbers that are read.
    """
    reader = _Reader(connection, ids)
    metrics, notes = reader.metrics(wanted.metrics), reader.notes()
    diagnostics = reader.diagnostics(wanted.diagnostics)
    last = reader.last_epochs() if wanted.last_epoch else {}
    timings = reader.timings(wanted.timings)
    history = reader.history() if wanted.history else {}
    provenance = reader.provenance() if wanted.provenance else {}
    found: dict[str, Outcome] = {}
    for run_id, own in reader.each(_own, Run, *COLUMNS):
        if run_id not in reader.damaged:
            found[run_id] = Outcome(
                **own,
                notes=notes.get(run_id, ()),
                metrics=metrics.get(run_id, {}),
                diagnostics=diagnostics.get(run_id, {}),
                last_epoch=last.get(run_id, {}),
                timings={name: mean(values) for name, values in timings.get(run_id, {}).items()},
                history=history.get(run_id, ()),
                provenance=provenance.get(run_id, {}),
            )
    return Read(found, reader.damaged)


class _Reader:
    """Reads the parts of some runs; remembers the runs that have values that cannot be."""

    def __init__(self, connection: Connection, ids: Sequence[str]) -> None:
        self.connection, self.ids = connection, ids
        self.damaged: set[str] = set()

    def each(
        self,
        of: Callable[..., Any],
        table: Any,
        *columns: Any,
        where: Sequence[ColumnElement[bool]] = (),
        group: bool = False,
    ) -> Iterator[tuple[str, Any]]:
        """Yield the run id, which is the first column, and what ``of`` makes of each row."""
        statement = select(*columns).where(table.run_id.in_(self.ids), *where)
        if group:
            statement = statement.group_by(table.run_id)
        for row in self.connection.execute(statement).all():
            try:
                made = of(*row)
            except (AttributeError, RecursionError, TypeError, ValueError):
                self.damaged.add(row[0])
            else:
                yield row[0], made

    def notes(self) -> Mapping[str, tuple[str, ...]]:
        numbered: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for run_id, note in self.each(_note, Note, Note.run_id, Note.position, Note.text):
            numbered[run_id].append(note)
        return {i: tuple(text for _, text in sorted(held)) for i, held in numbered.items()}

    def metrics(self, wanted: frozenset[MetricPlace]) -> Mapping[str, dict[MetricPlace, float]]:
        """One row per run: a run's metrics are columns, NULL where it has none."""
        if not wanted:
            return {}
        places = sorted(wanted)
        columns = (Metric.metric, Metric.bucket, Metric.split)
        where = [Metric.side == "both"]
        for column, names in zip(columns, zip(*places, strict=True), strict=True):
            where.append(column.in_(set(names)))
        values = [
            func.max(case((and_(*map(eq, columns, place)), Metric.value))) for place in places
        ]
        of = partial(_metrics, places)
        return dict(self.each(of, Metric, Metric.run_id, *values, where=where, group=True))

    def diagnostics(self, wanted: frozenset[str]) -> Mapping[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        if wanted:
            columns = (Diagnostic.run_id, Diagnostic.name, Diagnostic.value)
            where = [Diagnostic.name.in_(wanted)]
            for run_id, (name, value) in self.each(_named, Diagnostic, *columns, where=where):
                found[run_id][name] = value
        return found

    def last_epochs(self) -> Mapping[str, dict[str, float]]:
        last = select(Epoch.run_id, func.max(Epoch.position)).where(Epoch.run_id.in_(self.ids))
        at_end = tuple_(Epoch.run_id, Epoch.position).in_(last.group_by(Epoch.run_id))
        return dict(self.each(_epoch, Epoch, Epoch.run_id, Epoch.numbers, where=[at_end]))

    def history(self) -> Mapping[str, tuple[dict[str, float], ...]]:
        numbered: dict[str, list[tuple[int, dict[str, float]]]] = defaultdict(list)
        columns = (Epoch.run_id, Epoch.position, Epoch.numbers)
        for run_id, (position, numbers) in self.each(_numbered_epoch, Epoch, *columns):
            numbered[run_id].append((position, numbers))
        ordered = {i: sorted(rows, key=lambda row: row[0]) for i, rows in numbered.items()}
        return {run_id: tuple(numbers for _, numbers in rows) for run_id, rows in ordered.items()}

    def provenance(self) -> Mapping[str, dict[str, Any]]:
        return dict(self.each(_mapping, Run, Run.run_id, cast(Run.provenance, Text)))

    def timings(self, wanted: frozenset[str]) -> Mapping[str, dict[str, list[float]]]:
        """All samples: the mean of some that cannot be read is none."""
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        if wanted:
            columns = (Timing.run_id, Timing.name, Timing.value)
            where = [Timing.name.in_(wanted)]
            for run_id, (name, value) in self.each(_named, Timing, *columns, where=where):
                found[run_id][name].append(value)
        return found


# --- a row's values, in their types -------------------------------------------------------


def _own(*row: Any) -> dict[str, Any]:
    own = dict(zip(OWN, row, strict=True))
    own |= {name: from_json(own[name]) for name in JSON}
    for value, kind in zip(own.values(), OWN.values(), strict=True):
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is no {kind}")
    if own["status"] not in STATUSES:
        raise ValueError(f"{own['status']!r} is no status")
    own["modalities"] = tuple(map(_text, own["modalities"]))
    return own


def _note(_: str, position: int, text: str) -> tuple[int, str]:
    return position, _text(text)


def _metrics(places: Sequence[MetricPlace], _: str, *values: object) -> dict[MetricPlace, float]:
    found = {p: _number(v) for p, v in zip(places, values, strict=True) if v is not None}
    for place, value in found.items():
        check_value(place.metric, value)
    return found


def _named(_: str, name: str, value: object) -> tuple[str, float]:
    return name, _number(value)


def _epoch(_: str, numbers: str) -> dict[str, float]:
    return {name: _number(value) for name, value in from_json(_text(numbers)).items()}


def _numbered_epoch(run_id: str, position: int, numbers: str) -> tuple[int, dict[str, float]]:
    return position, _epoch(run_id, numbers)


def _mapping(_: str, text: str) -> dict[str, Any]:
    value = from_json(_text(text))
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no mapping")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return value
