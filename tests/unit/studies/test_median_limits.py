"""The table of limits decides what Optuna's median pruner decides; each trial has its own draws."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.config.search import Domain
from harness.plan.study import Study
from harness.studies.space import distributions, median_limits, sampler
from harness.training.loop import falls_short


def made(startup: int = 3, warmup: int = 0, sampler: str = "random") -> Study:
    return Study(
        sampler=sampler, trials=9, pruner="median", startup_trials=startup, warmup_epochs=warmup
    )


@pytest.mark.parametrize("seed", range(30))
def test_a_run_is_pruned_where_optuna_would_prune_it(seed: int) -> None:
    draw = random.Random(seed)
    startup, warmup = draw.randint(1, 5), draw.choice([0, 10, 15])
    epochs = (5, 10, 15, 20)

    def curve() -> dict[int, float]:
        return {epoch: draw.random() for epoch in epochs[: draw.randint(2, 4)]}

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
    study = optuna.create_study(direction="maximize")
    curves = [curve() for _ in range(draw.randint(1, 6))]
    for held in curves:
        study.add_trial(create_trial(value=0.5, intermediate_values=held))
    limits = median_limits(made(startup, warmup), curves)
    mine = {epoch: draw.random() for epoch in epochs}
    for count in range(1, 5):
        so_far = dict(list(mine.items())[:count])
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=so_far)
        rows = [{"epoch": float(e), "valid_mrr": v} for e, v in so_far.items()]
        pruned = pruner.prune(study, trial)
        assert falls_short(rows, limits) == pruned
        if pruned:
            break


def test_without_a_pruner_there_are_no_limits() -> None:
    study = Study(sampler="random", trials=1)
    assert median_limits(study, [{1: 0.5}] * 10) == {}


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_trial_is_drawn_the_same_whatever_was_drawn_before_in_this_process(name: str) -> None:
    space = {"x": Domain(low=0.0, high=1.0), "y": Domain(choices=("a", "b", "c"))}

    def draws(*, restart_at: int) -> list[dict[str, object]]:
        study = optuna.create_study(direction="maximize")
        found = []
        done: list[FrozenTrial] = []
        for number in range(15):
            if number == restart_at:
                study = optuna.create_study(direction="maximize")
                for earlier in done:
                    study.add_trial(earlier)
            study.sampler = sampler(made(sampler=name), space, number)
            trial = study.ask(fixed_distributions=distributions(space))
            found.append(dict(trial.params))
            study.tell(trial, float(trial.params["x"]))
            done = study.get_trials()
        return found

    straight = draws(restart_at=-1)
    assert draws(restart_at=7) == straight
    assert len({trial["x"] for trial in straight}) == 15
