"""Suites: their shape, where they are found, and every one that ships."""

from __future__ import annotations

import json
from itertools import product
from math import ceil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness.catalog import load_models
from harness.data.load import source
from harness.errors import ConfigError
from harness.plan.complexity import measures
from harness.plan.expand import expand
from harness.plan.schema import render, suite_schema
from harness.plan.settings import from_overrides
from harness.plan.suite import (
    DatasetChoice,
    Row,
    Suite,
    find_suite,
    read_suite,
    shipped_folder,
    suite_argument,
)

SHIPPED = sorted(file for file in shipped_folder().glob("*.yaml") if not measures(file))


def refusal(tmp_path: Path, text: str) -> str:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_suite(file)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_a_name_alone_stands_for_a_row_or_a_dataset() -> None:
    suite = Suite.model_validate({"name": "x", "rows": ["rotate"], "datasets": ["mkg-w"]})
    assert suite.rows == (Row(model="rotate"),)
    assert suite.datasets == (DatasetChoice(dataset="mkg-w"),)
    assert suite.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nrows: [a]\n", "s.yaml:1: datasets: is missing"),
        ("name: x\ndatasets: [d]\n", "needs rows or an ablation"),
        ("name: ../x\nrows: [a]\ndatasets: [d]\n", "s.yaml:1: name: "),
        (
            "name: x\nrows: [a]\ndatasets: [d]\nseeds: [1, 1]\n",
            "s.yaml:4: seeds: repeats a seed: [1, 1]",
        ),
        ("name: x\nrows: [a]\ndatasets: [d]\nseeds: [-1]\n", "s.yaml:4: seeds[0]: "),
        (f"name: x\nrows: [a]\ndatasets: [d]\nseeds: [{2**63}]\n", "s.yaml:4: seeds[0]: "),
        ("name: x\nrows: a\ndatasets: [d]\n", "s.yaml:2: rows: needs a list, got 'a'"),
        ("name: x\nrows: [5]\ndatasets: [d]\n", "s.yaml:2: rows[0]: needs a mapping, got 5"),
        ("name: x\nrows: null\ndatasets: [d]\n", "s.yaml:2: rows: needs a list, got null"),
        ("name: x\nrows: [a]\ndatasets: []\n", "datasets: is too short, needs at least 1"),
        ("name: x\nrows: [a]\ndatasets: [d]\nbase: 3\n", "s.yaml:4: base: needs a mapping"),
        ("name: x\ntitle: 5\nrows: [a]\ndatasets: [d]\n", "s.yaml:2: title: needs text, got 5"),
        (
            "name: x\nrows: [a]\ndatasets: [d]\nseeds: [1.5]\n",
            "s.yaml:4: seeds[0]: input should be a valid integer, got 1.5",
        ),
        ("name: x\nrows:\n  - {modle: a}\ndatasets: [d]\n", "s.yaml:3: rows[0].modle: unknown"),
        ("name: x\nrows: [a]\ndatasets: [d]\nsede: [1]\n", "did you mean 'seeds'?"),
        (
            "name: x\nrows: [a]\ndatasets: [d]\noverrides: [{when: {seed: 1}, set: {}}]\n",
            "overrides[0].when.seed: unknown key",
        ),
        (
            "name: x\nrows: [a]\ndatasets: [d]\noverrides: [{when: {features: x}, set: {}}]\n",
            "when.features: unknown key; choose from dataset, label, model",
        ),
    ],
)
def test_a_bad_shape_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_no_key_is_offered_instead_of_itself(tmp_path: Path) -> None:
    said = refusal(tmp_path, "name: x\nrows: [a]\ndatasets: [{name: d}]\n")
    assert "s.yaml:3: datasets[0].name: unknown key" in said
    assert "did you mean 'name'" not in said


def test_a_list_whose_only_item_is_wrong_is_not_also_called_short(tmp_path: Path) -> None:
    said = refusal(tmp_path, "name: x\nrows: [a]\ndatasets: [d]\nseeds: [-1]\n")
    assert said.startswith("s.yaml:4: seeds[0]: ")
    assert len(said.splitlines()) == 1


def test_a_suite_is_found_by_path_and_by_shipped_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\n")
    assert find_suite(str(file)) == file
    assert find_suite("quickstart") == shipped_folder() / "quickstart.yaml"
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        find_suite("quikstart")
    with pytest.raises(ConfigError, match="did you mean 'fusion'"):
        find_suite("suites/fusoin.yaml")


def test_a_suite_is_found_by_its_name_in_the_folder_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    (tmp_path / "quickstart.yaml").write_text("name: quickstart\n")
    (tmp_path / "folder.yaml").mkdir()
    assert find_suite("mine") == Path("mine.yaml")
    assert find_suite("quickstart") == shipped_folder() / "quickstart.yaml"
    with pytest.raises(ConfigError, match=r"folder\.yaml is a folder"):
        find_suite("folder.yaml")


def test_printed_commands_name_a_suite_only_where_the_name_finds_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = "name: mine\ndatasets: [synthetic]\nrows: [rotate]\n"
    Path("other_name.yaml").write_text(content)
    assert suite_argument("quickstart") == "quickstart"
    assert suite_argument("mine") == "SUITE"
    Path("mine.yaml").write_text(content.replace("mine", "yours"))
    assert suite_argument("mine") == "SUITE"
    Path("mine.yaml").write_text(content)
    assert suite_argument("mine") == "mine"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_suite_expands(file: Path) -> None:
    load_models()
    suite = read_suite(file)
    plan = expand(suite)
    assert suite.name == file.stem
    assert suite.title
    assert plan.runs
    for run in plan.runs:
        # With structure alone a fusing model has nothing to fuse: some set must be asked for.
        assert run.spec.data.features != "none" or run.spec.model.name != "mocme"


def test_the_published_margins_and_negatives_reach_the_runs() -> None:
    load_models()
    plan = expand(read_suite(find_suite("main_table_native")), only=["label=RotatE,seed=0"])
    given = {
        run.spec.data.dataset: (
            run.spec.model.options.get("margin", 4.0),
            run.spec.negatives.count,
            run.spec.optimiser.lr,
        )
        for run in plan.runs
    }
    assert given == {
        "mkg-w": (4, 128, 1e-4),
        "mkg-y": (4, 128, 1e-4),
        "db15k": (12, 128, 1e-4),
        "tiva": (4, 64, 2e-5),
        "kvc16k": (4, 32, 2e-5),
    }


@pytest.mark.parametrize(
    ("label", "published"),
    [
        ("KBGAN", ("transe", 50, "margin", 3, 1, 1e-3, 6000)),
        ("MANS", ("ikrl", 128, "margin", 6, 1, 1.0, 1000)),
        ("MMRNS", ("rotate", 200, "logistic", 6, 20, 1e-4, 1000)),
    ],
)
def test_the_published_settings_of_sampling_methods_reach_the_runs(
    label: str, published: tuple[object, ...]
) -> None:
    load_models()
    native = read_suite(find_suite("main_table_native"))
    everything = DatasetChoice(dataset="synthetic", features="all")
    suite = native.model_copy(update={"datasets": (everything,)})
    given = {"data": {"features": "all"}}  # of IKRL, too
    (run,) = expand(suite, given, only=[f"label={label},seed=0"]).runs
    spec, options = run.spec, run.spec.model.options
    assert spec.negatives.strategy.name == label.lower()
    margin = spec.objective.margin if spec.objective.loss == "margin" else options["margin"]
    assert (
        spec.model.name,
        options["dim"],
        spec.objective.loss,
        margin,
        spec.negatives.count,
        spec.optimiser.lr,
        spec.training.epochs,
    ) == published


BATCHES = {"KBGAN": 100, "MANS": 400}
"""Of an epoch."""
DISTINCT = {"kvc16k": 180_019, "tiva": 11_652}
"""Distinct rows of train where some are repeated; MANS's sampler draws from these."""


def test_batches_and_steps_of_sampling_methods_are_as_many_as_published_on_every_dataset() -> None:
    found = set()
    for override in read_suite(find_suite("main_table_native")).overrides:
        for label, dataset in product(override.when.label, override.when.dataset):
            found.add((label, dataset))
            train = source(dataset).card.counts["train"]
            held = {s.path: s.value for s in from_overrides(override.set)}
            if label == "MMRNS":
                epochs = held["training", "epochs"]
                assert epochs * ceil(train / 400) == pytest.approx(100_000, rel=2e-3)
                assert epochs // held["training", "evaluate_every"] == 10
            elif label == "MANS":
                distinct = DISTINCT.get(dataset, train)
                assert distinct // BATCHES[label] == held["training", "batch_size"]
            else:
                assert ceil(train / BATCHES[label]) == held["training", "batch_size"]
    assert len(found) == 3 * 5


RELEASED = ("RSME", "OTKGE", "IMF", "MoMoK", "MyGO", "VISTA")


def test_the_native_suite_is_of_released_code_and_of_openkes_epochs() -> None:
    load_models()
    native = read_suite(find_suite("main_table_native"))
    everything = DatasetChoice(dataset="synthetic", features="all")
    suite = native.model_copy(update={"datasets": (everything,)})
    plan = expand(suite, {"data": {"features": "all"}}, only=["seed=0"])
    runs = {run.label: run.spec for run in plan.runs}
    for label in RELEASED:
        assert runs[label].model.options["variant"] == "released", label
        assert runs[label].training.traversal == "pass", label
    for label in ("KBGAN", "MANS", "MMRNS"):
        assert runs[label].negatives.strategy.options["variant"] == "released", label
        assert runs[label].training.traversal == ("draws" if label == "MANS" else "pass"), label
    for label in ("TransE", "RotatE", "NativE", "AdaMF", "MoCME"):
        assert runs[label].training.traversal == "draws", label
        assert runs[label].training.select == "last", label
    assert runs["MANS"].training.select == "last"
    for label in (*RELEASED, "KBGAN", "MMRNS"):
        assert runs[label].training.select == "validation", label
    assert (runs["MMRNS"].training.patience, runs["KBGAN"].training.patience) == (8, 0)
    assert runs["MMRNS"].objective.subsampling
    assert runs["MANS"].model.options["variant"] == "mans"
    assert runs["KBGAN"].negatives.strategy.options["weight_decay"] == 1e-2
    assert runs["OTKGE"].model.options["penalty"] == "rank"
    assert runs["MyGO"].model.options["init"] == "released"
    assert runs["VISTA"].objective.sides == runs["MyGO"].objective.sides == "one"


def test_every_fragment_is_used() -> None:
    suites = "".join(file.read_text() for file in SHIPPED)
    fragments = sorted(shipped_folder().glob("shared/*.yaml"))
    inside = "".join(file.read_text() for file in fragments)
    for fragment in fragments:
        used = f"include: shared/{fragment.name}" in suites, f"include: {fragment.name}" in inside
        assert any(used), fragment.name


def test_the_schema_in_the_folder_is_up_to_date() -> None:
    stored = (shipped_folder() / "schema.json").read_text()
    assert stored == render(), "run: python -m harness.plan.schema > suites/schema.json"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_suite_names_the_schema_and_fits_it(file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert file.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    data = YAML(typ="safe").load(file)
    jsonschema.Draft202012Validator(suite_schema()).validate(data)


def test_the_schema_is_one() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(suite_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"sede": [1]},
        {"seeds": ["a"]},
        {"rows": [{"label": "x"}]},
        {"base": {"training": {"epochss": 1}}},
        {"base": {"training.epochs": -1}},
        {"base": {"seed": 1}},
    ],
)
def test_the_schema_refuses_what_the_harness_refuses(change: dict[str, object]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    load_models()
    data = {"name": "x", "rows": ["rotate"], "datasets": ["synthetic"]}
    schema = json.loads(render())
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(data)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(data | change)
    with pytest.raises((ConfigError, ValueError)):
        expand(Suite.model_validate(data | change))


def test_a_name_unlike_all_suites_gets_no_suggestion() -> None:
    for name in ("nope", "/nope.yaml"):
        with pytest.raises(ConfigError, match="no shipped suite of that name; choose from"):
            find_suite(name)
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        find_suite("nois")
