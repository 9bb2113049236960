"""Runs as text and as plain values for ``harness runs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.analysis.differing import differing, flat
from harness.cli.console import (
    WIDTH,
    aligned,
    decimals,
    folded_table,
    percent,
    plural,
    wrapped,
)
from harness.report.repeat import repeat_commands

if TYPE_CHECKING:
    from harness.run.logs import RunLog
    from harness.run.runs import UnfinishedRun
    from harness.store.records import Cell, MetricValue, RunRecord

__all__ = [
    "describe",
    "describe_difference",
    "describe_logs",
    "describe_unfinished",
    "difference",
    "execution",
    "list_text",
    "sparkline",
    "summary",
]

BARS = "▁▂▃▄▅▆▇█"
SPARKLINE = 40
"""Characters of a sparkline."""
MAX_RUNS = 8
"""Maximum number of unfinished runs that are named for each command."""
LABEL_WIDTH = 20
"""Characters of a label that the list of runs shows in a line before it leaves out a column."""
NOTE_WIDTH = 78
"""Characters of a note's line; it is indented by two."""


def summary(record: RunRecord) -> dict[str, Any]:
    """Return one line of the list of runs as plain values; MRR as a fraction."""
    return {
        "run_id": record.run_id,
        "model": record.model,
        "dataset": record.dataset,
        "features": record.features,
        "seed": record.seed,
        "status": record.status,
        "mrr_test": record.metric("mrr"),
        "mrr_valid": record.metric("mrr", "valid"),
        "epochs": len(record.history),
    }


def execution(record: RunRecord) -> dict[str, Any]:
    """Return node and attempt of a run on a cluster; None where it was the command's machine."""
    values = record.provenance.get("execution", {})
    return {"node": values.get("node"), "attempt": values.get("number")}


def list_text(
    records: Sequence[RunRecord],
    labels: Mapping[str, Sequence[str]] | None = None,
    *,
    nodes: bool = False,
) -> str:
    """Return a table with a row per run, at most 80 columns wide unless names are long.

    Words are not broken: where there is no room, epochs are left out, then features, then the
    validation MRR, and labels go on in the next line.

    Args:
        records: the runs.
        labels: run id -> labels of its rows; the model's name without.
        nodes: instead of features and numbers show node and attempt; "-" for runs of the machine
            of their command.
    """
    rows = [_list_row(record, labels or {}) for record in records]
    hidden = ("features", "test", "valid", "ep.") if nodes else ("node", "attempt")
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in hidden}
    for name in () if nodes else ("ep.", "features", "valid"):
        if _needed_width(columns) > WIDTH:
            del columns[name]
    numbers = ("seed", "test", "valid", "ep.", "attempt")
    options = {
        name: {
            "justify": "right" if name in numbers else "left",
            "overflow": "fold",
            "min_width": _longest([name, *cells]) if name in ("run", *numbers) else len(name),
        }
        for name, cells in columns.items()
    }
    return folded_table(options, list(zip(*columns.values(), strict=True)))


def _list_row(record: RunRecord, labels: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return heading -> cell of a run in the list."""
    values = summary(record) | execution(record)
    return {
        "run": record.run_id,
        "label": _label(record, labels),
        "dataset": record.dataset,
        "features": record.features,
        "seed": str(record.seed),
        "status": record.status,
        "node": values["node"] or "-",
        "attempt": str(values["attempt"] or "-"),
        "test": percent(values["mrr_test"]),
        "valid": percent(values["mrr_valid"]),
        "ep.": str(values["epochs"]),
    }


def _needed_width(columns: Mapping[str, Sequence[str]]) -> int:
    """Return the width of a list whose labels have at least ``LABEL_WIDTH`` characters, or all, in
    a line."""
    label_words = [word for label in columns["label"] for word in label.split()]
    widths = [_longest([name, *cells]) for name, cells in columns.items() if name != "label"]
    label = max(_longest(label_words), min(_longest(columns["label"]), LABEL_WIDTH))
    return sum(widths) + label + 2 * len(widths)


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts), default=0)


def describe_unfinished(runs: Sequence[UnfinishedRun]) -> str:
    """Return the runs that can be resumed, below the command that resumes them."""
    by_command: dict[str, list[UnfinishedRun]] = {}
    for run in runs:
        by_command.setdefault(run.command, []).append(run)
    lines: list[str] = []
    for command, resumed in by_command.items():
        count = plural(len(resumed), "run")
        lines += wrapped(f"{count} interrupted, or still running; `{command}` resumes:")
        rows = [[r.run_id, r.label, r.dataset, f"seed {r.seed}"] for r in resumed[:MAX_RUNS]]
        lines += [f"  {line}" for line in aligned(rows, text=None)]
        if len(resumed) > MAX_RUNS:
            lines.append(f"  and {len(resumed) - MAX_RUNS} more")
    return "\n".join(lines)


def describe(record: RunRecord) -> str:
    """Return everything a person wants to know about a run."""
    features = record.features + (f" ({', '.join(record.modalities)})" * bool(record.modalities))
    settings = flat(record.written_spec)
    lines = [
        f"run {record.run_id}: {record.status}",
        f"  model     {record.model}",
        f"  dataset   {record.dataset}"
        + f", digest {record.dataset_digest}" * bool(record.dataset_digest),
        f"  features  {features}"
        + (
            f", digest {record.feature_digest}" * bool(features != "none" and record.feature_digest)
        ),
        f"  seed      {record.seed}",
        f"  protocol  {record.protocol or '-'}",
    ]
    sections = {
        "metrics (MRR, Hits and AMRI in percent)": _metrics(record),
        "history": _history(record.history, record.diagnostics),
        "settings": _pairs({k: v if v != "" else "none" for k, v in settings.items()}),
        "diagnostics": _diagnostics(record.diagnostics),
        "timings": _timings(record),
        "provenance": _pairs(flat(record.provenance)),
        "notes": [line for note in record.notes for line in wrapped(note, width=NOTE_WIDTH)],
        "error": (record.error or "").splitlines(),
        "in suites": [_cell(cell) for cell in record.cells],
        "repeat it with": [
            line for command in repeat_commands(record) for line in command.split("\n")
        ],
    }
    for title, content in sections.items():
        if content:
            lines += ["", title, *(f"  {line}" for line in content)]
    return "\n".join(lines)


def difference(a: RunRecord, b: RunRecord) -> dict[str, Any]:
    """Return the differing settings, metrics and provenance of two runs as plain values."""
    return {
        "runs": [a.run_id, b.run_id],
        "settings": differing(_identity(a), _identity(b)),
        "metrics": {
            " ".join(key): [_value(a, key), _value(b, key)]
            for key in dict.fromkeys([*_metric_keys(a), *_metric_keys(b)])
        },
        "provenance": differing(flat(a.provenance), flat(b.provenance)),
    }


def describe_logs(logs: Sequence[RunLog]) -> str:
    """Return the logs of a run, each below its title and its file."""
    blocks = []
    for log in logs:
        text = log.path.read_text(errors="replace").rstrip()
        blocks.append(f"== {log.title}: {log.path}\n{text or '(empty)'}")
    return "\n\n".join(blocks)


def describe_difference(a: RunRecord, b: RunRecord) -> str:
    """Return the difference of two runs for a person to read."""
    sections = difference(a, b)
    header = ["", a.run_id, b.run_id]
    lines: list[str] = []
    for title in ("settings", "provenance"):
        rows = [[key, *map(decimals, pair)] for key, pair in sections[title].items()]
        lines += [f"differing {title}" if rows else f"{title}: no difference"]
        lines += [*aligned([header, *rows]), ""] if rows else [""]
    if sections["metrics"]:
        lines += ["metrics (MRR, Hits and AMRI in percent)"]
        rows = [
            [key, *(_number(key, value) for value in pair), _change(key, *pair)]
            for key, pair in sections["metrics"].items()
        ]
        lines += aligned([[*header, "difference"], *rows])
    return "\n".join(lines).rstrip()


def _label(record: RunRecord, labels: Mapping[str, Sequence[str]]) -> str:
    """Return the label of a run, with the number of further ones."""
    row_labels = labels.get(record.run_id, ())
    more = f" (+{len(row_labels) - 1})" if len(row_labels) > 1 else ""
    return f"{row_labels[0]}{more}" if row_labels else record.model


def sparkline(values: Sequence[float], width: int = SPARKLINE) -> str:
    """Return values as bars, the lowest and the highest spanning the height."""
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width - 1)] + [values[-1]]
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def _metrics(record: RunRecord) -> list[str]:
    names = list(dict.fromkeys(m.metric for m in record.metrics))
    subsets = dict.fromkeys((m.split, m.side, m.bucket) for m in record.metrics)
    rows = [["split", "side", "part", *names, "queries"]] if subsets else []
    for split, side, bucket in subsets:
        subset_metrics = [
            m for m in record.metrics if (m.split, m.side, m.bucket) == (split, side, bucket)
        ]
        values = [_number(name, record.metric(name, split, side, bucket)) for name in names]
        rows.append([split, side, bucket, *values, str(max(m.queries for m in subset_metrics))])
    return aligned(rows, text=3)


def _history(history: Sequence[Mapping[str, float]], diagnostics: Mapping[str, float]) -> list[str]:
    """Return one sparkline per number, but for those whose last value is among the diagnostics."""
    hidden = {"epoch", *(f"valid_{name}" for name in diagnostics)}
    keys = dict.fromkeys(key for epoch in history for key in epoch if key not in hidden)
    lines = [f"{len(history)} epochs"] if history else []
    rows = []
    for key in keys:
        values = [epoch[key] for epoch in history if key in epoch]
        rows.append([key, sparkline(values), f"{values[0]:.4g} -> {values[-1]:.4g}"])
    return lines + aligned(rows, text=None)


def _diagnostics(values: Mapping[str, float]) -> list[str]:
    """Return one line per quantity: ``a/x`` and ``a/y`` stand in one, numbers without a name."""
    grouped: dict[str, list[str]] = {}
    for name, value in values.items():
        quantity, _, component = name.rpartition("/")
        prefix = f"{component} " * bool(quantity and not component.isdigit())
        value_text = f"{value:.3f}" if quantity else decimals(value)
        grouped.setdefault(quantity or name, []).append(prefix + value_text)
    return _pairs({quantity: "  ".join(texts) for quantity, texts in grouped.items()})


def _timings(record: RunRecord) -> list[str]:
    """Return one line per name: the epochs of a run are one name."""
    samples: dict[tuple[str, str], list[float]] = {}
    for sample in record.timings:
        samples.setdefault((sample.name, sample.unit), []).append(sample.value)
    rows = []
    for (name, unit), values in samples.items():
        mean = sum(values) / len(values)
        amount = f"{mean / 2**20:.1f} MiB" if unit == "bytes" else f"{mean:.3g} s"
        rows.append([name, amount + (f" (mean of {len(values)})" if len(values) > 1 else "")])
    return aligned(rows, text=None)


def _cell(cell: Cell) -> str:
    variant = f" (--set variant {cell.variant})" if cell.variant else ""
    return f"{cell.suite}{variant}: {cell.label} on {cell.dataset}, seed {cell.seed}"


def _identity(record: RunRecord) -> dict[str, Any]:
    """Return everything that can make two runs differ: settings and digests."""
    digests = {"dataset_digest": record.dataset_digest, "feature_digest": record.feature_digest}
    return {
        **flat(record.written_spec),
        **digests,
        "protocol": record.protocol,
        "status": record.status,
    }


def _metric_keys(record: RunRecord) -> list[tuple[str, str, str, str]]:
    return [_key(m) for m in record.metrics]


def _key(metric: MetricValue) -> tuple[str, str, str, str]:
    return metric.metric, metric.split, metric.side, metric.bucket


def _value(record: RunRecord, key: tuple[str, str, str, str]) -> float | None:
    return next((m.value for m in record.metrics if _key(m) == key), None)


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if metric.split()[0] == "mr" else percent(value)


def _change(metric: str, a: float | None, b: float | None) -> str:
    if a is None or b is None:
        return "-"
    text = _number(metric, b - a)
    return text if b < a else f"+{text}"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return aligned([[key, decimals(value)] for key, value in values.items()], text=None)
