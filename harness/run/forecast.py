"""Time and memory of runs before they are executed; nothing is written but what probes measure."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from harness.environment import results_folder
from harness.errors import ConfigError, MissingDataError, StoreError
from harness.events import Message, OnEvent, ShouldStop, ignore, never
from harness.model import MODELS
from harness.pipeline import resolve_device
from harness.plan import memory
from harness.plan.cell import Cell
from harness.plan.expand import Plan, identify, without_missing
from harness.plan.memory import MemoryBound, data_size, least_memory, parameters_by_module
from harness.plan.possible import usual_loss
from harness.plan.search import Search, searches
from harness.plan.single import plan_values
from harness.plan.spec import RunSpec
from harness.run.costs import Cost, CostTable
from harness.run.digests import UNKNOWN, known_digests
from harness.run.events import RunEnded, RunProgress
from harness.run.executors import Execution, ExecutionOptions, read_execution
from harness.run.jobs import Needs
from harness.run.memory import MemoryNeed, shortage
from harness.run.processes import threads_per_worker
from harness.run.study import StudyPlan
from harness.run.suite import Overrides, check_execution, load_suite, nested, started
from harness.store import check_home, read_home
from harness.store.records import Status

if TYPE_CHECKING:
    from harness.run.cluster.settings import DefaultNeeds

__all__ = [
    "Forecast",
    "ForecastRow",
    "ModelCosts",
    "PlanProgress",
    "dry_run",
    "dry_run_study",
    "model_costs",
]


@dataclass(frozen=True)
class ForecastRow:
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
        failed: runs that are executed again only with ``retry_failed``.
        unknown: runs whose features are not encoded yet, which leaves their ids unknown.
    """

    finished: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()

    def pending(self, runs: Sequence[str]) -> list[str]:
        """Return the runs that a command would execute."""
        ended = self.finished | self.failed
        return [run for run in runs if run not in ended]


@dataclass(frozen=True)
class Forecast:
    """Time and memory of the runs of a plan.

    Attributes:
        plan: the runs, and excluded cells.
        rows: rows of the plan on each dataset.
        progress: runs that earlier commands executed.
        workers: runs at the same time.
        limit: bytes of memory there are.
        searches: searches of a study, with the number of trials of each.
        arrays: needs of pending runs on a cluster, with the number of runs.
    """

    plan: Plan
    rows: Sequence[ForecastRow]
    progress: PlanProgress = PlanProgress()
    workers: int = 1
    limit: float = float("inf")
    searches: Sequence[tuple[Search, int]] = ()
    arrays: Sequence[tuple[Needs, int]] = ()

    @property
    def shortage(self) -> list[str]:
        """Lines that name the pending runs that need more memory than there is."""
        needs = [
            MemoryNeed(f"{row.label} on {row.dataset}", row.memory, row.bound.remedy)
            for row in self.rows
            if not isinstance(row.bound, str)
            for _ in self.progress.pending(row.runs)
        ]
        return shortage(needs, self.limit, self.workers)


def dry_run(
    suite: Plan | str | Path,
    *,
    home: Path | str | None = None,
    only: Sequence[str] = (),
    probe: bool = False,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> Forecast:
    """Return the time and memory of the runs of a suite, at most, from earlier measurements.

    Nothing is encoded, and no database is needed.

    Args:
        suite, only, execution: as for ``run_suite``.
        home: results folder with earlier runs; it need not exist, but it must be possible to make
            it.
        probe: train rows of unknown time for two epochs first.
        on_event: receives the events of probes.
        should_stop: asked during probes.

    Raises:
        ConfigError: as ``run_suite``.
        MissingDataError: no dataset of the plan is on this machine.
        StoreError: the database cannot be read.
        MachineError: ``home`` is no folder, and none can be made there.
    """
    settings = read_execution(execution)
    plan = suite if isinstance(suite, Plan) else load_suite(suite)
    plan = plan.select(only) if only else plan
    check_execution(settings)
    datasets = {run.spec.data.dataset for run in plan.runs}
    on_event(Message(f"reading {', '.join(sorted(datasets))}"))
    folder = results_folder(home)
    check_home(folder)
    prober = _Prober(settings, folder, on_event, should_stop)
    plan = without_missing(plan, known_digests)
    progress = _progress(plan.runs, prober.home)
    rows = prober.rows(plan.runs, progress, probe=probe)
    return Forecast(
        plan,
        rows,
        progress,
        settings.at_once,
        prober.limit,
        arrays=prober.arrays(rows, progress),
    )


def dry_run_study(
    study: StudyPlan,
    *,
    home: Path | str | None = None,
    probe: bool = False,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> Forecast:
    """Return the time and memory of the trials of a study, at most; arguments as ``dry_run``."""
    settings = read_execution(execution)
    check_execution(settings)
    folder = results_folder(home)
    check_home(folder)
    prober = _Prober(settings, folder, on_event, should_stop)
    available = without_missing(study.plan, known_digests)
    searched, unsearched = searches(study.suite, study.overrides, available)
    idle = {cell.key for cell in unsearched}
    searched_cells = [cell for cell in available.cells if cell.key not in idle]
    counts = [study.trials or search.trials for search in searched]
    trial_runs, finished = zip(
        *(
            _trials(search, available, prober.home, count)
            for search, count in zip(searched, counts, strict=True)
        ),
        strict=True,
    )
    rows = [
        replace(row, runs=runs)
        for search, runs in zip(searched, trial_runs, strict=True)
        for row in prober.rows(search.base, PlanProgress(), probe=probe)
    ]
    progress = PlanProgress(finished=frozenset().union(*finished))
    return Forecast(
        replace(available, cells=(*searched_cells, *unsearched)),
        rows,
        progress,
        settings.at_once,
        prober.limit,
        tuple(zip(searched, counts, strict=True)),
    )


@dataclass(frozen=True)
class ModelCosts:
    """Parameters, memory and time of one run of a model on a dataset.

    Attributes:
        dataset, features: names.
        modalities: modalities that the model is offered.
        entities, relations: sizes of the graph.
        parameters: number of parameters by module.
        epochs, loss: of the training; None for a model that is not trained.
        seconds, bytes: time and memory at most; None where nothing comparable was measured.
        least_bytes: lower bound of the memory.
        measured_on: hardware of the measurement; "" for this machine's, None without any.
        shortage: lines that say that the memory does not suffice.
    """

    dataset: str
    features: str
    modalities: list[str]
    entities: int
    relations: int
    parameters: Mapping[str, int]
    epochs: int | None
    loss: str | None
    seconds: float | None
    bytes: float | None
    least_bytes: float
    measured_on: str | None
    shortage: list[str] = field(default_factory=list)


def model_costs(
    name: str,
    dataset: str,
    features: str | None = None,
    overrides: Overrides = (),
    *,
    home: Path | str | None = None,
    probe: bool = False,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    **execution: Unpack[ExecutionOptions],
) -> ModelCosts:
    """Return parameters, memory and time of one run of a model on a dataset.

    Args:
        name: name of the model.
        dataset: name of the dataset.
        features: feature set; "none", or the first that the model can do with, when None.
        overrides: settings of the run.
        home, probe, on_event, should_stop, execution: as for ``dry_run``.

    Raises:
        ConfigError: an unknown dataset, feature set, option or setting.
        MissingDataError: the dataset is not on this machine.
        Exception: whatever the model raises when it is built or run.
    """
    settings = read_execution(execution)
    run = _default_run(name, dataset, features, nested(overrides))
    spec, size = run.spec, data_size(run.spec.data)
    prober = _Prober(settings, results_folder(home), on_event, should_stop)
    bound = least_memory(spec, size, prober.device_type)
    if probe and prober.costs.cost(spec) is None and bound.size <= prober.limit:
        prober.probe([run])
    cost = prober.costs.cost(spec)
    need = MemoryNeed(
        f"{run.label} on {dataset}", max(bound.size, cost.memory if cost else 0.0), bound.remedy
    )
    trained = MODELS.get(name).capabilities.trainable
    return ModelCosts(
        dataset=spec.data.dataset,
        features=spec.data.features,
        modalities=[modality for modality, _ in size.features],
        entities=size.entities,
        relations=size.relations,
        parameters=parameters_by_module(spec.model, size),
        epochs=spec.training.epochs if trained else None,
        loss=spec.objective.loss if trained else None,
        seconds=cost.seconds(spec.training) if cost else None,
        bytes=cost.memory if cost else None,
        least_bytes=bound.size,
        measured_on=cost.platform if cost else None,
        shortage=shortage([need], prober.limit),
    )


@dataclass
class _Prober:
    """Looks up the costs of runs, and measures them where they are unknown."""

    settings: Execution
    home: Path
    on_event: OnEvent
    should_stop: ShouldStop

    def __post_init__(self) -> None:
        threads = self.settings.threads
        if self.settings.at_once > 1 and not threads:
            threads = threads_per_worker(self.settings.at_once)
        self.defaults: DefaultNeeds | None = None
        if self.settings.on_cluster:
            self._plan_for_cluster()
            return
        device = resolve_device(self.settings.first_device)
        self.device_type = device.type
        self.limit: float = memory.memory_limit(device)
        self.costs = CostTable(self.home, self.settings.first_device, threads)

    def _plan_for_cluster(self) -> None:
        """Ask nothing of this machine: its devices and memory are not those of the nodes."""
        from harness.run.cluster.needs import cluster_costs, gpus_of
        from harness.run.cluster.settings import engine_settings

        settings = self.settings
        self.defaults = engine_settings(settings.executor, settings.engine).needs
        self.device_type = "cuda" if gpus_of(settings.device, self.defaults) else "cpu"
        self.limit = math.inf
        self.costs = cluster_costs(self.home, settings.device, self.defaults, settings.threads)

    def arrays(
        self, rows: Sequence[ForecastRow], progress: PlanProgress
    ) -> Sequence[tuple[Needs, int]]:
        """Return the needs of pending runs on a cluster, with their number; none elsewhere."""
        from harness.run.cluster.needs import gpus_of, needs_of

        if self.defaults is None:
            return ()
        gpus = gpus_of(self.settings.device, self.defaults)
        cpus = self.settings.threads or self.defaults.cpus
        counts: Counter[Needs] = Counter()
        for row in rows:
            spec = RunSpec.model_validate_json(row.runs[0])
            bound = 0.0 if gpus or isinstance(row.bound, str) else row.bound.size
            needs = needs_of(row.cost, spec, self.defaults, cpus, gpus, bound)
            counts[needs] += len(progress.pending(row.runs))
        return [(needs, count) for needs, count in counts.items() if count]

    def rows(
        self, runs: Sequence[Cell], progress: PlanProgress, *, probe: bool
    ) -> list[ForecastRow]:
        """Return the rows of runs; with ``probe`` unknown costs are measured first."""
        cells: dict[tuple[int, str, str], list[Cell]] = {}
        for run in runs:
            cells.setdefault((run.position, run.dataset, run.features), []).append(run)
        rows = [self._row(group) for group in cells.values()]
        if probe:
            unknown = [
                group[0]
                for row, group in zip(rows, cells.values(), strict=True)
                if row.cost is None and row.memory <= self.limit and progress.pending(row.runs)
            ]
            self.probe(unknown)
            rows = [self._row(group) for group in cells.values()]
        return rows

    def probe(self, runs: Sequence[Cell]) -> None:
        """Measure two epochs of each run."""
        if not runs:
            return
        if self.settings.on_cluster:
            raise ConfigError("--probe measures on this machine: leave --executor out")
        number = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
        self.on_event(Message(f"measuring an epoch of {number}"))
        with started(len(runs), self.on_event):
            probes = self.costs.probe(
                runs,
                model_folders=self.settings.model_folders,
                on_event=lambda job, kind, values: self.on_event(RunProgress(job, kind, values)),
                should_stop=self.should_stop,
            )
            for job, outcome in probes:
                self.on_event(RunEnded(job, outcome))

    def _row(self, runs: Sequence[Cell]) -> ForecastRow:
        spec, label = runs[0].spec, runs[0].label
        trainable = MODELS.get(spec.model.name).capabilities.trainable
        cost = self.costs.cost(spec)
        return ForecastRow(
            label=label,
            dataset=runs[0].dataset,
            features=runs[0].features,
            seeds=tuple(run.seed for run in runs),
            runs=tuple(run.spec.model_dump_json() for run in runs),
            epochs=spec.training.epochs if trainable else None,
            seconds=cost.seconds(spec.training) if cost else None,
            cost=cost,
            bound=self._bound(spec),
        )

    def _bound(self, spec: RunSpec) -> MemoryBound | str:
        try:
            return least_memory(spec, data_size(spec.data), self.device_type)
        except Exception as error:  # a model of a user's own may raise anything
            return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _progress(
    planned: Sequence[Cell], home: Path, final: Sequence[Status] = ("ok",)
) -> PlanProgress:
    encoded, unknown = [], set()
    for run in planned:
        if known_digests(run.spec.data)[1] == UNKNOWN:
            unknown.add(run.spec.model_dump_json())
        else:
            encoded.append(run)
    with contextlib.closing(read_home(home)) as store:
        statuses = store.statuses()
    runs = {run.spec.model_dump_json(): run.run_id for run in identify(encoded, known_digests)}
    return PlanProgress(
        finished=frozenset(run for run, i in runs.items() if statuses.get(i) in final),
        failed=frozenset(run for run, i in runs.items() if statuses.get(i) == "failed"),
        unknown=frozenset(unknown),
    )


def _trials(
    search: Search, plan: Plan, home: Path, trials: int
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return a name for every run of a search, and the names of those that are finished."""
    if search.study.sampler == "grid":
        runs = [run for point in search.points() for run in search.valid_runs(point)]
        progress = _progress(runs, home, ("ok", "validated"))
        return tuple(run.spec.model_dump_json() for run in runs), progress.finished
    ended = _ended(search, plan, home)
    names = [
        [f"{search.title}|{number}|{seed}" for seed in search.seeds]
        for number in range(max(trials, ended))
    ]
    return tuple(itertools.chain(*names)), frozenset(itertools.chain(*names[:ended]))


def _ended(search: Search, plan: Plan, home: Path) -> int:
    """Return how many trials of a search have ended."""
    from harness.studies.results import search_results

    try:
        results = search_results(home, plan.suite, plan.variant)
    except (ConfigError, StoreError):  # there is none yet
        return 0
    result = next((result for result in results if result.place == search.title), None)
    return len(result.having("complete", "pruned", "failed")) if result else 0


def _default_run(
    name: str, dataset: str, features: str | None, overrides: Mapping[str, Any]
) -> Cell:
    """Return a run of a model, with a loss that it can be trained with unless one is given."""
    from harness.config.override import dotted, group_of

    usual = {"objective.loss": usual_loss(MODELS.get(name), group_of(overrides, "model"))}
    settings = {**usual, **dotted(overrides), "model.name": name, "data.dataset": dataset}
    return _planned(settings, features, dataset)


def _planned(settings: Mapping[str, Any], features: str | None, dataset: str) -> Cell:
    """Return a run with these features (None: see ``model_costs``)."""
    from harness.data.load import source

    def planned(data: Mapping[str, str]) -> Cell:
        return plan_values({**settings, **data}, "--set").runs[0]

    if features or "data.features" in settings:
        return planned({"data.features": features} if features else {})
    refusals, missing = [], []
    for name in source(dataset).feature_sets:  # "none" is the first
        try:
            return planned({"data.features": name})
        except MissingDataError:
            missing.append(name)
        except ConfigError as error:
            refusals.append(error)
    if not missing:
        raise refusals[0]
    hint = f"not on this machine: {', '.join(missing)} (`harness data show {dataset}`)"
    raise ConfigError(f"{refusals[0]}; {hint}")
