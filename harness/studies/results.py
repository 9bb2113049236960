"""Results of studies as plain values, for the command line, figures and notebooks.

::

    for search in search_results(results_home(), "thresholds"):
        for trial in search.trials:
            trial.settings, trial.state, trial.value, trial.runs   # seed -> run id
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from harness.config.search import Domain
from harness.errors import ConfigError, StoreError, suggest
from harness.evaluation.expected import expected_best, running_best
from harness.plan.study import trial_label
from harness.store.records import Cell, check_value
from harness.studies.space import Curve, decode
from harness.studies.study import DATABASE, damaged, explained, open_storage, study_name

__all__ = [
    "SearchResult",
    "TrialResult",
    "importances",
    "search_results",
    "studies",
    "study_cells",
]

T = TypeVar("T")
State = Literal["complete", "pruned", "failed", "invalid", "unfinished"]

FEWEST = 4
"""Complete trials below which importances say nothing."""


@dataclass(frozen=True)
class TrialResult:
    """A point of a search and what became of it.

    Attributes:
        number: from 0.
        state: complete; pruned; failed; invalid (its values do not go together, it has no runs);
            or unfinished.
        settings: searched key -> value.
        value: mean validation MRR over the seeds, a fraction; None unless complete.
        values: seed -> validation MRR, of a complete trial.
        runs: seed -> id of its run in the result store.
        curve: epoch -> validation MRR of the first seed.
        reason: why it failed, or is not valid.
    """

    number: int
    state: State
    settings: Mapping[str, Any]
    value: float | None
    values: Mapping[int, float]
    runs: Mapping[int, str]
    curve: Curve
    reason: str = ""

    @property
    def reached(self) -> float:
        """Value of the trial; a pruned one has its best validation MRR, a failed one 0."""
        if self.state == "pruned":
            return max(self.curve.values(), default=0.0)
        return self.value or 0.0


@dataclass(frozen=True)
class SearchResult:
    """A row on a dataset, and its trials.

    Attributes:
        suite, variant, title: of the study; variant is the digest of ``--set``.
        label, model, dataset, features: the row and the dataset.
        sampler: "grid", "random" or "tpe".
        space: searched key -> domain.
        seeds: of each trial.
        trials: in the order they were made.
        name: what Optuna calls it.
    """

    suite: str
    variant: str
    title: str
    label: str
    model: str
    dataset: str
    features: str
    sampler: str
    space: Mapping[str, Domain]
    seeds: tuple[int, ...]
    trials: tuple[TrialResult, ...]
    name: str

    @property
    def place(self) -> str:
        """Row, dataset and features, as printed."""
        features = "" if self.features == "none" else f" [{self.features}]"
        return f"{self.label} on {self.dataset}{features}"

    def having(self, *states: State) -> tuple[TrialResult, ...]:
        """Return the trials with one of these states."""
        return tuple(trial for trial in self.trials if trial.state in states)

    @property
    def best(self) -> TrialResult | None:
        """The complete trial with the highest value, the earliest of equals; None without any."""
        return max(self.having("complete"), key=lambda trial: trial.value or 0.0, default=None)

    def trial(self, number: int) -> TrialResult:
        """Return a trial by its number.

        Raises:
            ConfigError: there is none, it has no runs, or one of them failed.
        """
        match = next((trial for trial in self.trials if trial.number == number), None)
        if match is None:
            raise ConfigError(f"{self.place}: no trial {number}; there are {len(self.trials)}")
        if match.state == "invalid":
            raise ConfigError(f"{self.place}: trial {number} was not run: {match.reason}")
        if match.state == "failed":
            raise ConfigError(f"{self.place}: trial {number} failed: {match.reason}")
        return match

    def best_by_budget(self) -> list[float]:
        """Return the best validation MRR against the number of trials, from one on.

        Expected over random draws (``expected_best``), where the trials are independent; with the
        sampler "tpe" the best so far. Points that are not valid took no budget.
        """
        values = [trial.reached for trial in self.having("complete", "pruned", "failed")]
        return running_best(values) if self.sampler == "tpe" else expected_best(values)


def studies(home: Path) -> dict[str, str]:
    """Return the studies of a results folder: name -> title.

    Raises:
        StoreError: their database cannot be used, or there is none.
    """
    storage = open_storage(home, create=False)
    with explained(home), _sound(home):
        return {a["suite"]: a["title"] for _, a in _attributes(storage)}


def search_results(home: Path, suite: str, variant: str = "") -> tuple[SearchResult, ...]:
    """Return the searches of a study, in the order of its table.

    Args:
        home: results folder.
        suite: name of the study.
        variant: digest of the ``--set`` settings it was run with.

    Raises:
        ConfigError: there is no such study, or no such variant of it.
        StoreError: the database of studies cannot be used, or there is none.
    """
    storage = open_storage(home, create=False)
    with explained(home), _sound(home):
        every = list(_attributes(storage))
        mine = [(name, a) for name, a in every if a["suite"] == suite]
        if not mine:
            names = dict.fromkeys(a["suite"] for _, a in every)
            raise ConfigError(f"no study '{suite}'{suggest(suite, names)}")
        matches = [(name, a) for name, a in mine if a["variant"] == variant]
        if not matches:
            variants = sorted({a["variant"] for _, a in mine} - {""})
            reason = f"has no variant '{variant}'" if variant else "was run with --set alone"
            hint = f"; add --variant {variants[0]}" if variants else ""
            raise ConfigError(f"study '{suite}' {reason}{hint}")
        ordered = sorted(matches, key=lambda item: int(item[1]["place"]))
        return tuple(_result(storage, name, attributes) for name, attributes in ordered)


@contextlib.contextmanager
def _sound(home: Path) -> Iterator[None]:
    """Turn what a value of a damaged or edited database leads to into an error that says so."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise damaged(home, error) from error


def importances(home: Path, search: SearchResult) -> dict[str, float] | None:
    """Return how much each searched setting matters for coming among the best tenth of the trials.

    PED-ANOVA: Watanabe et al., PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
    Arbitrary Subspaces (IJCAI 2023). Shares that sum to one, the largest first; None when too few
    trials are complete.
    """
    complete = search.having("complete")
    if len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return None
    storage = open_storage(home, create=False)
    with explained(home), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental in some versions of Optuna
        study = optuna.load_study(study_name=search.name, storage=storage)
        importances = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return importances if any(importances.values()) else None


def study_cells(results: Sequence[SearchResult]) -> list[Cell]:
    """Return the places of all trials in their suite's table; points that are not valid have none,
    and the seeds that a pruned trial was spared neither."""
    cells = []
    position = 0
    for search in results:
        for trial in search.trials:
            runs = list(trial.runs.items())
            for seed, run_id in runs[:1] if trial.state == "pruned" else runs:
                cells.append(
                    Cell(
                        suite=search.suite,
                        variant=search.variant,
                        position=position,
                        label=trial_label(search.label, trial.number),
                        dataset=search.dataset,
                        features=search.features,
                        seed=seed,
                        run_id=run_id,
                    )
                )
            position += 1
    return cells


def _attributes(storage: RDBStorage) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and attributes of every study that the harness made."""
    for study in storage.get_all_studies():
        if "suite" in study.user_attrs:
            yield study.study_name, study.user_attrs


def _result(storage: RDBStorage, name: str, attributes: Mapping[str, Any]) -> SearchResult:
    definition = attributes["definition"]
    space = {k: Domain.model_validate(domain) for k, domain in definition["space"].items()}
    table = (attributes[key] for key in ("suite", "variant", "label", "dataset", "features"))
    if name != study_name(*table):
        raise ValueError(f"study {name!r} is of another search by its attributes")
    study = optuna.load_study(study_name=name, storage=storage)
    trials = study.get_trials(deepcopy=False)
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise ValueError(f"study {name!r}: its trials are not numbered from 0 on")
    names = ("suite", "variant", "title", "label", "model", "dataset", "features")
    return SearchResult(
        **{key: attributes[key] for key in names},
        sampler=definition["sampler"],
        space=space,
        seeds=tuple(definition["seeds"]),
        trials=tuple(_trial(t, space) for t in trials if t.state != TrialState.WAITING),
        name=name,
    )


def _by_seed(stored: Mapping[str, Any], kind: Callable[[Any], T]) -> dict[int, T]:
    """Return values that Optuna stores by seed; JSON has no numbers as keys."""
    return {int(seed): kind(value) for seed, value in stored.items()}


def _mrr(stored: Any) -> float:
    check_value("mrr", value := float(stored))
    return value


def _trial(trial: FrozenTrial, space: Mapping[str, Domain]) -> TrialResult:
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(
        trial.state.name, "unfinished"
    )
    attributes = trial.user_attrs
    if "invalid" in attributes:
        state = "invalid"
    if state == "complete" and not trial.params:
        raise StoreError(
            f"{DATABASE}: trial {trial.number} is complete and has no settings: the database is "
            "damaged; move it away, and `harness study run SUITE` makes it again without training"
        )
    return TrialResult(
        number=trial.number,
        state=cast("State", state),
        settings=decode(space, trial.params) if trial.params else {},
        value=_mrr(trial.value) if state == "complete" else None,
        values=_by_seed(attributes.get("values", {}), _mrr),
        runs=_by_seed(attributes.get("runs", {}), str),
        curve={int(epoch): _mrr(mrr) for epoch, mrr in trial.intermediate_values.items()},
        reason=attributes.get("invalid") or attributes.get("error") or "",
    )
