"""Which trials a study asks for next, and that it asks for the same after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.plan.expand import expand
from harness.plan.search import Search, searches
from harness.plan.suite import read_suite
from harness.store.records import MetricValue, RunRecord
from harness.studies.space import suggest
from harness.studies.study import SearchStudy, Trial, open_storage

load_models()
HEAD = """\
name: trial
datasets: [atlas]
rows: [transe]
base: {training.epochs: 2, objective.weighting: egns}
seeds: [3, 4]
study:
"""
GRID = "sampler: grid, space: {optimiser.lr: [0.1, 0.2, 0.3], model.margin: [1.0, 2.0]}"
SPACE = "space: {optimiser.lr: {low: 0.1, high: 1.0}, model.margin: {low: 1.0, high: 9.0}}"
RANDOM = f"sampler: random, trials: 5, {SPACE}"
TPE = f"sampler: tpe, trials: 15, at_once: 3, {SPACE}"
REQUIRED = f"{RANDOM}, require: model.margin < 4"

Open = Callable[..., SearchStudy]


@pytest.fixture
def begin(tmp_path: Path) -> Open:
    """Return ``begin(study, home)``: a command that has opened a study, maybe not the first."""
    return opener(tmp_path)


def opener(folder: Path) -> Open:
    def begin(text: str, home: str = "home") -> SearchStudy:
        storage = open_storage(folder / home)
        return SearchStudy(
            search_of(text), suite="trial", variant="", title="", base_id="0", storage=storage
        )

    @cache
    def search_of(text: str) -> Search:
        path = folder / "trial.yaml"
        path.write_text(f"{HEAD}  {{{text}}}\n")
        suite = read_suite(path)
        (search,), _ = searches(suite, {}, expand(suite))
        return search

    return begin


def record(seed: int, value: float) -> RunRecord:
    metric = MetricValue(
        split="valid", side="both", bucket="all", metric="mrr", value=value, queries=8
    )
    return RunRecord(
        run_id=f"{seed:012x}",
        status="validated",
        spec={"model": {"name": "transe"}, "data": {"dataset": "atlas"}},
        model="transe",
        dataset="atlas",
        dataset_digest="d",
        features="none",
        seed=seed,
        protocol="p",
        metrics=(metric,),
    )


def end(study: SearchStudy, trial: Trial) -> None:
    """End a trial with a value that depends on its point alone."""
    value = trial.point["optimiser.lr"] / (1 + trial.point["model.margin"])
    study.end(trial, [record(3, value), record(4, value)])


def points(begin: Open, text: str, home: str, width: int = 1) -> list[Any]:
    """Go through a study, opened anew for every round."""
    found = []
    while trials := begin(text, home).next_round(width):
        study = begin(text, home)
        for trial in trials:
            found.append((trial.number, trial.point))
            end(study, trial)
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Any]]:
    """Points of an uninterrupted study; each study is run once."""
    return cache(lambda text: points(opener(tmp_path_factory.mktemp("straight")), text, "home"))


@pytest.mark.parametrize("text", [GRID, RANDOM])
def test_a_round_is_as_wide_as_there_are_workers_where_trials_do_not_look_at_each_other(
    begin: Open, text: str
) -> None:
    study = begin(text)
    first = study.next_round(2)
    assert [trial.number for trial in first] == [0, 1]
    end(study, first[0])
    # The other was begun and did not end: it comes first.
    assert [trial.number for trial in begin(text).next_round(2)] == [1, 2]


def test_a_round_of_trials_that_learn_has_the_width_that_the_study_says(begin: Open) -> None:
    study = begin(TPE)
    assert [len(study.next_round(width)) for width in (1, 8)] == [3, 3]
    first, *_ = study.next_round(1)
    end(study, first)
    # Interrupted in the middle of a round it makes no other round.
    assert [trial.number for trial in begin(TPE).next_round(8)] == [1, 2]


@pytest.mark.parametrize("text", [GRID, RANDOM, REQUIRED, TPE])
def test_the_points_do_not_depend_on_the_width(
    begin: Open, straight: Callable[[str], list[Any]], text: str
) -> None:
    one = straight(text)
    assert points(begin, text, "four", width=4) == one
    assert len({tuple(point.values()) for _, point in one}) == len(one)
    assert len(one) == {GRID: 6, TPE: 15}.get(text, 5)


@pytest.mark.parametrize(
    "text",
    [GRID, *(pytest.param(text, marks=pytest.mark.slow) for text in (RANDOM, REQUIRED)), TPE],
)
@pytest.mark.parametrize("after", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_command_killed_while_it_draws_a_point_leaves_the_same_point(
    begin: Open,
    straight: Callable[[str], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    after: int,
) -> None:
    drawn = iter(range(100))

    def killed(*words: Any) -> None:
        if next(drawn) == after:
            raise KeyboardInterrupt
        suggest(*words)

    with monkeypatch.context() as patch:
        patch.setattr("harness.studies.study.suggest", killed)
        with pytest.raises(KeyboardInterrupt):
            begin(text, "killed").next_round()
    assert points(begin, text, "killed") == straight(text)


@pytest.mark.parametrize(
    ("text", "trials"), [(GRID, 6), (f"{GRID}, require: model.margin < 2", 3), (REQUIRED, 5)]
)
def test_what_is_left_counts_no_point_that_is_not_valid(
    begin: Open, text: str, trials: int
) -> None:
    study, left = begin(text), []
    while round_ := study.next_round(1):
        left.append(study.left)
        end(study, round_[0])
    assert left == list(range(trials, 0, -1))
    assert study.left == 0


@pytest.mark.parametrize("text", [RANDOM, TPE])
def test_the_values_of_a_point_are_drawn_apart(
    straight: Callable[[str], list[Any]], text: str
) -> None:
    for _, point in straight(text):
        first, second = (point["optimiser.lr"] - 0.1) / 0.9, (point["model.margin"] - 1) / 8
        assert first != pytest.approx(second)
