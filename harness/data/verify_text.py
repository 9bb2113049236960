"""The report of ``harness data verify`` as text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.data.names import advice

if TYPE_CHECKING:
    from harness.data.verify import VerifyReport

__all__ = ["render"]

_WIDTH = 80


def render(report: VerifyReport) -> str:
    """Return the report as text; the last line is the verdict."""
    sections = [
        f"{report.title} ({report.name}){f', digest {report.digest}' if report.digest else ''}"
    ]
    if report.folder is not None:
        sections.append(_wrap(str(report.folder), ""))
        sections.append(_table(("file", "sha256"), [(f.path, f.state) for f in report.files]))
    if report.counts:
        reference = "pinned" if report.pinned else "published"
        sections.append(
            _counts("sizes", report.published, report.counts, "in the files", reference)
        )
        highest = report.highest
        ids = f"entities up to {highest['entity']}, relations up to {highest['relation']}"
        sections.append(f"ids in use: {ids}")
    if report.published_modalities or report.modalities:
        heading = f"in '{report.feature_set}'" if report.feature_set else "features not downloaded"
        title = "entities with"
        sections.append(_counts(title, report.published_modalities, report.modalities, heading))
    acknowledged = [f"{f}" for f in report.names if f not in report.warnings]
    kinds = {
        "note": (*report.notes, *acknowledged),
        "warning": tuple(map(str, report.warnings)),
        "error": report.errors,
    }
    for label, lines in kinds.items():
        if lines:
            sections.append("\n".join(_wrap(line, f"{label}: ") for line in lines))
    sections.append(_wrap(_verdict(report), ""))
    return "\n\n".join(sections) + "\n"


def _verdict(report: VerifyReport) -> str:
    problems = [f"{len(report.errors)} error(s)"] if report.errors else []
    problems += [advice(report.warnings)] if report.warnings else []
    return f"wrong: {'; '.join(problems)}" if problems else "ok"


def _counts(
    title: str,
    published: Mapping[str, int],
    counts: Mapping[str, int],
    column: str,
    reference: str = "published",
) -> str:
    rows = []
    for key in dict.fromkeys((*published, *counts)):
        differs = key in published and key in counts and published[key] != counts[key]
        rows.append((key, published.get(key, "-"), counts.get(key, "-"), "differs" * differs))
    n_columns = 4 if any(row[3] for row in rows) else 3
    return _table((title, reference, column, "")[:n_columns], [row[:n_columns] for row in rows])


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    from tabulate import tabulate

    lines = tabulate(rows, columns, tablefmt="simple").splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _wrap(text: str, label: str) -> str:
    indent = " " * len(label)
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=label,
        subsequent_indent=indent,
        break_long_words=False,  # a path must stay whole to be of use
        break_on_hyphens=False,
    )
