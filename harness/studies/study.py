"""The trials of a search, kept in an Optuna study that the same command resumes.

Trials run in rounds. The trials of a round know the results of earlier rounds, not of each other,
and results are reported in the order of trial numbers: the outcome of a study depends neither on
the number of workers nor on interruptions.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import OptunaError
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import ConfigError, InconsistentError, StoreError, raised_at
from harness.plan.cell import Cell
from harness.plan.search import Search
from harness.plan.spec import changed_values
from harness.store import store_address
from harness.store.failures import WAIT, explain, is_damaged
from harness.store.postgresql import PostgresDatabase, connect_arguments
from harness.store.records import RunRecord
from harness.store.sql import database_of
from harness.studies.space import (
    Curve,
    decode,
    distributions,
    encode,
    median_limits,
    sampler,
    suggest,
)

__all__ = [
    "DATABASE",
    "SearchStudy",
    "Trial",
    "damaged",
    "explained",
    "open_storage",
    "storage_name",
    "study_name",
]

DATABASE = "studies.db"
"""File name of the database of studies, beside that of the results."""

SCHEMA = "harness_studies"
"""Schema of Optuna's tables in a database that holds the results too."""

NO_STUDIES = (
    "no studies at {}; `harness study run SUITE` makes some, and takes over without training the "
    "trials whose runs the database holds"
)

REBUILD = "harness study run SUITE, which trains nothing that is stored"
"""What makes the database of studies again."""

_LIBRARIES = tuple(Path(str(module.__file__)).parent for module in (optuna, sqlalchemy))
"""Where an error comes from that a value in the database leads to."""

DATA = "the data, the features or how numbers are made"
"""What else an id of a run stands for than settings."""

MOST_INVALID = 200
"""Draws in a row that do not make a valid trial before a study gives up."""


def storage_name(home: Path) -> str:
    """Return the name that messages give the database of studies of a results folder."""
    database = database_of(store_address(home))
    if isinstance(database, PostgresDatabase):
        return f"{database.name}, schema {SCHEMA}"
    return str(home / DATABASE)


@contextlib.contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn errors of a results folder's database of studies into errors that say what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise explain(storage_name(home), cause, rebuild=REBUILD) from error
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not any(raised_at(error, folder) for folder in _LIBRARIES):  # it is ours
            raise
        raise damaged(home, error) from error
    except (OptunaError, RuntimeError) as error:
        cause = getattr(error.__cause__, "orig", None)
        if cause is not None:
            raise explain(storage_name(home), cause, rebuild=REBUILD) from error
        raise StoreError(f"{storage_name(home)}: {error}") from error


def damaged(home: Path, error: Exception) -> StoreError:
    """Return the error to raise when a value in the database of studies cannot be one."""
    return StoreError(is_damaged(storage_name(home), error, REBUILD))


def open_storage(home: Path, *, create: bool = True) -> RDBStorage:
    """Open the studies of a results folder: on the server of its store, else in a file.

    Raises:
        StoreError: it is no database of Optuna, of another version of it, or there is none and
            ``create`` is False.
        MachineError: the folder cannot be written, or the disk is full.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database = database_of(store_address(home))
    with explained(home):
        if isinstance(database, PostgresDatabase):
            return _on_server(database, create=create)
        return _in_file(home / DATABASE, create=create)


def _in_file(path: Path, *, create: bool) -> RDBStorage:
    if not create and not path.is_file():
        raise StoreError(NO_STUDIES.format(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if create:
        path.touch()  # the file that SQLite makes ignores half of the umask
    timeout = {"connect_args": {"timeout": WAIT}}
    return RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs=timeout)


def _on_server(database: PostgresDatabase, *, create: bool) -> RDBStorage:
    """Open the studies beside a store: Optuna's tables are in a schema of their own."""
    with database.explained(), database.lock():  # two processes must not both make the tables
        if not database.has_schema(SCHEMA, create=create):
            raise StoreError(NO_STUDIES.format(f"{database.name}, schema {SCHEMA}"))
        arguments = {"connect_args": connect_arguments(database.url, schema=SCHEMA)}
        address = database.url.render_as_string(hide_password=False)
        return RDBStorage(address, engine_kwargs={"pool_pre_ping": True, **arguments})


def study_name(suite: str, variant: str, label: str, dataset: str, features: str) -> str:
    """Return the name of a search's study in Optuna."""
    with_set = f" (--set {variant})" if variant else ""
    return f"{suite}{with_set}: {label} on {dataset} [{features}]"


@dataclass(frozen=True)
class Trial:
    """A point and its runs.

    Attributes:
        number: from 0.
        point: searched key -> value.
        runs: one per seed.
    """

    number: int
    point: Mapping[str, Any]
    runs: tuple[Cell, ...]


class SearchStudy:
    """One search and its Optuna study.

    Args:
        search: what is searched.
        suite, variant, title: of the plan.
        base_id: id of the row's own run with the first seed, which names its data too.
        storage: where studies are kept.
        trials: how many to make, in place of the suite's own number.
        restart: forget the earlier trials. Their runs stay, so none is trained again.

    Raises:
        ConfigError: there is a study of this name that searched otherwise.
    """

    def __init__(
        self,
        search: Search,
        *,
        suite: str,
        variant: str,
        title: str,
        base_id: str,
        storage: RDBStorage,
        trials: int | None = None,
        restart: bool = False,
    ) -> None:
        self.search, self.budget = search, trials or search.trials
        data = search.spec.data
        name = study_name(suite, variant, search.label, data.dataset, data.features)
        if restart and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        self.study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        definition = _definition(search) | {DATA: base_id}
        stored = self.study.user_attrs.get("definition")
        if stored is not None and stored != definition:
            stored = stored if isinstance(stored, dict) else {}  # of an edited database
            changed = [key for key in definition if definition[key] != stored.get(key)]
            raise ConfigError(
                f"study '{suite}', {search.title}: changed since it was begun: "
                f"{', '.join(changed)}; give the changed study another name, or start over with "
                "--restart (runs stay, none is trained twice)"
            )
        attributes = {
            "suite": suite,
            "variant": variant,
            "title": title,
            "place": search.position,
            "label": search.label,
            "model": search.spec.model.name,
            "dataset": data.dataset,
            "features": data.features,
            "definition": definition,
            "optuna": optuna.__version__,
        }
        for key, value in attributes.items():
            if self.study.user_attrs.get(key) != value:
                self.study.set_user_attr(key, value)

    @property
    def left(self) -> int:
        """Number of trials still to be made or ended."""
        trials = self.study.get_trials(deepcopy=False)
        if self.search.study.sampler == "grid":
            open_ = (TrialState.RUNNING, TrialState.WAITING)
            visited = self._visited()
            new = (p for p in self.search.points() if _key(encode(p)) not in visited)
            return sum(bool(self.search.valid_runs(p)) for p in new) + sum(
                t.state in open_ for t in trials
            )
        ended = sum(t.state.is_finished() and not _invalid(t) for t in trials)
        return max(0, self.budget - ended)

    # --- asking ---------------------------------------------------------------------------

    def next_round(self, width: int = 1) -> list[Trial]:
        """Return the trials to run next, [] when the study is complete.

        Trials that an earlier command began and did not end come first. Points that are not valid
        are marked on the way.

        Args:
            width: most trials of a round whose trials do not look at earlier ones, where it decides
                nothing but when they end; the others have ``at_once``.

        Raises:
            ConfigError: hardly any point of the space is valid.
        """
        stored_trials = self.study.get_trials(deepcopy=False)
        running = (self._resume(t) for t in stored_trials if t.state == TrialState.RUNNING)
        trials = [trial for trial in running if trial is not None]
        stored_trials = self.study.get_trials(deepcopy=False)
        begun = sum(t.state != TrialState.WAITING and not _invalid(t) for t in stored_trials)
        waiting = sum(t.state == TrialState.WAITING for t in stored_trials)
        invalid = 0
        while not self._full(begun, len(trials), width) and (waiting or self._wants_more(begun)):
            trial = self._ask()
            waiting = max(0, waiting - 1)
            if trial is not None:
                begun, invalid = begun + 1, 0
                trials.append(trial)
                continue
            invalid += 1
            if invalid >= MOST_INVALID and self.search.study.sampler != "grid":
                raise ConfigError(
                    f"{self.search.title}: {invalid} points in a row were not valid; narrow the "
                    "study's space to what it requires"
                )
        return trials

    def _full(self, begun: int, count: int, width: int) -> bool:
        """Tell whether a round of ``count`` trials takes no more."""
        study = self.search.study
        if not study.learns:
            return count >= width
        # Counted over the whole study: one that was interrupted has the same rounds.
        return count > 0 and begun % study.at_once == 0

    def _wants_more(self, begun: int) -> bool:
        if self.search.study.sampler == "grid":
            return self._unvisited() > 0
        return begun < self.budget

    def _unvisited(self) -> int:
        return self.search.trials - len(self._visited())

    def _visited(self) -> set[tuple[tuple[str, Any], ...]]:
        """Return the points of a grid that have been drawn."""
        return {
            _key(encode(decode(self.search.space, t.params)))
            for t in self.study.get_trials(deepcopy=False)
            if t.params
        }

    def _ask(self) -> Trial | None:
        self._draw_for(len(self.study.get_trials(deepcopy=False)))
        return self._drawn(self.study.ask())

    def _resume(self, frozen: FrozenTrial) -> Trial | None:
        """Return a trial that was begun; a command may have been killed while it was drawn."""
        self._draw_for(frozen.number)
        return self._drawn(optuna.trial.Trial(self.study, frozen._trial_id))

    def _draw_for(self, number: int, key: str = "") -> None:
        self.study.sampler = sampler(self.search.study, self.search.space, number, key)

    def _drawn(self, trial: optuna.trial.Trial) -> Trial | None:
        """Draw what a trial lacks and return it; None, and marked, when it is not valid."""
        for key, distribution in distributions(self.search.space).items():
            self._draw_for(trial.number, key)
            suggest(trial, key, distribution)
        point = decode(self.search.space, trial.params)
        try:
            return Trial(trial.number, point, self.search.runs(point))
        except InconsistentError as error:
            trial.set_user_attr("invalid", error.reason)
            self._tell(trial, state=TrialState.FAIL)
            return None

    def retry_failed(self) -> int:
        """Ask again for the points whose trials failed; return how many."""
        trials = self.study.get_trials(deepcopy=False)
        earlier = [t.params for t in trials if t.state != TrialState.FAIL]
        failed = [t for t in trials if t.state == TrialState.FAIL and not _invalid(t)]
        again: list[dict[str, Any]] = []
        for trial in failed:
            if trial.params not in earlier + again:
                again.append(trial.params)
                self.study.enqueue_trial(trial.params)
        return len(again)

    # --- limits and ends ------------------------------------------------------------------

    def limits(self) -> dict[int, float]:
        """Return the validation MRR that the first seed of a trial must reach by each epoch."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return median_limits(self.search.study, (t.intermediate_values for t in complete))

    def begin(self, trial: Trial, run_ids: Mapping[int, str]) -> None:
        """Keep which runs a trial has: seed -> id."""
        runs = {str(seed): run_id for seed, run_id in run_ids.items()}
        self._handle(trial).set_user_attr("runs", runs)

    def end(self, trial: Trial, records: Sequence[RunRecord | None], message: str = "") -> None:
        """Keep how a trial ended.

        Args:
            trial: one of ``next_round``.
            records: of its runs, by seed; None where there is none.
            message: what is said of a run that failed without a record.
        """
        handle = self._handle(trial)
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for epoch, value in _curve(records[0]).items():
            if epoch not in reported:
                handle.report(value, epoch)
        every = [(r.seed, r.metric("mrr", "valid")) for r in records if r]
        values = {seed: value for seed, value in every if value is not None}
        if records[0] is not None and records[0].status == "pruned" and not message:
            self._tell(handle, state=TrialState.PRUNED)
            return
        if len(values) == len(trial.runs):
            handle.set_user_attr("values", {str(seed): value for seed, value in values.items()})
            self._tell(handle, value=math.fsum(values.values()) / len(values))
            return
        error = next((r.error for r in records if r and r.error), None) or message
        handle.set_user_attr("error", error.partition("\n")[0] or "a run has no result")
        self._tell(handle, state=TrialState.FAIL)

    def _tell(
        self,
        trial: optuna.trial.Trial,
        *,
        value: float | None = None,
        state: TrialState | None = None,
    ) -> None:
        # A grid that has been visited wants to stop the loop of Study.optimize, which is not used.
        self.study.sampler = RandomSampler()
        self.study.tell(trial, value, state=state)

    def _handle(self, trial: Trial) -> optuna.trial.Trial:
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        return optuna.trial.Trial(self.study, frozen._trial_id)

    def best(self) -> FrozenTrial | None:
        """Return the best complete trial, None when there is none."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=lambda t: t.value or 0.0, default=None)


def _key(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def _invalid(trial: FrozenTrial) -> bool:
    return "invalid" in trial.user_attrs


def _curve(record: RunRecord | None) -> Curve:
    rows = record.history if record else ()
    return {round(row["epoch"]): row["valid_mrr"] for row in rows if "valid_mrr" in row}


def _definition(search: Search) -> dict[str, Any]:
    """Return the settings that all trials of a study share, in words of the suite."""
    study = search.study
    return {
        "space": {key: domain.written() for key, domain in search.space.items()},
        "sampler": study.sampler,
        "seed of the sampler": study.seed,
        "pruner": _pruner(search),
        "number of trials at once": study.at_once if study.learns else None,
        "requirement": [str(requirement) for requirement in study.require],
        "seeds": list(search.seeds),
        "settings": changed_values(search.spec) | {"seed": None},
    }


def _pruner(search: Search) -> list[Any]:
    study = search.study
    if study.pruner == "none":
        return ["none"]
    return [study.pruner, study.startup_trials, study.warmup_epochs]
