"""A study from the command line: it runs, stops and goes on, is shown, promoted and exported."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import psutil  # type: ignore[import-untyped]
import pytest
from torch import Tensor
from typer.testing import CliRunner

from harness.catalog import load_models
from harness.cli.main import app
from harness.data.load import Dataset, load_dataset
from harness.errors import HarnessError
from harness.plan.expand import expand
from harness.plan.suite import read_suite
from harness.store import open_store
from harness.store.records import RunRecord
from harness.studies.results import SearchResult, TrialResult, search_results

Run = Callable[..., Any]

HEAD = """\
name: small
title: A small study
datasets: ["synthetic:entities=60,relations=4,train=300,valid=40,test=40"]
rows: [{row}]
base:
  model: {{dim: 8, margin: 3}}
  negatives.count: 4
  objective.weighting: egns
  optimiser.lr: 0.03
  training: {{epochs: {epochs}, batch_size: 128, evaluate_every: 1, patience: 0}}
seeds: [{seeds}]
"""
GRID = """\
study:
  sampler: grid
  space:
    objective.egns.delta.0: [0.1, 0.2, 0.5]
    objective.egns.delta.1: [0.5, 0.8]
  require: objective.egns.delta.0 < objective.egns.delta.1
"""
"""Five points that are valid and one that is not."""
PRUNED = """\
study:
  sampler: tpe
  trials: 6
  pruner: median
  startup_trials: 2
  at_once: 2
  space: {optimiser.lr: {low: 1e-5, high: 1e-1, log: true}}
"""


def write(
    folder: Path, study: str, *, row: str = "transe", seeds: str = "0, 1", epochs: int = 3
) -> Path:
    path = folder / "small.yaml"
    path.write_text(HEAD.format(row=row, seeds=seeds, epochs=epochs) + study)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "results"


def found(home: Path) -> SearchResult:
    (search,) = search_results(home, "small")
    return search


def trials(home: Path) -> list[TrialResult]:
    return list(found(home).trials)


def stored(home: Path) -> dict[str, RunRecord]:
    with closing(open_store(home / "harness.db", create=False)) as store:
        assert list(store.check()) == []
        return {record.run_id: record for record in store.find()}


def measured(record: RunRecord) -> dict[str, Any]:
    """All of a record but times, machines and moments."""
    values = record.model_dump(mode="json", exclude={"timings", "provenance", "cells"})
    values["history"] = [
        {name: value for name, value in row.items() if "seconds" not in name}
        for row in values["history"]
    ]
    return values


def state(home: Path) -> Any:
    """What a study has found, and everything that its runs have measured."""
    return trials(home), {run_id: measured(record) for run_id, record in stored(home).items()}


def written(home: Path) -> dict[str, tuple[int, int]]:
    """When and as which file each finished run was written: a run made again has another."""
    paths = home.glob("runs/*/record.json")
    return {p.parent.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in paths}


def epochs(home: Path, run_id: str) -> list[int]:
    """The epochs that were trained, in order, whoever asked for them."""
    lines = (home / "runs" / run_id / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def trained(home: Path) -> dict[str, list[int]]:
    """The epochs of the runs that have ended, complete or pruned."""
    return {run_id: epochs(home, run_id) for run_id in written(home)}


def with_test_numbers(home: Path) -> set[str]:
    """The runs that have a number, or ranks, of the test split."""
    ranked = {path.parent.name for path in home.glob("runs/*/ranks.npz")}
    numbers = {
        run_id
        for run_id, record in stored(home).items()
        if any(metric.split == "test" for metric in record.metrics)
    }
    assert ranked == numbers
    return numbers


# --- from the first trial to a suite ------------------------------------------------------


def test_run_show_promote_export(harness: Run, home: Path, tmp_path: Path) -> None:
    ended = harness("study", "run", write(tmp_path, GRID))
    assert ended.code == 0, ended.err
    records = stored(home)
    assert {record.status for record in records.values()} == {"validated"}
    assert with_test_numbers(home) == set()

    search = found(home)
    complete = search.having("complete")
    assert (len(complete), len(search.having("invalid"))) == (5, 1)
    assert len(records) == 10
    for trial in complete:
        runs = [records[run_id] for run_id in trial.runs.values()]
        assert [run.seed for run in runs] == [0, 1]
        values = [run.metric("mrr", "valid") or 0.0 for run in runs]
        assert trial.value == pytest.approx(sum(values) / 2, abs=1e-15)
        delta = tuple(trial.settings.values())
        assert {run.spec.objective.egns.delta for run in runs} == {delta}
    best = search.best
    assert best is not None
    assert best.value == max(trial.value or 0.0 for trial in complete)

    shown = harness("study", "show", "small")
    assert shown.code == 0, shown.err
    assert shown.out == ended.out
    assert "trials: 5 complete, 1 invalid" in shown.out
    assert f"best: trial {best.number}, validation MRR {100 * best.value:.2f}±" in shown.out
    assert "importance for being among the best tenth" in shown.out
    # Rows of the surface are values of one setting, columns of the other; 0.5 / 0.5 is not valid.
    (surface,) = re.findall(r"best trial by .*\n((?:    .*\n)+)", shown.out)
    cells = " ".join(surface.split())
    assert all(f"{100 * (trial.value or 0.0):.2f}" in cells for trial in complete)
    assert cells.count(" .") == 1

    before = written(home)
    promoted = harness("study", "promote", "small")
    assert promoted.code == 0, promoted.err
    assert with_test_numbers(home) == set(best.runs.values())
    for run_id, record in stored(home).items():
        assert epochs(home, run_id) == [1, 2, 3]
        valid = [metric for metric in record.metrics if metric.split == "valid"]
        assert valid == list(records[run_id].metrics)
    assert {r for r in before if written(home)[r] != before[r]} == with_test_numbers(home)
    assert found(home) == search
    assert f"TransE trial {best.number}" in promoted.out
    assert promoted.out.count("TransE trial") == 1

    exported = harness("study", "export", "small", "--out", tmp_path / "best.yaml")
    assert exported.code == 0, exported.err
    suite = tmp_path / "tuned.yaml"
    head = HEAD.format(row="transe", seeds="0, 1", epochs=3).replace("small", "tuned", 1)
    suite.write_text(head + "overrides:\n  - include: best.yaml\n")
    dry = harness("run", suite, "--dry-run")
    assert dry.code == 0, dry.err
    assert "finished already: 2 runs" in dry.out
    ran = harness("run", suite)
    assert ran.code == 0, ran.err
    assert "2 of 2 runs are finished already" in ran.err
    with closing(open_store(home / "harness.db", create=False)) as store:
        assert {cell.run_id for cell in store.cells("tuned")} == set(best.runs.values())


def test_settings_and_epochs_chosen_on_a_cleaned_split_are_trained_on_the_official_one(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    grid = "study: {sampler: grid, space: {optimiser.lr: [0.03, 0.3]}}\n"
    path = write(tmp_path, grid, seeds="0", epochs=6)
    path.write_text(path.read_text().replace('test=40"', 'test=40@clean"'))
    ended = harness("study", "run", path)
    assert ended.code == 0, ended.err
    best = found(home).best
    assert best is not None
    chosen = round(stored(home)[best.runs[0]].diagnostics["best_epoch"])

    official = "synthetic:entities=60,relations=4,train=300,valid=40,test=40"
    target = ["--onto", official, "--out", tmp_path / "best.yaml"]
    exported = harness("study", "export", "small", *target)
    assert exported.code == 0, exported.err
    suite = tmp_path / "official.yaml"
    head = HEAD.format(row="transe", seeds="0", epochs=6).replace("small", "official", 1)
    suite.write_text(head + "overrides:\n  - include: best.yaml\n")
    ran = harness("run", suite)
    assert ran.code == 0, ran.err
    (record,) = (record for record in stored(home).values() if record.dataset == official)
    spec = record.spec
    assert (spec.training.epochs, spec.training.select) == (chosen, "last")
    assert spec.optimiser.lr == best.settings["optimiser.lr"]
    assert record.diagnostics["best_epoch"] == chosen
    assert record.status == "ok"


def test_a_trial_may_be_worth_what_its_last_epoch_is(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    grid = "study: {sampler: grid, space: {training.epochs: [2, 5]}}\n"
    path = write(tmp_path, grid, seeds="0")
    path.write_text(path.read_text().replace("patience: 0", "select: last"))
    assert harness("study", "run", path).code == 0
    for trial in found(home).having("complete"):
        history = stored(home)[trial.runs[0]].history
        assert len(history) == trial.settings["training.epochs"]
        assert trial.value == history[-1]["valid_mrr"]


def test_the_exported_fragment_is_printed_without_out(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    assert harness("study", "run", write(tmp_path, GRID)).code == 0
    (trial, *_) = found(home).having("complete")
    printed = harness("study", "export", "small", "--trial", trial.number)
    low, high = trial.settings.values()
    assert f"objective.egns.delta: [{low}, {high}]" in printed.out
    assert f"trial {trial.number} of study 'small'" in printed.out
    path = tmp_path / "own.yaml"
    head = HEAD.format(row="transe", seeds="0, 1", epochs=3)
    path.write_text(f"{head}overrides:\n{printed.out}")
    load_models()
    specs = [run.spec for run in expand(read_suite(path)).runs]
    assert specs == [stored(home)[run_id].spec for run_id in trial.runs.values()]


# --- the test split -----------------------------------------------------------------------


class Locked(Mapping[str, Tensor]):
    """The splits of a graph, of which one raises."""

    def __init__(self, splits: Mapping[str, Tensor]) -> None:
        self._splits, self.locked = splits, ""

    def __getitem__(self, split: str) -> Tensor:
        if split == self.locked:
            raise AssertionError(f"the {split} split was read")
        return self._splits[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)


@pytest.fixture
def _locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs get graphs whose test split cannot be read."""

    def locked(*words: Any) -> Dataset:
        dataset = load_dataset(*words)
        splits = Locked(dataset.graph.splits)
        graph = replace(dataset.graph, splits=splits)
        # Kept; what comes later cannot look.
        assert graph.digest == dataset.graph.digest
        assert graph.digests == dataset.graph.digests
        splits.locked = "test"
        return replace(dataset, graph=graph)

    load_models()
    monkeypatch.setattr("harness.pipeline.load_dataset", locked)


@pytest.mark.parametrize("study", [GRID, PRUNED], ids=["grid", "pruned"])
@pytest.mark.usefixtures("_locked")
def test_a_study_works_with_the_test_split_locked_away(
    study: str, home: Path, tmp_path: Path
) -> None:
    ran = CliRunner().invoke(app, ["study", "run", str(write(tmp_path, study))])
    assert ran.exit_code == 0, ran.output
    assert found(home).best is not None
    assert {record.status for record in stored(home).values()} <= {"validated", "pruned"}
    # The lock holds: what needs the test split fails.
    promoted = CliRunner().invoke(app, ["study", "promote", "small"])
    assert promoted.exit_code == 1
    assert "the test split was read" in str(promoted.exception)


# --- interrupted, retried, begun again ----------------------------------------------------


def test_trials_of_a_grid_end_as_it_goes_on(
    start: Run, until: Any, home: Path, tmp_path: Path
) -> None:
    command = start("study", "run", write(tmp_path, GRID))
    until(lambda: len(written(home)) >= 6)
    command.send(signal.SIGKILL)
    command.wait()
    assert 2 <= len(found(home).having("complete")) <= 4
    assert len(found(home).having("unfinished")) <= 1


@pytest.mark.slow
def test_ctrl_c_is_no_end(start: Run, until: Any, home: Path, tmp_path: Path) -> None:
    suite = write(tmp_path, GRID, seeds="0", epochs=40)
    command = start("study", "run", suite)
    until(lambda: len(written(home)) >= 1)
    command.send(signal.SIGINT)
    ended = command.wait()
    assert ended.code == 130, ended.err
    assert ended.err.endswith("error: stopped; the same command resumes\n")
    assert start("study", "run", suite).wait().code == 0
    for run_id in stored(home):
        assert epochs(home, run_id) == list(range(1, 41))  # none was repeated


FRAGILE = '''\
"""TransE that cannot be trained with a margin of 4 while a file is there."""

from dataclasses import replace
from pathlib import Path

from harness.model import MODELS, register_model

TransE = MODELS.get("transe")


@register_model("fragile")
class Fragile(TransE):
    """TransE."""

    capabilities = replace(TransE.capabilities, title="Fragile")

    def encode(self, entities=None):
        if self.config.margin == 4 and Path(__file__).with_name("broken").exists():
            raise RuntimeError("out of luck")
        return super().encode(entities)
'''


@pytest.mark.slow
def test_failed_trials_are_kept_and_tried_again_when_asked(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "fragile.py").write_text(FRAGILE)
    (models / "broken").touch()
    study = "study: {sampler: grid, space: {model.margin: [2.0, 4.0, 6.0]}}\n"
    words = ("study", "run", write(tmp_path, study, row="fragile"), "--models", models)
    ended = harness(*words)
    assert ended.code == 1
    assert "out of luck" in ended.err
    assert "trials: 2 complete, 1 failed" in ended.out
    (failed,) = found(home).having("failed")
    assert failed.settings == {"model.margin": 4.0}
    assert failed.reason == "RuntimeError: out of luck"

    refused = harness("study", "promote", "small", "--trial", failed.number)
    assert refused.code == 2
    assert f"trial {failed.number} failed: RuntimeError: out of luck" in refused.err
    assert with_test_numbers(home) == set()

    (models / "broken").unlink()
    before = written(home)
    again = harness(*words)
    assert again.code == 1
    assert "1 run failed earlier; the first: " in again.err
    assert written(home) == before  # a failed trial has ended

    retried = harness(*words, "--retry-failed")
    assert retried.code == 0, retried.err
    assert {t.settings["model.margin"] for t in found(home).having("complete")} == {2.0, 4.0, 6.0}
    changed = {run_id for run_id in before if written(home)[run_id] != before[run_id]}
    assert changed == set(failed.runs.values())
    assert harness(*words, "--retry-failed").code == 0
    assert len(trials(home)) == 4


@pytest.mark.slow
def test_a_restart_forgets_trials_and_trains_nothing(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    assert harness("study", "run", write(tmp_path, GRID)).code == 0
    once, before = trials(home), written(home)
    changed = write(tmp_path, GRID.replace("0.1, 0.2", "0.2"))
    refused = harness("study", "run", changed)
    assert refused.code == 2
    assert "changed since it was begun: space" in " ".join(refused.err.split())
    assert trials(home) == once

    restarted = harness("study", "run", changed, "--restart")
    assert restarted.code == 0, restarted.err
    values = {tuple(t.settings.values()): t.value for t in once}
    again = {tuple(t.settings.values()): t.value for t in trials(home)}
    assert len(again) == 4
    assert again.items() <= values.items()
    assert written(home) == before


# --- several workers ----------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_find_what_one_finds(start: Run, until: Any, tmp_path: Path) -> None:
    space = "space: {optimiser.lr: {low: 0.01, high: 0.1}}"
    study = f"study: {{sampler: tpe, trials: 3, at_once: 2, {space}}}\n"
    suite = write(tmp_path, study, seeds="0")
    one, two = tmp_path / "one", tmp_path / "two"
    command = start("study", "run", suite, "--home", two, "--workers", 2)
    until(lambda: len(psutil.Process(command.number).children()) == 2)
    ended = command.wait()
    assert ended.code == 0, ended.err
    assert start("study", "run", suite, "--home", one).wait().code == 0
    assert state(one) == state(two)


def test_a_second_command_on_a_study_waits_for_the_first(
    start: Run, until: Any, home: Path, tmp_path: Path
) -> None:
    suite = write(tmp_path, GRID, epochs=40)
    first = start("study", "run", suite)
    until(lambda: list(home.glob("runs/*/log.jsonl")))
    second = start("study", "run", suite)
    until(lambda: "study small is being run elsewhere; waiting for it" in second.err)
    first.send(signal.SIGKILL)
    first.wait()
    ended = second.wait()
    assert ended.code == 0, ended.err


# --- pruning ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pruned_trial_is_a_run_in_part_that_a_promotion_finishes(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    ended = harness("study", "run", write(tmp_path, PRUNED, epochs=6))
    assert ended.code == 0, ended.err
    pruned, *_ = found(home).having("pruned")
    records, (first, second) = stored(home), pruned.runs.values()
    assert records[first].status == "pruned"
    assert second not in records  # its other seed was spared
    assert records[first].metrics == ()
    done = epochs(home, first)
    assert done == list(range(1, len(done) + 1))
    assert len(done) < 6
    assert (home / "runs" / first / "state.json").is_file()
    assert pruned.value is None
    assert pruned.reached == max(row["valid_mrr"] for row in records[first].history)

    promoted = harness("study", "promote", "small", "--trial", pruned.number)
    assert promoted.code == 0, promoted.err
    assert with_test_numbers(home) == {first, second}
    assert epochs(home, first) == epochs(home, second) == list(range(1, 7))


# --- what others make of it ---------------------------------------------------------------


def test_optuna_opens_the_study_as_its_dashboard_does(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    assert harness("study", "run", write(tmp_path, PRUNED, epochs=6)).code == 0
    search, url = found(home), f"sqlite:///{home / 'studies.db'}"
    (summary,) = optuna.get_all_study_summaries(url)
    assert summary.study_name.startswith("small: TransE on synthetic")
    assert summary.n_trials == 6
    study = optuna.load_study(study_name=summary.study_name, storage=url)
    assert study.best_value == (search.best.value if search.best else None)
    assert study.best_trial.user_attrs["runs"]
    for trial, mine in zip(study.trials, search.trials, strict=True):
        assert trial.params == mine.settings
        assert trial.intermediate_values == mine.curve
        assert trial.state.name.lower() == mine.state


FIGURE = """\
title: Thresholds
figure: heatmap
suite: small
model: transe
x: {key: objective.egns.delta.0, title: low}
y: {key: objective.egns.delta.1, title: high}
ascending: true
metrics: ["valid:mrr", easy, ambiguous, hard]
"""


@pytest.mark.slow
def test_a_study_is_drawn_untested_here_and_from_its_records(
    harness: Run, home: Path, tmp_path: Path
) -> None:
    assert harness("study", "run", write(tmp_path, GRID)).code == 0
    figure, there = tmp_path / "surface.yaml", {"HARNESS_HOME": str(tmp_path / "there")}
    figure.write_text(FIGURE)
    data = harness("report", "--figure", figure, "--format", "json")
    assert data.code == 0, data.err
    assert "None of the 10 runs was tested." in data.out
    values = {
        tuple(map(float, row["label"].split(" / "))): row["cells"][0]["value"]
        for row in json.loads(data.out)["rows"]
    }
    assert values == {
        tuple(trial.settings.values()): pytest.approx(100 * (trial.value or 0.0))
        for trial in found(home).having("complete")
    }
    assert harness("report", "--figure", figure, "--out", tmp_path / "here.png").code == 0
    assert harness("db", "export", "--suite", "small", "--out", tmp_path / "records").code == 0
    assert harness("db", "import", tmp_path / "records", **there).code == 0
    drawn = harness("report", "--figure", figure, "--out", tmp_path / "there.png", **there)
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("study", [GRID, PRUNED], ids=["grid", "pruned"])
def test_a_study_is_there_again_from_its_records_and_trains_nothing(
    harness: Run, home: Path, tmp_path: Path, study: str
) -> None:
    suite, there = write(tmp_path, study), tmp_path / "there"
    assert harness("study", "run", suite).code == 0
    assert found(home).having("pruned" if study is PRUNED else "complete")
    assert harness("db", "export", "--suite", "small", "--out", tmp_path / "records").code == 0
    assert harness("db", "import", tmp_path / "records", "--home", there).code == 0
    again = harness("study", "run", suite, "--home", there)
    assert again.code == 0, again.err
    assert trials(there) == trials(home)
    assert written(there) == {}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small study and its results."""
    folder = tmp_path_factory.mktemp("searched")
    suite = write(folder, PRUNED.replace("trials: 6", "trials: 2"), seeds="0", epochs=1)
    ended = CliRunner().invoke(app, ["study", "run", str(suite), "--home", str(folder / "results")])
    assert ended.exit_code == 0, ended.output
    return folder


DAMAGE = (
    "DELETE FROM studies",
    "DELETE FROM trials",
    "DELETE FROM trial_params",
    "DELETE FROM trial_values",
    "DELETE FROM study_directions",
    "DELETE FROM study_user_attributes",
    "DELETE FROM version_info",
    "DROP TABLE trials",
    "UPDATE studies SET study_name = 'x'",
    "UPDATE studies SET study_name = x'ff'",
    "UPDATE study_directions SET direction = 'SIDEWAYS'",
    "UPDATE study_directions SET direction = 'MINIMIZE'",
    "UPDATE study_user_attributes SET value_json = '{'",
    "UPDATE study_user_attributes SET value_json = '{}'",
    "UPDATE study_user_attributes SET value_json = '3' WHERE key = 'definition'",
    "UPDATE study_user_attributes SET value_json = '\"../../x\"' WHERE key = 'suite'",
    "UPDATE trials SET state = 'GREAT'",
    "UPDATE trials SET number = 7",
    "UPDATE trial_params SET param_value = 1e9",
    "UPDATE trial_params SET distribution_json = '{}'",
    "UPDATE trial_params SET distribution_json = '3'",
    "UPDATE trial_user_attributes SET value_json = '{'",
    "UPDATE trial_user_attributes SET value_json = '3'",
    "UPDATE trial_user_attributes SET value_json = '{\"a\": 1}'",
    "UPDATE trial_values SET value = 'high'",
    "UPDATE trial_values SET value = 7",
    "UPDATE trial_values SET value = NULL",
    "UPDATE trial_intermediate_values SET step = 'x'",
    "UPDATE version_info SET schema_version = 99",
)


@pytest.mark.parametrize("statement", DAMAGE)
def test_a_study_whose_database_was_edited_is_refused_in_words_or_goes_on(
    statement: str, searched: Path, tmp_path: Path
) -> None:
    shutil.copytree(searched / "results", tmp_path / "results")
    with closing(sqlite3.connect(tmp_path / "results" / "studies.db")) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
    for words in (["show", "small"], ["run", str(searched / "small.yaml")], ["promote", "small"]):
        ended = CliRunner().invoke(app, ["study", *words, "--home", str(tmp_path / "results")])
        error = ended.exception
        assert error is None or isinstance(error, HarnessError | SystemExit), (words, repr(error))
    assert stored(tmp_path / "results").keys() >= stored(searched / "results").keys()


@pytest.mark.parametrize("kept", ["", "'suite'", "'suite', 'variant', 'title', 'place', 'label'"])
def test_a_study_that_was_killed_as_it_began_goes_on(
    kept: str, searched: Path, tmp_path: Path
) -> None:
    """Its attributes are written one by one."""
    shutil.copytree(searched / "results", tmp_path / "results")
    with closing(sqlite3.connect(tmp_path / "results" / "studies.db")) as connection, connection:
        connection.execute(f"DELETE FROM study_user_attributes WHERE key NOT IN ({kept})")
    words = ["study", "run", str(searched / "small.yaml"), "--home", str(tmp_path / "results")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert len(trials(tmp_path / "results")) == 2
