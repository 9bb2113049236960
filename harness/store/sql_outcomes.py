"""Outcomes from SQL: a statement per table, and only the rows that are wanted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple, get_args

from sqlalchemy import ColumnElement, Connection, Text, cast, func, select, tuple_

from harness.store.outcomes import OWN_FIELDS, MetricPlace, Outcome, Wanted
from harness.store.records import Status, check_value
from harness.store.tables import Diagnostic, Epoch, Metric, Note, Run

__all__ = ["Read", "read_outcomes"]

OWN: dict[str, Any] = {
    **{name: getattr(Run, name) for name in OWN_FIELDS},
    "spec": cast(Run.spec, Text),  # SQLAlchemy would parse it a little slower
}
"""Fields of an outcome that are columns of a run."""
KINDS = {
    **dict.fromkeys(OWN_FIELDS, str),
    "seed": int,
    "error": str | None,
    "modalities": list,
    "spec": dict,
}
"""Their types."""
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
    found: dict[str, Outcome] = {}
    for run_id, own in reader.each(_own, Run, *OWN.values()):
        if run_id not in reader.damaged:
            found[run_id] = Outcome(
                **own,
                notes=notes.get(run_id, ()),
                metrics=metrics.get(run_id, {}),
                diagnostics=diagnostics.get(run_id, {}),
                last_epoch=last.get(run_id, {}),
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
    ) -> Iterator[tuple[str, Any]]:
        """Yield the run id, which is the first column, and what ``of`` makes of each row."""
        statement = select(*columns).where(table.run_id.in_(self.ids), *where)
        for row in self.connection.execute(statement):
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
        found: dict[str, dict[MetricPlace, float]] = defaultdict(dict)
        if not wanted:
            return found
        columns = (Metric.metric, Metric.bucket, Metric.split)
        where = [Metric.side == "both"]
        for column, values in zip(columns, zip(*wanted, strict=True), strict=True):
            where.append(column.in_(set(values)))
        read = self.each(_metric, Metric, Metric.run_id, Metric.value, *columns, where=where)
        for run_id, (place, value) in read:
            if place in wanted:
                found[run_id][place] = value
        return found

    def diagnostics(self, wanted: frozenset[str]) -> Mapping[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        if wanted:
            columns = (Diagnostic.run_id, Diagnostic.name, Diagnostic.value)
            where = [Diagnostic.name.in_(wanted)]
            for run_id, (name, value) in self.each(_diagnostic, Diagnostic, *columns, where=where):
                found[run_id][name] = value
        return found

    def last_epochs(self) -> Mapping[str, dict[str, float]]:
        last = select(Epoch.run_id, func.max(Epoch.position)).where(Epoch.run_id.in_(self.ids))
        at_end = tuple_(Epoch.run_id, Epoch.position).in_(last.group_by(Epoch.run_id))
        return dict(self.each(_epoch, Epoch, Epoch.run_id, Epoch.numbers, where=[at_end]))


# --- a row's values, in their types -------------------------------------------------------


def _own(*row: Any) -> dict[str, Any]:
    own = dict(zip(OWN, row, strict=True))
    own["spec"] = json.loads(own["spec"])
    for name, kind in KINDS.items():
        if not isinstance(own[name], kind):
            raise TypeError(f"{name}: {own[name]!r}")
    if own["status"] not in STATUSES:
        raise ValueError(f"status: {own['status']!r}")
    return own | {"modalities": tuple(map(_text, own["modalities"]))}


def _note(_: str, position: int, text: str) -> tuple[int, str]:
    return position, _text(text)


def _metric(_: str, value: object, *place: str) -> tuple[MetricPlace, float]:
    number = _number(value)
    check_value(place[0], number)
    return MetricPlace(*place), number


def _diagnostic(_: str, name: str, value: object) -> tuple[str, float]:
    return name, _number(value)


def _epoch(_: str, numbers: str) -> dict[str, float]:
    return {name: _number(value) for name, value in json.loads(numbers).items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return value
