"""``harness run --dry-run``: the plan with an estimate of time and memory.

Nothing is encoded, no database is needed, and nothing is written but the machine's rates in the
cache.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.cli.fitting import Need, readable_size, shortage
from harness.environment import cache_folder

if TYPE_CHECKING:
    from harness.plan.budget import Budget
    from harness.plan.estimator import Estimator
    from harness.plan.expand import Plan, PlannedRun
    from harness.plan.machine import Machine
    from harness.plan.search import Search
    from harness.plan.spec import DataSpec
    from harness.plan.suite import Suite
    from harness.store.records import Status

__all__ = [
    "Line",
    "Measured",
    "State",
    "accuracy",
    "describe",
    "duration",
    "lines_of",
    "measured",
    "show",
    "show_study",
]

WIDTH = 80


@dataclass(frozen=True)
class Line:
    """One line of the table: the runs of a row on a dataset, which differ in their seed alone.

    Attributes:
        label, dataset, features: the cell.
        seeds: of its runs.
        runs: the run of each seed, as JSON; equal runs of two lines are executed once.
        epochs: at most; None for models that are not trained.
        budget: of each run, or why there is no estimate.
    """

    label: str
    dataset: str
    features: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    epochs: int | None
    budget: Budget | str


@dataclass(frozen=True)
class State:
    """What earlier commands left of a plan; its runs as JSON.

    Attributes:
        finished: they are not run again.
        failed: they are run again with ``--retry-failed`` only.
        unknown: their features are not encoded yet, so what they are is not known in full, and
            neither is whether they are finished.
    """

    finished: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


def show(plan: Plan, home: Path, *, device: str, threads: int, workers: int) -> None:
    """Print the plan and what it takes at most.

    Args:
        plan: what to run.
        home: results folder; it need not exist.
        device, threads, workers: as for the run itself; threads 0 is all cores.

    Raises:
        MissingDataError: no dataset of the plan is on this machine.
        StoreError: the database in ``home`` cannot be read.
    """
    from harness.plan.expand import without_missing

    estimate, busy, limit = _measured(device, threads, workers)
    plan = without_missing(plan, _at_hand)
    state = _state(plan, home)
    lines = lines_of(plan, estimate)
    print(describe(plan, lines, state, workers=workers, busy=busy, limit=limit))


def show_study(
    suite: Suite,
    overrides: Mapping[str, Any],
    plan: Plan,
    home: Path,
    *,
    trials: int | None,
    device: str,
    threads: int,
    workers: int,
) -> None:
    """Print the searches of a study and what they take at most.

    Args:
        suite, overrides: as for ``searches``.
        plan: what is searched.
        home: results folder; it need not exist.
        trials: in place of the suite's number.
        device, threads, workers: as for ``show``.

    Raises:
        ConfigError, MissingDataError, StoreError: as ``searches`` and ``show``.
    """
    from harness.plan.expand import without_missing
    from harness.plan.search import searches

    estimate, busy, limit = _measured(device, threads, workers)
    here = without_missing(plan, _at_hand)
    found, idle = searches(suite, overrides, here)
    runs, finished = zip(*(_trials(search, here, home, trials) for search in found), strict=True)
    lines = [
        replace(line, runs=keys)
        for search, keys in zip(found, runs, strict=True)
        for line in lines_of(replace(here, runs=search.base), estimate)
    ]
    state = State(finished=frozenset().union(*finished))
    left_out = replace(here, excluded=(*here.excluded, *idle))
    print(describe(left_out, lines, state, workers=workers, busy=busy, limit=limit))
    print("\n".join(["", *(_space(search, trials) for search in found), *_STUDY_NOTES]))


_STUDY_NOTES = (
    "Time and memory are those of the suite's own settings; what is searched may change them.",
    "A trial that is pruned takes less, and so do trials that describe the same run.",
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
    """Return a name for every run of a search, and those that need not be executed any more."""
    if search.study.sampler == "grid":
        runs = [run for point in search.points() for run in search.valid_runs(point)]
        state = _state(replace(plan, runs=tuple(runs)), home, ("ok", "validated"))
        return tuple(run.spec.model_dump_json() for run in runs), state.finished
    ended = _ended(search, plan, home)
    count = max(trials or search.trials, ended)
    name = f"{search.title}|{{}}|{{}}"
    every = [[name.format(number, seed) for seed in search.seeds] for number in range(count)]
    return tuple(itertools.chain(*every)), frozenset(itertools.chain(*every[:ended]))


def _ended(search: Search, plan: Plan, home: Path) -> int:
    """Return how many trials of a search have ended."""
    from harness.errors import ConfigError, StoreError
    from harness.studies.results import search_results

    try:
        found = search_results(home, plan.suite, plan.variant)
    except (ConfigError, StoreError):  # there is none yet
        return 0
    mine = next((result for result in found if result.place == search.title), None)
    return len(mine.having("complete", "pruned", "failed")) if mine else 0


class Measured(NamedTuple):
    """What estimates are made with.

    Attributes:
        estimator, machine: looks at models; what the machine does per second.
        busy: share of the processors that others use.
        limit: bytes of memory.
    """

    estimator: Estimator
    machine: Machine
    busy: float
    limit: int


def measured(device: str, threads: int, workers: int = 1) -> Measured:
    """Measure the machine, and return what estimates runs on it; arguments as for ``show``."""
    import torch

    from harness.pipeline import resolve_device
    from harness.plan.estimator import Estimator
    from harness.plan.machine import measure_machine, memory_limit, used_by_others
    from harness.training.beside import look

    target = str(resolve_device(device))
    if workers > 1 and not threads:
        threads = max(1, (os.cpu_count() or 1) // workers)
    if threads:
        torch.set_num_threads(threads)
    # Before any data are loaded, for what the process takes then is measured too.
    machine = measure_machine(target, _machine_file(target, torch.get_num_threads()))
    busy = max(machine.busy, used_by_others())  # the models are timed now
    estimator = Estimator(target, look, announce=lambda text: print(text, file=sys.stderr))
    return Measured(estimator, machine, busy, memory_limit(torch.device(target)))


def _measured(
    device: str, threads: int, workers: int
) -> tuple[Callable[[PlannedRun], Budget | str], float, int]:
    """Return what estimates runs, how busy others keep the machine, and its bytes of memory."""
    from harness.plan.estimator import first_line

    found = measured(device, threads, workers)

    def estimate(run: PlannedRun) -> Budget | str:
        try:
            return found.estimator.budget(run, found.machine)
        except Exception as error:  # a model of a user's own may raise anything
            return first_line(error)

    return estimate, found.busy, found.limit


def lines_of(plan: Plan, estimate: Callable[[PlannedRun], Budget | str]) -> list[Line]:
    """Return the lines of a plan; one seed of each is estimated.

    Args:
        plan: what to run.
        estimate: returns the estimate of a run, or why there is none.
    """
    from harness.model import MODELS

    cells: dict[tuple[int, str, str], list[PlannedRun]] = {}
    for run in plan.runs:
        data = run.spec.data
        cells.setdefault((run.position, data.dataset, data.features), []).append(run)
    lines = []
    for runs in cells.values():
        first = runs[0]
        trainable = MODELS.get(first.spec.model.name).capabilities.trainable
        lines.append(
            Line(
                label=first.label,
                dataset=first.spec.data.dataset,
                features=first.spec.data.features,
                seeds=tuple(run.spec.seed for run in runs),
                runs=tuple(run.spec.model_dump_json() for run in runs),
                epochs=first.spec.training.epochs if trainable else None,
                budget=estimate(first),
            )
        )
    return lines


def describe(
    plan: Plan,
    lines: Sequence[Line],
    state: State,
    *,
    workers: int = 1,
    busy: float = 0.0,
    limit: float = math.inf,
) -> str:
    """Return the text of a dry run, at most 80 columns wide but for long names and reasons.

    Args:
        plan: its name, title and excluded cells are told.
        lines: ``lines_of`` the plan.
        state: what earlier commands left.
        workers: runs at the same time.
        busy: share of the processors that others used when the machine was measured.
        limit: bytes of memory there are.
    """
    title = f"{plan.suite}: {plan.title}" if plan.title else plan.suite
    parts = [title, _table(lines), *_totals(lines, state, workers), *accuracy(busy)]
    failing = {f"{line.label} on {line.dataset}: {line.budget}": None for line in lines
               if isinstance(line.budget, str)}  # fmt: skip
    if failing:
        wrapped = (textwrap.fill(f"  {text}", WIDTH, subsequent_indent="    ") for text in failing)
        parts += ["", "no estimate, and not in the totals:", *wrapped]
    short = shortage(_needs(lines, state), limit, workers)
    if short:
        parts += ["", *short]
    if plan.excluded:
        parts += ["", "not run:", *_exclusions(plan)]
    return "\n".join(parts)


def _needs(lines: Sequence[Line], state: State) -> list[Need]:
    """Return what each run that is left takes."""
    return [
        Need(f"{line.label} on {line.dataset}", line.budget.bytes, line.budget.remedy)
        for line in lines
        if not isinstance(line.budget, str)
        for run in line.runs
        if run not in state.finished | state.failed
    ]


def _table(lines: Sequence[Line]) -> str:
    from io import StringIO

    from rich.table import Table

    from harness.screen import SafeConsole

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("row", "dataset", "features", "seeds"):
        table.add_column(name, overflow="fold")
    for name in ("epochs", "time/run", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        costs = ("not known", "not known")
        if not isinstance(line.budget, str):
            costs = duration(line.budget.seconds), readable_size(line.budget.bytes)
        epochs = "-" if line.epochs is None else str(line.epochs)
        seeds = " ".join(map(str, line.seeds))
        table.add_row(line.label, line.dataset, line.features, seeds, epochs, *costs)
    stream = StringIO()
    SafeConsole(file=stream, width=WIDTH).print(table)
    return "\n".join(text.rstrip() for text in stream.getvalue().splitlines())


def _totals(lines: Sequence[Line], state: State, workers: int) -> list[str]:
    costs = {run: line.budget for line in lines for run in line.runs}
    left = [run for run in costs if run not in state.finished | state.failed]
    texts = ["", _total("all", list(costs), costs, workers)]
    if state.finished & costs.keys():
        texts.append(f"finished already: {_runs(len(state.finished & costs.keys()))}")
    if state.failed & costs.keys():
        count = _runs(len(state.failed & costs.keys()))
        texts.append(f"failed earlier: {count}, skipped without --retry-failed")
    if len(left) < len(costs):
        texts.append(_total("left", left, costs, workers))
    if state.unknown & costs.keys():
        count = _runs(len(state.unknown & costs.keys()))
        texts.append(
            f"not known to be finished: {count}, whose features are encoded first\n"
            "  (minutes, once per dataset; not in the estimate)"
        )
    return texts


def accuracy(busy: float) -> list[str]:
    """Return the lines that say how far estimates may be off."""
    from harness.plan.machine import BUSY

    told = [
        "Times are upper bounds: early stopping (training.patience) may end runs sooner.",
        "On this machine when idle: time within a factor of two, memory within a quarter.",
    ]
    if busy >= BUSY:
        told.append(
            f"It was not idle when measured (others used {busy:.0%} of its processors), so times\n"
            "may be too long; a dry run when it is idle measures it again."
        )
    return told


def _total(name: str, runs: Sequence[str], costs: dict[str, Budget | str], workers: int) -> str:
    from harness.plan.budget import START_UP

    known = [cost for cost in (costs[run] for run in runs) if not isinstance(cost, str)]
    text = f"{name}: {_runs(len(runs))}"
    if not known:
        return text
    if workers == 1:
        seconds = sum(cost.seconds for cost in known) + START_UP
    else:  # a process for each run
        each = [cost.seconds + START_UP for cost in known]
        seconds = max(*each, sum(each) / workers) if len(each) > 1 else each[0]
    memory = sum(sorted((cost.bytes for cost in known), reverse=True)[:workers])
    how = "one at a time" if workers == 1 else f"{workers} at a time"
    return f"{text}, at most {duration(seconds)} {how}, {readable_size(memory)} of memory"


def _exclusions(plan: Plan) -> list[str]:
    """Return excluded cells by reason."""
    reasons: dict[str, list[str]] = {}
    for cell in plan.excluded:
        seed = "" if cell.seed is None else f" (seed {cell.seed})"
        features = "" if cell.features == "none" else f" [{cell.features}]"
        where = f"{cell.label} on {cell.dataset}{features}{seed}"
        if where not in reasons.setdefault(cell.reason, []):
            reasons[cell.reason].append(where)
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


def _at_hand(data: DataSpec) -> tuple[str, str]:
    """Return the digest of the graph; of the features too ("?" where they must be encoded)."""
    from harness.data.load import load, load_graph, unencoded

    if unencoded(data.dataset, data.features):
        return load_graph(data.dataset).digest, "?"
    dataset = load(data.dataset, data.features, data.modalities)
    return dataset.graph.digest, dataset.features.digest


def _state(plan: Plan, home: Path, done: Sequence[Status] = ("ok",)) -> State:
    from harness.plan.expand import identify
    from harness.store import DATABASE, open_store

    known = tuple(run for run in plan.runs if _at_hand(run.spec.data)[1] != "?")
    unknown = {run.spec.model_dump_json() for run in plan.runs if run not in known}
    statuses: Mapping[str, str] = {}
    if (home / DATABASE).is_file():
        store = open_store(home / DATABASE, create=False, write=False)
        try:
            statuses = store.statuses()
        finally:
            store.close()
    runs = {
        run.spec.model_dump_json(): run_id
        for run_id, run in identify(replace(plan, runs=known), _at_hand)
    }
    return State(
        finished=frozenset(run for run, i in runs.items() if statuses.get(i) in done),
        failed=frozenset(run for run, i in runs.items() if statuses.get(i) == "failed"),
        unknown=frozenset(unknown),
    )


def _machine_file(device: str, threads: int) -> Path:
    return cache_folder() / "machine" / f"{device.replace(':', '-')}-{threads}.json"
