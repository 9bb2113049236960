"""``harness run --dry-run``: the plan with the time and memory of its runs.

Nothing is encoded, no database is needed, and nothing is written but what ``--probe`` measures.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.fitting import MemoryNeed, readable_size, shortage

if TYPE_CHECKING:
    from harness.costs import Cost, CostTable
    from harness.plan.expand import Plan, PlannedRun
    from harness.plan.memory import MemoryBound
    from harness.plan.search import Search
    from harness.plan.spec import DataSpec, RunSpec
    from harness.plan.suite import Suite
    from harness.store.records import Status

__all__ = [
    "DryRunOptions",
    "PlanProgress",
    "PlanRow",
    "describe",
    "duration",
    "open_costs",
    "probe",
    "show",
    "show_study",
]

WIDTH = 80
PROBE_HINT = "unknown: --probe trains these rows for two epochs and keeps time and memory."


@dataclass(frozen=True)
class DryRunOptions:
    """Options of a dry run, as for the runs themselves.

    Attributes:
        device: "auto", "cpu", "cuda", ...
        threads: CPU threads of each run; 0 for all cores.
        workers: runs at the same time.
        probe: whether rows of unknown cost are measured first.
        model_folders: folders with models of the user's own.
    """

    device: str = "auto"
    threads: int = 0
    workers: int = 1
    probe: bool = False
    model_folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class PlanRow:
    """The runs of a row on a dataset, which differ only in their seed.

    Attributes:
        label, dataset, features: the cells.
        seeds: seeds of its runs.
        runs: the run of each seed, as JSON; equal runs of two rows are executed once.
        epochs: at most; None for models that are not trained.
        seconds: time of each run at most; None where nothing comparable was measured.
        cost: measurement that ``seconds`` is from.
        bound: lower bound of the memory, or why the model cannot be built.
    """

    label: str
    dataset: str
    features: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    epochs: int | None
    seconds: float | None
    cost: Cost | None
    bound: MemoryBound | str

    @property
    def memory(self) -> float:
        """Bytes: measured, else the lower bound."""
        size = 0.0 if isinstance(self.bound, str) else self.bound.size
        return max(size, self.cost.memory) if self.cost else size


@dataclass(frozen=True)
class PlanProgress:
    """Runs of a plan, as JSON, that earlier commands executed.

    Attributes:
        finished: runs that are not executed again.
        failed: runs that are executed again only with ``--retry-failed``.
        unknown: runs whose features are not encoded yet, which leaves their ids unknown.
    """

    finished: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()

    def pending(self, runs: Sequence[str]) -> list[str]:
        """Return the runs that a command would execute."""
        return [run for run in runs if run not in self.finished | self.failed]


def show(plan: Plan, home: Path, options: DryRunOptions) -> None:
    """Print the plan and what it takes at most.

    Args:
        plan: what to run.
        home: results folder; it need not exist.
        options: see there.

    Raises:
        MissingDataError: no dataset of the plan is on this machine.
        StoreError: the database in ``home`` cannot be read.
    """
    from harness.plan.expand import without_missing

    datasets = {run.spec.data.dataset for run in plan.runs}
    print(f"reading {', '.join(sorted(datasets))}", file=sys.stderr, flush=True)
    costs = open_costs(home, options)
    plan = without_missing(plan, _digests)
    progress = _progress(plan, home)
    rows = _rows(plan.runs, costs, progress, options)
    print(describe(plan, rows, progress, workers=options.workers, limit=_limit(options)))


def show_study(
    suite: Suite,
    overrides: Mapping[str, Any],
    plan: Plan,
    home: Path,
    options: DryRunOptions,
    trials: int | None = None,
) -> None:
    """Print the searches of a study and what they take at most.

    Args:
        suite, overrides: as for ``searches``.
        plan: what is searched.
        home: results folder; it need not exist.
        options: see there.
        trials: in place of the suite's number.

    Raises:
        ConfigError, MissingDataError, StoreError: as ``searches`` and ``show``.
    """
    from harness.plan.expand import without_missing
    from harness.plan.search import searches

    costs = open_costs(home, options)
    available = without_missing(plan, _digests)
    studied, unsearched = searches(suite, overrides, available)
    trial_runs, finished = zip(
        *(_trials(search, available, home, trials) for search in studied), strict=True
    )
    progress = PlanProgress(finished=frozenset().union(*finished))
    rows = [
        replace(row, runs=runs)
        for search, runs in zip(studied, trial_runs, strict=True)
        for row in _rows(search.base, costs, PlanProgress(), options)
    ]
    reduced = replace(available, excluded=(*available.excluded, *unsearched))
    print(describe(reduced, rows, progress, workers=options.workers, limit=_limit(options)))
    print("\n".join(["", *(_space(search, trials) for search in studied), *_STUDY_NOTES]))


_STUDY_NOTES = (
    "Time and memory are those of the suite's own settings; what is searched may change them.",
    "A trial that is pruned takes less, and so do trials that describe the same run.",
)


def open_costs(home: Path, options: DryRunOptions) -> CostTable:
    """Return the measurements of earlier runs, for the threads that each run will have."""
    from harness.costs import CostTable

    threads = options.threads
    if options.workers > 1 and not threads:
        threads = max(1, (os.cpu_count() or 1) // options.workers)
    return CostTable(home, options.device, threads)


def probe(runs: Sequence[PlannedRun], costs: CostTable, options: DryRunOptions) -> None:
    """Measure an epoch of each run, with progress and failures on stderr."""
    from harness.cli.progress import reporter
    from harness.cli.stopping import stop_on_signals

    if not runs:
        return
    print(f"measuring an epoch of {_runs(len(runs))}", file=sys.stderr)
    with stop_on_signals() as stop, reporter(len(runs)) as screen:
        probes = costs.probe(
            runs,
            model_folders=options.model_folders,
            on_event=screen.event,
            should_stop=stop.asked,
        )
        for job, outcome in probes:
            screen.outcome(job, outcome, None)
    if stop.asked():
        raise stop.error()


def _rows(
    runs: Sequence[PlannedRun], costs: CostTable, progress: PlanProgress, options: DryRunOptions
) -> list[PlanRow]:
    """Return the rows of the table; with ``options.probe`` unknown costs are measured first."""
    cells: dict[tuple[int, str, str], list[PlannedRun]] = {}
    for run in runs:
        data = run.spec.data
        cells.setdefault((run.position, data.dataset, data.features), []).append(run)
    rows = [_row(group, costs) for group in cells.values()]
    if options.probe:
        limit = _limit(options)
        unknown = [
            group[0]
            for row, group in zip(rows, cells.values(), strict=True)
            if row.cost is None and row.memory <= limit and progress.pending(row.runs)
        ]
        probe(unknown, costs, options)
        rows = [_row(group, costs) for group in cells.values()]
    return rows


def _row(runs: Sequence[PlannedRun], costs: CostTable) -> PlanRow:
    from harness.model import MODELS

    first = runs[0]
    spec = first.spec
    trainable = MODELS.get(spec.model.name).capabilities.trainable
    cost = costs.cost(spec)
    return PlanRow(
        label=first.label,
        dataset=spec.data.dataset,
        features=spec.data.features,
        seeds=tuple(run.spec.seed for run in runs),
        runs=tuple(run.spec.model_dump_json() for run in runs),
        epochs=spec.training.epochs if trainable else None,
        seconds=cost.seconds(spec.training) if cost else None,
        cost=cost,
        bound=_bound(spec, costs.platform.device),
    )


def _bound(spec: RunSpec, device: str) -> MemoryBound | str:
    from harness.plan.memory import data_size, least_memory

    try:
        return least_memory(spec, data_size(spec.data), device)
    except Exception as error:  # a model of a user's own may raise anything
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _limit(options: DryRunOptions) -> int:
    from harness.pipeline import resolve_device
    from harness.plan import memory

    return memory.memory_limit(resolve_device(options.device))


def describe(
    plan: Plan,
    rows: Sequence[PlanRow],
    progress: PlanProgress,
    *,
    workers: int = 1,
    limit: float = math.inf,
) -> str:
    """Return the text of a dry run, at most 80 columns wide but for long names and reasons.

    Args:
        plan: name, title and excluded cells of the plan.
        rows: rows of the table.
        progress: runs that earlier commands executed.
        workers: runs at the same time.
        limit: bytes of memory there are.
    """
    title = f"{plan.suite}: {plan.title}" if plan.title else plan.suite
    lines = [title, _table(rows), *_totals(rows, progress, workers), *_notes(rows)]
    lines += _broken(rows)
    needs = [
        MemoryNeed(f"{row.label} on {row.dataset}", row.memory, row.bound.remedy)
        for row in rows
        if not isinstance(row.bound, str)
        for _ in progress.pending(row.runs)
    ]
    if short := shortage(needs, limit, workers):
        lines += ["", *short]
    if plan.excluded:
        lines += ["", "not run:", *_exclusions(plan)]
    return "\n".join(lines)


def _broken(rows: Sequence[PlanRow]) -> list[str]:
    """Return lines on the models that cannot be built."""
    reasons = [f"  {r.label} on {r.dataset}: {r.bound}" for r in rows if isinstance(r.bound, str)]
    if not reasons:
        return []
    wrapped = [textwrap.fill(reason, WIDTH, subsequent_indent="    ") for reason in reasons]
    return ["", "cannot be built:", *dict.fromkeys(wrapped)]


def _table(rows: Sequence[PlanRow]) -> str:
    from io import StringIO

    from rich.table import Table

    from harness.screen import SafeConsole

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("row", "dataset", "features", "seeds"):
        table.add_column(name, overflow="fold")
    for name in ("epochs", "time/run", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    platforms = _platforms(rows)
    for row in rows:
        epochs = "-" if row.epochs is None else str(row.epochs)
        seeds = " ".join(map(str, row.seeds))
        time = "unknown" if row.seconds is None else duration(row.seconds)
        if row.cost and row.cost.platform:
            time += "*" * (1 + platforms.index(row.cost.platform))
        memory = readable_size(row.memory)
        if row.cost is None:
            memory = "unknown" if isinstance(row.bound, str) else f"≥ {memory}"
        table.add_row(row.label, row.dataset, row.features, seeds, epochs, time, memory)
    stream = StringIO()
    SafeConsole(file=stream, width=WIDTH).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _platforms(rows: Sequence[PlanRow]) -> list[str]:
    """Return the other machines that costs are from, each once."""
    return list(dict.fromkeys(r.cost.platform for r in rows if r.cost and r.cost.platform))


def _totals(rows: Sequence[PlanRow], progress: PlanProgress, workers: int) -> list[str]:
    by_run = {run: row for row in rows for run in row.runs}
    pending = progress.pending(list(by_run))
    texts = ["", _total("all", list(by_run.values()), workers)]
    if finished := progress.finished & by_run.keys():
        texts.append(f"finished already: {_runs(len(finished))}")
    if failed := progress.failed & by_run.keys():
        texts.append(f"failed earlier: {_runs(len(failed))}, skipped without --retry-failed")
    if len(pending) < len(by_run):
        texts.append(_total("left", [by_run[run] for run in pending], workers))
    if unknown := progress.unknown & by_run.keys():
        texts.append(
            f"not known to be finished: {_runs(len(unknown))}, whose features are encoded first\n"
            "  (minutes, once per dataset; not in the time)"
        )
    return texts


def _total(name: str, rows: Sequence[PlanRow], workers: int) -> str:
    """Return the time and memory of runs, given the row of each."""
    text = f"{name}: {_runs(len(rows))}"
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
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")


def _notes(rows: Sequence[PlanRow]) -> list[str]:
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
    return [textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in notes]


def _exclusions(plan: Plan) -> list[str]:
    """Return excluded cells by reason."""
    reasons: dict[str, list[str]] = {}
    for cell in plan.excluded:
        seed = "" if cell.seed is None else f" (seed {cell.seed})"
        features = "" if cell.features == "none" else f" [{cell.features}]"
        name = f"{cell.label} on {cell.dataset}{features}{seed}"
        if name not in reasons.setdefault(cell.reason, []):
            reasons[cell.reason].append(name)
    return [
        "\n".join(
            [
                *textwrap.wrap(
                    f"{'; '.join(cells)}:", WIDTH, initial_indent="  ", subsequent_indent="  "
                ),
                *textwrap.wrap(reason, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4),
            ]
        )
        for reason, cells in reasons.items()
    ]


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def duration(seconds: float) -> str:
    """Return seconds as seconds, minutes or hours."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _digests(data: DataSpec) -> tuple[str, str]:
    """Return the digest of the graph; of the features too ("?" where they must be encoded)."""
    from harness.data import folders

    return _digests_in(data, folders.roots())


@cache
def _digests_in(data: DataSpec, roots: tuple[Path, ...]) -> tuple[str, str]:
    """``roots`` is part of the key alone: another data folder may hold another copy."""
    from harness.data.load import load, load_graph, unencoded

    if unencoded(data.dataset, data.features):
        return load_graph(data.dataset).digest, "?"
    dataset = load(data.dataset, data.features, data.modalities)
    return dataset.graph.digest, dataset.features.digest


def _progress(plan: Plan, home: Path, final: Sequence[Status] = ("ok",)) -> PlanProgress:
    from harness.plan.expand import identify
    from harness.store import read_home

    encoded = tuple(run for run in plan.runs if _digests(run.spec.data)[1] != "?")
    unknown = {run.spec.model_dump_json() for run in plan.runs if run not in encoded}
    with contextlib.closing(read_home(home)) as store:
        statuses = store.statuses()
    runs = {
        run.spec.model_dump_json(): run_id
        for run_id, run in identify(replace(plan, runs=encoded), _digests)
    }
    return PlanProgress(
        finished=frozenset(run for run, i in runs.items() if statuses.get(i) in final),
        failed=frozenset(run for run, i in runs.items() if statuses.get(i) == "failed"),
        unknown=frozenset(unknown),
    )


def _space(search: Search, trials: int | None) -> str:
    study = search.study
    pruned = "" if study.pruner == "none" else f" with {study.pruner} pruning"
    text = f"{search.title}: {study.sampler}, {trials or search.trials} trials{pruned}, over "
    lines = textwrap.wrap(
        text + ", ".join(search.space), WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )
    return "\n".join(lines)


def _trials(
    search: Search, plan: Plan, home: Path, trials: int | None
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return a name for every run of a search, and the names of those that are finished."""
    if search.study.sampler == "grid":
        runs = [run for point in search.points() for run in search.valid_runs(point)]
        progress = _progress(replace(plan, runs=tuple(runs)), home, ("ok", "validated"))
        return tuple(run.spec.model_dump_json() for run in runs), progress.finished
    ended = _ended(search, plan, home)
    count = max(trials or search.trials, ended)
    name = f"{search.title}|{{}}|{{}}"
    names = [[name.format(number, seed) for seed in search.seeds] for number in range(count)]
    return tuple(itertools.chain(*names)), frozenset(itertools.chain(*names[:ended]))


def _ended(search: Search, plan: Plan, home: Path) -> int:
    """Return how many trials of a search have ended."""
    from harness.errors import ConfigError, StoreError
    from harness.studies.results import search_results

    try:
        results = search_results(home, plan.suite, plan.variant)
    except (ConfigError, StoreError):  # there is none yet
        return 0
    result = next((result for result in results if result.place == search.title), None)
    return len(result.having("complete", "pruned", "failed")) if result else 0
