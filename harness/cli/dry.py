"""The text of ``harness run --dry-run`` and ``harness study run --dry-run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.cli.console import duration, folded_table, plural, readable_size, wrapped

if TYPE_CHECKING:
    from harness.plan.expand import Plan
    from harness.plan.search import Search
    from harness.run.forecast import Forecast, ForecastRow, PlanProgress

__all__ = ["describe"]

PROBE_HINT = "unknown: --probe trains these rows for two epochs and keeps time and memory."
STUDY_NOTES = (
    "Time and memory are for the suite's own settings; the search may change them.",
    "A trial that is pruned takes less, and so do trials that describe the same run.",
)


def describe(forecast: Forecast) -> str:
    """Return the text of a dry run, at most 80 columns wide but for long names and reasons."""
    plan, rows, progress = forecast.plan, forecast.rows, forecast.progress
    lines = [
        f"{plan.suite}: {plan.title}" if plan.title else plan.suite,
        _table(rows),
        *_totals(rows, progress, forecast.workers),
        *_notes(rows),
        *_broken(rows),
    ]
    if forecast.arrays:
        lines += ["", "on the cluster:"]
        lines += [f"  {plural(count, 'run')}, each {needs}" for needs, count in forecast.arrays]
    if short := forecast.shortage:
        lines += ["", *short]
    if plan.excluded:
        lines += ["", "not run:", *_exclusions(plan)]
    if forecast.searches:
        lines += ["", *(_space(search, trials) for search, trials in forecast.searches)]
        lines += STUDY_NOTES
    return "\n".join(lines)


def _broken(rows: Sequence[ForecastRow]) -> list[str]:
    """Return lines on the models that cannot be built."""
    reasons = [f"  {r.label} on {r.dataset}: {r.bound}" for r in rows if isinstance(r.bound, str)]
    if not reasons:
        return []
    lines = ["\n".join(wrapped(reason, 4)) for reason in reasons]
    return ["", "cannot be built:", *dict.fromkeys(lines)]


def _table(rows: Sequence[ForecastRow]) -> str:
    folded: dict[str, Any] = {"overflow": "fold"}
    right = {"justify": "right", "no_wrap": True}
    columns = dict.fromkeys(("row", "dataset", "features", "seeds"), folded)
    columns |= dict.fromkeys(("epochs", "time/run", "memory"), right)
    platforms = _platforms(rows)
    lines = []
    for row in rows:
        epochs = "-" if row.epochs is None else str(row.epochs)
        seeds = " ".join(map(str, row.seeds))
        time = "unknown" if row.seconds is None else duration(row.seconds)
        if row.cost and row.cost.platform:
            time += "*" * (1 + platforms.index(row.cost.platform))
        memory = readable_size(row.memory)
        if row.cost is None:
            memory = "unknown" if isinstance(row.bound, str) else f"≥ {memory}"
        lines.append([row.label, row.dataset, row.features, seeds, epochs, time, memory])
    return folded_table(columns, lines)


def _platforms(rows: Sequence[ForecastRow]) -> list[str]:
    """Return the other machines that costs are from, each once."""
    return list(dict.fromkeys(r.cost.platform for r in rows if r.cost and r.cost.platform))


def _totals(rows: Sequence[ForecastRow], progress: PlanProgress, workers: int) -> list[str]:
    by_run = {run: row for row in rows for run in row.runs}
    pending = progress.pending(list(by_run))
    texts = ["", _total("all", list(by_run.values()), workers)]
    if finished := progress.finished & by_run.keys():
        texts.append(f"finished already: {plural(len(finished), 'run')}")
    if failed := progress.failed & by_run.keys():
        texts.append(
            f"failed earlier: {plural(len(failed), 'run')}, skipped without --retry-failed"
        )
    if len(pending) < len(by_run):
        texts.append(_total("left", [by_run[run] for run in pending], workers))
    if unknown := progress.unknown & by_run.keys():
        texts.append(
            f"not known to be finished: {plural(len(unknown), 'run')}, whose features are "
            "encoded first\n  (minutes, once per dataset; not in the time)"
        )
    return texts


def _total(name: str, rows: Sequence[ForecastRow], workers: int) -> str:
    """Return the time and memory of runs, given the row of each."""
    text = f"{name}: {plural(len(rows), 'run')}"
    times = [row.seconds for row in rows if row.seconds is not None]
    if len(times) < len(rows):
        text += f", {len(rows) - len(times)} of unknown time"
    if not times:
        return text
    seconds = max(max(times), sum(times) / workers)
    memory = sum(sorted((row.memory for row in rows), reverse=True)[:workers])
    speed = "one at a time" if workers == 1 else f"{workers} at a time"
    subject = "the others " if len(times) < len(rows) else ""
    text += f", {subject}at most {duration(seconds)} {speed}, {readable_size(memory)} of memory"
    return "\n".join(wrapped(text, 2))


def _notes(rows: Sequence[ForecastRow]) -> list[str]:
    notes = []
    if any(row.cost for row in rows):
        notes.append(
            "Times are upper bounds, from earlier runs with the same sizes: early stopping "
            "(training.patience) may end runs sooner."
        )
    notes += [
        f"{'*' * number} measured on another machine: {platform}"
        for number, platform in enumerate(_platforms(rows), 1)
    ]
    if any(row.cost is None for row in rows):
        notes += ["≥: least memory, by the size of the model and its features.", PROBE_HINT]
    return ["\n".join(wrapped(note, 2)) for note in notes]


def _exclusions(plan: Plan) -> list[str]:
    """Return excluded cells by reason."""
    reasons: dict[str, list[str]] = {}
    run_rows = {cell.key[:3] for cell in plan.runs}
    for cell in plan.excluded:
        seed = f" (seed {cell.seed})" if cell.key[:3] in run_rows else ""
        features = "" if cell.features == "none" else f" [{cell.features}]"
        name = f"{cell.label} on {cell.dataset}{features}{seed}"
        if name not in reasons.setdefault(cell.reason, []):
            reasons[cell.reason].append(name)
    return [
        "\n".join(
            [
                *wrapped(f"{'; '.join(cells)}:", 2, first=2),
                *wrapped(reason, 4, first=4),
            ]
        )
        for reason, cells in reasons.items()
    ]


def _space(search: Search, trials: int) -> str:
    study = search.study
    pruned = "" if study.pruner == "none" else f" with {study.pruner} pruning"
    text = f"{search.title}: {study.sampler}, {trials} trials{pruned}, over "
    return "\n".join(wrapped(text + ", ".join(search.space), 2))
