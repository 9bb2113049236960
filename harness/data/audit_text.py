"""The report of ``harness data audit`` as text of at most 80 columns, and as Markdown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from pydantic import BaseModel

from harness.data.audit import CONSTANT, AuditReport, sentences
from harness.data.feature_leaks_text import AuditTable, leak_tables, too_few
from harness.data.leakage import CONFIDENCE, SUPPORT
from harness.data.names import advice

__all__ = ["AUDIT_FORMATS", "TABLES", "headline", "markdown", "text", "verdict"]

_WIDTH = 80
_MOST = 8
"""Rows of a table of relations in text; Markdown and JSON have all."""
_NAME = 34
"""Columns of text for the names of relations."""


def headline(report: AuditReport) -> str:
    """Return the leak of valid and test in one sentence."""
    shares = {split: report.found.splits[split].share for split in ("valid", "test")}
    if not any(shares.values()):
        return "Train gives nothing of valid and test away."
    test, valid = (_percent(shares[split]) for split in ("test", "valid"))
    return f"Train gives away {test} of test and {valid} of valid."


def verdict(report: AuditReport) -> str:
    """Return the last line, the comparison of leaks with the acknowledged ones."""
    if not report.excess:
        if any(report.acknowledged.values()):
            return "ok: the dataset's card states what train gives away"
        if any(report.found.splits[split].leaked for split in ("valid", "test")):
            return f"ok: train gives away no more than the {_percent(report.allowed)} allowed"
        return "ok: train gives nothing of valid and test away"
    shares = " and ".join(
        f"{_percent(report.found.splits[split].share)} of {split}" for split in report.excess
    )
    return (
        f"wrong: train gives away {shares}, {_percent(report.allowed)} is allowed "
        f"(--allow-leakage); `{report.found.name}@clean` does not have them"
    )


def _verdicts(report: AuditReport) -> Iterator[str]:
    """Yield the verdict on leaks, then the verdict on confusable identifiers."""
    if report.excess or not report.name_excess:
        yield verdict(report)
    if report.name_excess:
        yield f"wrong: names are easily confused; {advice(report.name_excess)}"


def leaks_verdict(report: AuditReport) -> Iterator[str]:
    """Yield a line per feature set that compares its leaks with the acknowledged ones."""
    for leaks in report.leaks:
        excess = leaks.excess
        lacking = [modality.label for modality in leaks.modalities if not modality.enough]
        remark = f"; {too_few(lacking)}" * bool(lacking)
        if excess:
            cells = ", ".join(f"{label} of {split}" for label, split in excess)
            if leaks.acknowledged:
                problem = f"give away more than the dataset's card states: {cells}"
            else:
                tables = " (tables of runs do)" * (leaks.feature_set == report.feature_set)
                problem = (
                    f"give answers away, which no card acknowledges: {cells}; correct the "
                    f"features, or state this beside the figures{tables}"
                )
            yield f"wrong: features '{leaks.feature_set}' {problem}{remark}"
        elif lacking and len(lacking) == len(leaks.modalities):
            yield f"features '{leaks.feature_set}' are not audited{remark}"
        elif any(modality.flagged for modality in leaks.modalities):
            yield (
                f"ok: the dataset's card states what features '{leaks.feature_set}' give away"
                f"{remark}"
            )
        else:
            yield f"ok: no leak in features '{leaks.feature_set}' is flagged{remark}"


def _all_verdicts(report: AuditReport) -> Iterator[str]:
    """Yield a line per problem, then one "ok" line for everything without a problem."""
    lines = [*leaks_verdict(report), *_verdicts(report)]
    yield from (line for line in lines if not line.startswith("ok"))
    if passed := [line.removeprefix("ok: ") for line in lines if line.startswith("ok: ")]:
        yield f"ok: {'; '.join(passed)}"


def splits_table(report: AuditReport) -> AuditTable:
    """Return the table of row counts by split."""
    headings = ("split", "rows", "repeats", "loops", "in train", "implied", "in valid", "unseen")
    rows = []
    for split, c in report.found.splits.items():
        counts = (c.rows, c.repeats, c.loops, c.in_train, c.implied, c.in_valid, c.unseen)
        rows.append((split, *map(_number, counts)))
    audit = report.found
    return AuditTable(
        "Rows of the splits",
        headings,
        tuple(rows),
        "Repeats: of an earlier row. Loops: head is tail. Implied: not in train, but a row of "
        "train implies it. Unseen: an entity or relation that train never mentions, as "
        f"{_number(audit.unseen_entities)} of {_number(audit.entities)} entities and "
        f"{_number(audit.unseen_relations)} of {_number(audit.relations)} relations.",
    )


def rules_table(report: AuditReport) -> AuditTable | None:
    """Return the table of rules between relations, None without any."""
    if not report.found.rules:
        return None
    rows = tuple(
        (
            f"{r.premise} \N{RIGHTWARDS ARROW} {r.conclusion}"
            if r.kind != "symmetric"
            else r.premise,
            r.kind,
            _number(r.support),
            f"{r.confidence:.2f}",
            _number(r.valid),
            _number(r.test),
        )
        for r in report.found.rules
    )
    return AuditTable(
        "Relations that imply others",
        ("relation", "kind", "pairs", "share", "valid", "test"),
        rows,
        f"Pairs of entities that both connect (at least {SUPPORT}), and their share of the first "
        f"relation's pairs (at least {CONFIDENCE}); rows of valid and test that train implies so.",
    )


def constants_table(report: AuditReport) -> AuditTable | None:
    """Return the table of relations with a constant answer, None without any."""
    if not report.found.constants:
        return None
    rows = tuple(
        (f"{c.relation}: {c.answer}", c.side, _number(c.facts), f"{c.share:.2f}", _number(c.test))
        for c in report.found.constants
    )
    return AuditTable(
        "Queries with a constant answer",
        ("relation: answer", "side", "facts", "share", "test"),
        rows,
        f"Facts of the relation in train, the share that has the answer (at least {CONSTANT}), and "
        "the test rows that have it. These are not leaks, but such queries test nothing; the "
        "cleaned variant keeps them.",
    )


def features_table(report: AuditReport) -> AuditTable | None:
    """Return the table of the feature set's modalities, None without a set."""
    if not report.features:
        return None
    rows = tuple(
        (
            f.modality,
            *map(_number, (f.width, f.present, f.dropped)),
            *map(_number, (f.zero, f.mean, f.duplicate, f.shared)),
        )
        for f in report.features
    )
    return AuditTable(
        f"Features '{report.feature_set}'",
        ("modality", "width", "present", "dropped", "zero", "mean", "filler", "shared"),
        rows,
        f"Present: entities with the modality, of {_number(report.found.entities)}. Dropped: rows "
        "taken for absent as filler. Of the present rows: zero, the mean of all, a vector that "
        "more than ten entities have; and those that another entity has too.",
    )


TABLES: tuple[Callable[[AuditReport], AuditTable | None], ...] = (
    splits_table,
    rules_table,
    constants_table,
    features_table,
)
"""Tables of each dataset's report."""


def text(reports: Sequence[AuditReport]) -> str:
    """Return the reports as text; several begin with a summary."""
    sections = []
    if len(reports) > 1:
        sections.append(_plain(summary_table(reports)))
    for report in reports:
        audit = report.found
        sections.append(f"{report.title} ({audit.name}), digest {audit.digest}")
        sections.append("\n".join(_wrap(line) for line in (headline(report), *_notes(report))))
        sections += [_plain(table) for make in TABLES if (table := make(report))]
        for table, sentence in leak_tables(report):
            sections += [_plain(table), _wrap(sentence)]
        sections += [_wrap(line) for line in _clean(report)]
        sections += [_wrap(line) for line in _all_verdicts(report)]
    return "\n\n".join(sections) + "\n"


def markdown(reports: Sequence[AuditReport]) -> str:
    """Return the reports as a Markdown document that begins with a summary."""
    names = " ".join(report.found.name for report in reports)
    lines = [
        "# Audit of the datasets",
        "",
        "Leaks and other reasons why figures may mislead although the files are correct. Made by",
        "",
        "```console",
        f"harness data audit {names} --format markdown --out docs/data_audit.md",
        "```",
        "",
        "Thresholds and their sources: `harness/data/leakage.py` and `audit.py`. What the cleaned "
        "variants leave out: [how numbers are computed](protocol.md#leaks-and-cleaned-splits).",
        "",
        *_piped(summary_table(reports), 2),
    ]
    for report in reports:
        audit = report.found
        lines += [f"## {report.title}", "", f"**{headline(report)}** Digest `{audit.digest}`.", ""]
        lines += [f"* {sentence}" for sentence in (*_notes(report), *_clean(report))]
        lines += [""]
        for make in TABLES:
            if table := make(report):
                lines += _piped(table, 3)
        for table, sentence in leak_tables(report):
            lines += [*_piped(table, 3), sentence, ""]
    return "\n".join(lines).rstrip() + "\n"


def summary_table(reports: Sequence[AuditReport]) -> AuditTable:
    """Return the table of leak shares, a row per dataset."""
    rows = []
    for report in reports:
        valid, test = (report.found.splits[split] for split in ("valid", "test"))
        repeats = sum(count.repeats for count in report.found.splits.values())
        constant = sum(c.test for c in report.found.constants)
        rows.append(
            (
                report.title,
                _percent(valid.share),
                _percent(test.share),
                _share(test.in_valid, test.rows),
                _share(test.unseen, test.rows),
                _share(constant, 2 * test.rows),
                _number(repeats),
            )
        )
    return AuditTable(
        "Summary",
        ("dataset", "valid", "test", "in valid", "unseen", "constant", "repeats"),
        tuple(rows),
        "Valid, test: the shares that are in train or implied by it. Then shares of test: rows "
        "that are in valid, rows with an entity or relation that train never mentions, queries "
        "(two per row) whose target is the constant answer of the relation; repeated rows of all "
        "splits.",
    )


def _notes(report: AuditReport) -> tuple[str, ...]:
    """Return the sentences on rows and on confusable identifiers."""
    return (*sentences(report.found.splits), *(f"{finding}." for finding in report.names))


def _clean(report: AuditReport) -> Iterator[str]:
    if report.clean:
        rows = ", ".join(f"{_number(report.clean[s])} {s}" for s in ("train", "valid", "test"))
        yield f"`{report.found.name}@clean` has {rows} rows."


def _plain(facts: AuditTable) -> str:
    """Return a table as text, cut after :data:`_MOST` rows."""
    from tabulate import tabulate

    printed = [(_short(row[0]), *row[1:]) for row in facts.rows[:_MOST]]
    align = _alignment(facts, "left", "right")
    lines = tabulate(
        printed, facts.headings, tablefmt="simple", colalign=align, disable_numparse=True
    ).splitlines()
    hidden = len(facts.rows) - len(printed)
    remainder = [f"and {hidden} more (--format markdown)"] if hidden else []
    table = [line.rstrip() for line in lines]
    return "\n".join(
        [facts.title, "", *table, *remainder, *([_wrap(facts.below)] if facts.below else [])]
    )


def _piped(facts: AuditTable, level: int) -> Iterator[str]:
    """Yield the lines of a title and a Markdown table."""
    yield from (f"{'#' * level} {facts.title}", "")
    yield f"| {' | '.join(facts.headings)} |"
    yield f"| {' | '.join(_alignment(facts, '---', '---:'))} |"
    for row in facts.rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield from ("", facts.below, "")


def _alignment(facts: AuditTable, leading: str, numeric: str) -> list[str]:
    """Return the alignment mark of each column; columns of numbers align right."""
    first = facts.rows[0]
    return [numeric if cell[:1].isdigit() and i else leading for i, cell in enumerate(first)]


def _wrap(line: str) -> str:
    return textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _short(name: str) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(name) <= _NAME:
        return name
    return f"{set_cell_size(name, _NAME - 1)}\N{HORIZONTAL ELLIPSIS}"


def _number(n: int) -> str:
    return f"{n:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _share(count: int, total: int) -> str:
    return _percent(count / total if total else 0.0)


def as_json(reports: Sequence[AuditReport]) -> str:
    """Return reports as a JSON list."""
    rows = [
        {**asdict(report), "excess": report.excess, "feature_excess": report.feature_excess}
        for report in reports
    ]
    # What a card acknowledges is a pydantic model, which dataclasses leave as it is.
    return json.dumps(rows, indent=2, ensure_ascii=False, default=BaseModel.model_dump) + "\n"


AUDIT_FORMATS: dict[str, Callable[[Sequence[AuditReport]], str]] = {
    "text": text,
    "markdown": markdown,
    "json": as_json,
}
"""Format -> the function that prints reports in it."""
