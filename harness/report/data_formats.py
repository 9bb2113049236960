"""CSV, JSON and plain rows: every number unrounded, for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from harness.report.layout import Layout, lay_out
from harness.report.table import Column, Quantity, Table, TableCell, TableRow

__all__ = ["NUMBERS", "as_json", "csv_table", "json_table", "plain_rows"]

NUMBERS = ("value", "sd", "half", "published", "difference", "change", "change_half")
"""Columns of ``plain_rows`` that are numbers, or None."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_table(table: Table) -> str:
    """Return one line per row; each column of the table takes several fields.

    The fields are ``<dataset> <metric> <source> published|measured|sd|half|seeds|mark|sign|
    difference|change|change half|note``, as far as there is something to say; "half" and "change
    half" are half the widths of intervals. Texts that a spreadsheet would run as a formula get an
    apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    headings = [_safe(heading.text) for heading in table.headings]
    fields = list(_fields(lay_out(table)))
    titles = [f"{_title(table.columns[i], field)} {field}" for i, field in fields]
    writer.writerow(["group", _safe(table.row_title.lower()), *headings, *titles, "note"])
    for row in table.rows:
        attributes = [str(a).lower() if isinstance(a, bool) else _safe(a) for a in row.attributes]
        described = [_safe(row.group), _safe(row.label), *attributes]
        numbers = [_field(row.cells[i], field) for i, field in fields]
        writer.writerow([*described, *numbers, _safe("; ".join(row.notes))])
    return out.getvalue()


def json_table(table: Table) -> str:
    """Return the table as one JSON object (percent values, full precision)."""
    return json.dumps(as_json(table), ensure_ascii=False, indent=2) + "\n"


def as_json(table: Table) -> dict[str, Any]:
    """Return the table as plain values."""
    return {
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "baseline": table.baseline,
        "row_title": table.row_title,
        "headings": [heading.text for heading in table.headings],
        "columns": [asdict(column) for column in table.columns],
        "rows": [_json_row(row) for row in table.rows],
        "tests": {"count": table.tests, "against": table.signs_against},
        "notes": list(table.notes),
    }


def plain_rows(table: Table) -> Iterator[dict[str, Any]]:
    """Yield a flat row per row and column of a table: attributes of both, and the values.

    Keys: "group", the row's heading ("method") and attributes; "dataset", "metric", "subset",
    "split", "column" (as printed), "source"; "value", "sd", "half", "seeds", "planned",
    "published", "difference", "change", "change_half", in the printed unit, None where there is no
    value; "mark", "sign", "features", "note" and "runs" (ids).
    """
    for row in table.rows:
        attributes = [heading.text.lower() for heading in table.headings]
        described: dict[str, Any] = {"group": row.group, table.row_title.lower(): row.label}
        described |= zip(attributes, row.attributes, strict=True)
        for column, cell in zip(table.columns, row.cells, strict=True):
            yield {
                **described,
                "dataset": column.dataset,
                "metric": column.metric,
                "subset": column.bucket,
                "split": column.split,
                "column": column.title,
                "source": column.source,
                "value": cell.value,
                "sd": cell.sd,
                "half": cell.half,
                "seeds": cell.n,
                "planned": cell.planned,
                "published": cell.published,
                "difference": cell.difference,
                "change": cell.change,
                "change_half": cell.change_half,
                "mark": str(cell.mark or ""),
                "sign": str(cell.sign or ""),
                "features": cell.features,
                "note": "; ".join((*row.notes, *cell.footnotes)),
                "runs": cell.runs,
            }


def _json_row(row: TableRow) -> dict[str, Any]:
    cells = [{**asdict(c), "half": c.half, "difference": c.difference} for c in row.cells]
    return {**asdict(row), "cells": cells}


def _title(column: Column, field: str) -> str:
    source = "" if field == Quantity.PUBLISHED else column.source
    return " ".join(filter(None, (column.dataset_title, column.title, source)))


def _fields(layout: Layout) -> Iterator[tuple[int, str]]:
    """Yield the fields of a line: position of the table column, and name."""
    measured = ["measured", "sd", "half", "seeds"]
    measured += ["mark"] * layout.has_marks + ["sign"] * layout.has_signs
    names = {Quantity.MEASURED: measured, Quantity.CHANGE: ["change", "change half"]}
    for position, members in groupby(layout.columns, key=lambda printed: printed.position):
        for printed in members:
            yield from (
                (position, name) for name in names.get(printed.quantity, [str(printed.quantity)])
            )
        yield position, "note"


def _field(cell: TableCell, field: str) -> str:
    if field == "note":
        return _safe("; ".join(cell.footnotes))
    if field in ("mark", "sign"):
        return str((cell.mark if field == "mark" else cell.sign) or "")
    number = {
        "published": cell.published,
        "measured": cell.value,
        "sd": cell.sd,
        "half": cell.half,
        "seeds": cell.n if cell.value is not None else None,
        "difference": cell.difference,
        "change": cell.change,
        "change half": cell.change_half,
    }[field]
    return "" if number is None else repr(number)


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
