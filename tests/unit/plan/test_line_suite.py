"""A suite from one line: models, datasets, a number of seeds, values to try."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.query import Results
from harness.catalog import load_models
from harness.cli.options import counted_seeds
from harness.errors import ConfigError
from harness.plan.line import default_name, line_suite, seeds_text, split_values
from harness.run.suite import plan_line, run_suite
from harness.store import open_home

DATASET = "synthetic:entities=60,train=300,seed=1"


@pytest.fixture(autouse=True)
def models() -> None:
    load_models()


def test_each_combination_of_values_is_a_row() -> None:
    settings = ["optimiser.lr=1e-3,1e-2", "model.dim=8,16", "training.epochs=2"]
    plan = plan_line(["rotate"], ["atlas"], seeds=(0, 1), settings=settings)
    assert plan.suite == "rotate-atlas"
    assert plan.title == "RotatE on atlas"
    assert len(plan.runs) == 2 * 2 * 2
    assert list(dict.fromkeys(run.label for run in plan.runs)) == [
        f"RotatE, lr={lr}, dim={dim}" for lr in ("1e-3", "1e-2") for dim in (8, 16)
    ]
    specs = {(run.spec.optimiser.lr, run.spec.model.options["dim"]) for run in plan.runs}
    assert specs == {(lr, dim) for lr in (1e-3, 1e-2) for dim in (8, 16)}
    assert {run.spec.training.epochs for run in plan.runs} == {2}


def test_without_several_values_a_row_has_the_label_of_its_model() -> None:
    plan = plan_line(["rotate", "transe"], ["atlas"], settings=["training.epochs=2"])
    assert [run.label for run in plan.runs] == ["RotatE", "TransE"]
    assert plan.suite == "rotate-transe-atlas"


def test_keys_with_the_same_end_are_written_in_full() -> None:
    settings = ["optimiser.lr=1,2", "adversary.lr=3,4"]
    suite = line_suite(["rotate"], ["atlas"], settings=settings)
    assert suite.rows[0].label == "RotatE, optimiser.lr=1, adversary.lr=3"


def test_commas_in_brackets_and_quotes_do_not_separate_values() -> None:
    assert split_values("1e-3,1e-2") == ["1e-3", "1e-2"]
    assert split_values("[train,valid], [train]") == ["[train,valid]", "[train]"]
    assert split_values("'a,b'") == ["'a,b'"]


def test_a_number_of_seeds_counts_and_a_list_names_them() -> None:
    assert counted_seeds("") == (0,)
    assert counted_seeds("3") == (0, 1, 2)
    assert counted_seeds("3-3") == (3,)
    assert counted_seeds("5,2") == (2, 5)
    assert counted_seeds("1-3") == (1, 2, 3)
    for seeds in ((0,), (3,), (0, 1, 2), (2, 5), (1, 2, 3), (0, 2)):
        assert counted_seeds(seeds_text(seeds)) == seeds
        assert not seeds_text(seeds).endswith(",")
    for wrong in ("0", "x", "3,"):
        with pytest.raises(ConfigError, match="--seeds"):
            counted_seeds(wrong)
    for wrong in ("0,0", "0-2,1"):
        with pytest.raises(ConfigError, match=rf"^--seeds {wrong}: repeats seed {wrong[-1]}$"):
            counted_seeds(wrong)


def test_the_name_of_the_suite_is_made_of_models_and_datasets() -> None:
    assert default_name(["rotate"], [DATASET]) == "rotate-synthetic-entities-60-train-300-seed-1"
    assert default_name(["x" * 90], ["atlas"]) == "x" * 64


def test_what_is_wrong_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^--model: unknown model .*did you mean 'rotate'"):
        plan_line(["rotatE_"], ["atlas"])
    with pytest.raises(ConfigError, match=r"^--dataset: .*did you mean 'atlas'"):
        plan_line(["rotate"], ["atls"])
    with pytest.raises(ConfigError, match=r"^--model transe,rotate: repeat the option for several"):
        plan_line(["transe,rotate"], ["atlas"])
    with pytest.raises(ConfigError, match=r"several: --dataset atlas --dataset mkg-w$"):
        plan_line(["transe"], ["atlas,mkg-w"])
    with pytest.raises(ConfigError, match=r"^--dataset atlas,,two: a name is missing"):
        plan_line(["transe"], ["atlas,,two"])
    with pytest.raises(ConfigError, match=r"^--dataset: 'atlas' is given twice$"):
        plan_line(["transe"], ["atlas", "Atlas"])
    with pytest.raises(ConfigError, match=r"^--set optimiser.lr: is given twice$"):
        plan_line(["rotate"], ["atlas"], settings=["optimiser.lr=1e-3", "optimiser.lr=1e-2"])
    with pytest.raises(ConfigError, match=r"^--set optimiser.lr: input should be a valid number"):
        plan_line(["rotate"], ["atlas"], settings=["optimiser.lr=fast"])
    with pytest.raises(ConfigError, match=r"^--set optimiser.lr=1e-3,: a value is missing"):
        plan_line(["rotate"], ["atlas"], settings=["optimiser.lr=1e-3,"])
    with pytest.raises(ConfigError, match=r"^--set model.dims: .*'dim'"):
        plan_line(["rotate"], ["atlas"], settings=["model.dims=8"])
    with pytest.raises(ConfigError, match="give --model and --dataset"):
        plan_line(["rotate"], [])
    with pytest.raises(ConfigError, match="write KEY=VALUE"):
        plan_line(["rotate"], ["atlas"], settings=["training.epochs"])
    with pytest.raises(ConfigError, match=r"training\.epoch.*did you mean"):
        plan_line(["rotate"], ["atlas"], settings=["training.epoch=1,2"])
    with pytest.raises(ConfigError, match="a shipped suite has that name"):
        plan_line(["rotate"], ["atlas"], name="quickstart")
    with pytest.raises(ConfigError, match=r"--name: 'My Suite' is no name.* mean 'my-suite'"):
        plan_line(["rotate"], ["atlas"], name="My Suite")
    with pytest.raises(ConfigError, match="harness study run"):
        plan_line(["rotate"], ["atlas"], settings=[f"seed={','.join(map(str, range(1001)))}"])


def test_the_runs_are_stored_under_the_suite_and_its_command_repeats_them(tmp_path: Path) -> None:
    settings = ["optimiser.lr=1e-3,1e-2", "training.epochs=1", "model.dim=8"]
    plan = plan_line(["transe"], [DATASET], seeds=(1,), settings=settings, name="mine")
    result = run_suite(plan, home=tmp_path, device="cpu", threads=1)
    assert [row.label for row in result.table.rows] == ["TransE, lr=1e-3", "TransE, lr=1e-2"]
    store = open_home(tmp_path)
    try:
        command = Results(store).suite("mine", ["mrr"], plan.source).command
    finally:
        store.close()
    assert command == (
        f"harness run --model transe --dataset {DATASET} --set optimiser.lr=1e-3,1e-2 "
        "--set training.epochs=1 --set model.dim=8 --name mine --seeds 1-1"
    )
