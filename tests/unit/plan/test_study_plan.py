"""A suite with a study: what is searched for each row; what is wrong with it, by file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.data.load import source
from harness.errors import ConfigError, InconsistentError
from harness.model import MODELS
from harness.plan.complexity import measures
from harness.plan.expand import expand
from harness.plan.resolve import resolve
from harness.plan.search import Search, searches
from harness.plan.settings import has_effect
from harness.plan.suite import find_suite, read_suite, shipped_folder

load_models()
LEARNING = [name for name in MODELS if MODELS.get(name).capabilities.trainable]
HEAD = """\
name: trial
datasets: [atlas]
rows: [{rows}]
base: {{training.epochs: 2, objective.weighting: egns}}
seeds: [3, 4]
study:
"""
GRID = HEAD.format(rows="transe") + "  sampler: grid\n  space:\n"


def read(tmp_path: Path, text: str) -> tuple[Search, ...]:
    path = tmp_path / "trial.yaml"
    path.write_text(text)
    suite = read_suite(path)
    return searches(suite, {}, expand(suite))[0]


def study(tmp_path: Path, *lines: str, rows: str = "transe") -> tuple[Search, ...]:
    return read(tmp_path, HEAD.format(rows=rows) + "".join(f"  {line}\n" for line in lines))


def test_a_trial_has_a_run_per_seed_with_the_settings_of_the_point(tmp_path: Path) -> None:
    (search,) = study(tmp_path, "trials: 1", "sampler: random")
    runs = search.runs({"optimiser.lr": 0.5, "model.margin": 2.0})
    assert [run.spec.seed for run in runs] == [3, 4]
    assert {run.spec.optimiser.lr for run in runs} == {0.5}
    assert runs[0].spec.model.options == {"margin": 2.0}
    assert runs[0].spec.training.epochs == 2


def test_without_a_space_the_declared_one_is_searched_less_what_does_nothing(
    tmp_path: Path,
) -> None:
    (search,) = study(tmp_path, "trials: 1")
    # The weighting by entropy does not look at a temperature.
    assert list(search.space) == [
        "negatives.sampler",
        "optimiser.lr",
        "training.batch_size",
        "model.margin",
        "model.normalise",
    ]


def test_an_option_is_searched_for_the_models_that_have_it(tmp_path: Path) -> None:
    found = study(
        tmp_path, "trials: 1", "space: {model.margin: [1.0, 2.0], optimiser.lr: [0.1]}",
        rows="transe, distmult, popularity",
    )  # fmt: skip
    assert {s.label: list(s.space) for s in found} == {
        "TransE": ["model.margin", "optimiser.lr"],
        "DistMult": ["optimiser.lr"],
    }


def test_an_item_of_a_list_is_searched_by_its_number(tmp_path: Path) -> None:
    text = GRID + "    objective.egns.delta.1: [0.5, 0.9]\n"
    (search,) = read(tmp_path, text)
    assert [s.runs(p)[0].spec.objective.egns.delta for s in [search] for p in s.points()] == [
        (0.2, 0.5),
        (0.2, 0.9),
    ]


def test_points_that_a_requirement_or_the_values_forbid_are_not_valid(tmp_path: Path) -> None:
    text = GRID + (
        "    objective.egns.delta.0: [0.1, 0.5, 0.6]\n    objective.egns.delta.1: [0.5]\n"
    )
    (search,) = read(tmp_path, text)
    with pytest.raises(InconsistentError) as raised:
        search.runs({"objective.egns.delta.0": 0.6, "objective.egns.delta.1": 0.5})
    assert raised.value.reason == "delta must ascend, got (0.6, 0.5)"
    assert sum(bool(search.valid_runs(point)) for point in search.points()) == 2

    text += "  require: objective.egns.delta.0 < objective.egns.delta.1\n"
    (search,) = read(tmp_path, text)
    assert sum(bool(search.valid_runs(point)) for point in search.points()) == 1
    with pytest.raises(InconsistentError, match="the study requires"):
        search.runs({"objective.egns.delta.0": 0.5, "objective.egns.delta.1": 0.5})


def test_trials_never_filter_with_the_test_split(tmp_path: Path) -> None:
    (search,) = study(tmp_path, "trials: 1")
    protocol = search.runs({"optimiser.lr": 0.1})[0].spec.protocol
    assert protocol.filter_of("valid") == ("train", "valid")
    assert protocol.filter == ("train", "valid", "test")
    assert search.spec.protocol == protocol


def test_a_filter_that_needs_no_change_is_left(tmp_path: Path) -> None:
    text = HEAD.format(rows="transe").replace("base: {", "base: {protocol.filter: [train], ")
    (search,) = read(tmp_path, text + "  trials: 1\n")
    assert search.spec.protocol.valid_filter is None


WRONG: list[tuple[str, str]] = [
    ("sampler: grid", "6: study: a grid needs a space"),
    ("sampler: random", "6: study: sampler 'random' needs a number of trials"),
    ("trials: 0", "7: study.trials: "),
    ("trails: 3", "7: study.trails: unknown key; did you mean 'trials'?"),
    ("{sampler: grid, trials: 3, space: {optimiser.lr: [0.1]}}", "a grid has a trial per point"),
    (
        "trials: 1\n  space: {optimiser.lrr: [0.1]}",
        "8: study.space.optimiser.lrr: unknown key; did",
    ),
    (
        "trials: 1\n  space: {model.dmi: [8]}",
        "8: study.space.model.dmi: no model of this suite has",
    ),
    ("trials: 1\n  space: {optimiser.lr: [0.1, -1.0]}", "8: study.space.optimiser.lr: .*greater"),
    ("trials: 1\n  space: {optimiser.lr: {low: 1.0}}", "8: study.space.optimiser.lr: needs a list"),
    ("trials: 1\n  space: {seed: [1, 2]}", "8: study.space.seed: is an axis of the suite; use its"),
    (
        "trials: 1\n  space: {objective.egns.delta.7: [1.0]}",
        "8: .*'objective.egns.delta' has 2 item",
    ),
    ("trials: 1\n  require: optimiser.lr < model.dim", "8: study.require.*values that are not"),
    ("trials: 1\n  require: lr=3", "8: study.require.*write KEY SIGN KEY-OR-NUMBER"),
    (
        "sampler: grid\n  space: {optimiser.lr: {low: 0.1, high: 1.0}}",
        "8: .*a grid needs a list of",
    ),
]


@pytest.mark.parametrize(("lines", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said_by_file_and_line(tmp_path: Path, lines: str, message: str) -> None:
    text = HEAD.format(rows="transe") + f"  {lines}\n"
    if lines.startswith("{"):
        text = HEAD.format(rows="transe").replace("study:", f"study: {lines}")
    with pytest.raises(ConfigError, match=message) as raised:
        read(tmp_path, text)
    assert "trial.yaml:" in str(raised.value)


def test_a_study_may_not_ask_for_the_test_split(tmp_path: Path) -> None:
    text = HEAD.format(rows="transe").replace("base: {", "base: {protocol.valid_filter: [test], ")
    with pytest.raises(ConfigError, match=r"trial.yaml:4: .*never looks at the test split"):
        read(tmp_path, text + "  trials: 1\n")


@pytest.mark.parametrize("where", ["base", "space"])
def test_a_study_may_not_have_the_test_split_ranked_for_an_audit(
    tmp_path: Path, where: str
) -> None:
    text = HEAD.format(rows="transe") + "  trials: 1\n"
    if where == "base":
        text = text.replace("base: {", "base: {audit.shadow_test: true, ")
    else:
        text += "  space: {audit.shadow_test: [true]}\n"
    with pytest.raises(ConfigError, match="a study never looks at the test split; leave the audit"):
        read(tmp_path, text)


def test_a_suite_without_a_study_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no section 'study'; `harness run` executes it"):
        read(tmp_path, HEAD.format(rows="transe").replace("study:\n", ""))


STUDIES = [
    path.stem
    for path in shipped_folder().glob("*.yaml")
    if not measures(path) and read_suite(path).study is not None
]


def test_the_shipped_studies() -> None:
    assert set(STUDIES) == {
        "shortfalls",
        "thresholds",
        "trials",
        "trials_db15k",
        "trials_mkg_y",
        "trials_sharing",
        "tuning",
    }


@pytest.mark.parametrize("name", STUDIES)
def test_every_shipped_study_is_as_it_says(name: str) -> None:
    suite = read_suite(find_suite(name))
    plan = expand(suite)
    found, idle = searches(suite, {}, plan)
    assert not idle
    # Rows that need images are left out of datasets whose feature files are not there. No others
    # are, but those that need texts where the datasets, the originals of their features or the
    # extra [encoders] are not installed.
    absent = re.compile("(was|are) not on the machine|encoder is not installed")
    left_out = {cell.label for cell in plan.excluded if not absent.search(cell.reason)}
    assert left_out <= {"IKRL", "RSME", "MANS"}
    by_place: dict[str, Any] = {search.title: search for search in found}
    if name == "thresholds":
        search = by_place["MoCME on atlas [all]"]
        assert search.trials == 25
        assert sum(bool(search.valid_runs(point)) for point in search.points()) == 24
        assert search.seeds == (0, 1, 2)
    elif name == "shortfalls" or name.startswith("trials"):
        # Each row is one setting.
        assert {search.trials for search in found} == {1}
    else:
        assert {search.study.trials for search in found} == {20}
        for dataset in {search.spec.data.dataset for search in found}:
            rows = [search.spec for search in found if search.spec.data.dataset == dataset]
            assert len({(spec.training.epochs, spec.training.patience) for spec in rows}) == 1
    for search in found:
        spec = search.spec
        if spec.data.dataset == "mkg-w" and name in {"tuning", "thresholds"}:
            assert spec.model.options["dim"] == 64
            assert spec.training.epochs == 40


ROWS = {
    "RotatE": "optimiser.lr training.batch_size model.margin objective.temperature",
    "ComplEx": "optimiser.lr model.l3",
    "IMF": "optimiser.lr objective.smoothing model.contrastive model.dropout.input",
    "VISTA": "optimiser.lr model.dropout model.structure_dropout",
    "KBGAN": "objective.margin negatives.strategy.lr negatives.strategy.pool",
    "MANS": "model.margin negatives.strategy.share",
    "MMRNS": "model.margin negatives.strategy.temperature negatives.strategy.weight",
    "NativE": "model.margin adversary.mu",
    "AdaMF-MAT": "model.margin adversary.mu",
}
"""Rows of the suite "tuning" -> some of what is searched for them."""


@pytest.mark.parametrize("label", ROWS)
def test_what_is_searched_is_what_the_row_looks_at(label: str) -> None:
    suite = read_suite(find_suite("tuning"))
    plan = expand(suite, only=[f"label={label},dataset=atlas"])
    (search,), _ = searches(suite, {}, plan)
    assert set(ROWS[label].split()) <= search.space.keys()
    model = MODELS.get(search.spec.model.name)
    assert all(has_effect(search.spec, model, key) for key in search.space)


def test_adagrad_is_searched_at_its_own_rates() -> None:
    suite = read_suite(find_suite("tuning"))
    found, _ = searches(suite, {}, expand(suite, only=["dataset=atlas"]))
    rates = {search.spec.optimiser.name: search.space["optimiser.lr"] for search in found}
    assert rates.keys() == {"adam", "adagrad"}
    assert (rates["adam"].low, rates["adam"].high) == (1e-4, 1e-1)
    assert rates["adagrad"].low < 0.1 < rates["adagrad"].high


BESIDE = (("negatives", "strategy", "name"), ("adversary", "kind"))
"""Where a row says what learns beside its model."""


@pytest.mark.parametrize("name", ["main_table", "main_table_native", "tuning"])
def test_every_model_that_learns_and_every_adversary_stands_in_the_suite(name: str) -> None:
    rows = resolve(read_suite(find_suite(name)), {}, source).rows
    assert set(LEARNING) <= {row.model_name for row in rows}
    beside = {str(s.value) for row in rows for s in row.settings if s.path in BESIDE}
    assert {"kbgan", "mans", "mmrns", "wasserstein", "logistic"} <= beside
