"""One run from all its settings, and the command that repeats any stored run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import load_models
from harness.cli.run_text import describe
from harness.config.yaml_source import parse_value
from harness.errors import ConfigError, MissingDataError
from harness.plan.complexity import measures
from harness.plan.expand import expand
from harness.plan.single import plan_single
from harness.plan.spec import RunSpec
from harness.plan.suite import read_suite, shipped_folder
from harness.store.records import RunRecord

MakeRecord = Callable[..., RunRecord]

SHIPPED = sorted(file for file in shipped_folder().glob("*.yaml") if not measures(file))


@pytest.fixture(autouse=True)
def _models() -> None:
    load_models()


def printed(record: RunRecord) -> list[str]:
    """Return the lines of the command that ``harness runs show`` prints last."""
    lines = describe(record).splitlines()
    (first,) = [i for i, line in enumerate(lines) if line.startswith("  harness run ")]
    return lines[first:]


def words(record: RunRecord) -> list[str]:
    return shlex.split("\n".join(printed(record)))


LONG = ("missing_modality", "noise")


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=pytest.mark.slow if file.stem in LONG else ())
        for file in SHIPPED
    ],
)
def test_the_printed_command_of_every_shipped_run_describes_that_run(
    make_record: MakeRecord, file: Path
) -> None:
    runs = expand(read_suite(file)).runs
    last_seed = {run.spec.model_copy(update={"seed": 0}).model_dump_json(): run for run in runs}
    for run in last_seed.values():
        record = make_record("aaaa", spec=run.spec.model_dump(mode="json"))
        *command, text = words(RunRecord.model_validate_json(record.model_dump_json()))
        assert command == ["harness", "run", "--spec"]
        assert plan_single(text).runs[0].spec == run.spec
        assert max(map(len, printed(record))) <= 80


def test_the_printed_command_of_a_changed_run_describes_that_run(make_record: MakeRecord) -> None:
    values = {
        "model": {"name": "rotate", "dim": 8, "margin": 3.25},
        "data": {"dataset": "synthetic:entities=60,train=300,seed=1"},
        "negatives": {"sampler": "shared", "share": 2},
        "optimiser": {"lr": 1e-05, "name": "adamw", "weight_decay": 1e-12},
        "training": {"epochs": 3, "precision": "bf16"},
        "protocol": {"ties": "optimistic", "filter": [], "sides": ["tail"]},
        "seed": 2**63 - 1,
    }
    spec = RunSpec.model_validate(values)
    record = make_record("aaaa", spec=spec.model_dump(mode="json"))
    assert plan_single(words(record)[-1]).runs[0].spec == spec


STRANGE = [
    "it's",
    'a "b"',
    "two  spaces",
    "a\nb\tc",
    "ü ✓",
    "back\\slash",
    "{a: 1, # b}",
    " ",
    "!x",
]


@pytest.mark.parametrize("text", STRANGE)
def test_any_text_passes_through_a_shell(make_record: MakeRecord, text: str) -> None:
    values: dict[str, Any] = {
        "model": {"name": "mine", "one": text, "many": [text] * 20, "by": {text: 1}},
        "data": {"dataset": text},
    }
    assert parse_value(words(make_record("aaaa", spec=values))[-1], "") == values


def test_the_folder_of_a_users_model_is_part_of_the_command(make_record: MakeRecord) -> None:
    record = make_record("aaaa", provenance={"models": "/home/me/my models"})
    assert words(record)[:4] == ["harness", "run", "--models", "/home/me/my models"]


def test_the_commit_and_the_removal_come_first(make_record: MakeRecord) -> None:
    shown = describe(make_record("aaaa", provenance={"commit": "c0ffee", "dirty": True}))
    assert "  git checkout c0ffee  # had uncommitted changes\n  harness runs rm aaaa\n" in shown


def test_defaults_stand_where_nothing_is_said() -> None:
    plan = plan_single("{model: {name: rotate}, data.dataset: Atlas, training.epochs: 4}")
    (run,) = plan.runs
    assert run.spec == RunSpec.model_validate(
        {"model": {"name": "rotate"}, "data": {"dataset": "atlas"}, "training": {"epochs": 4}}
    )
    assert run.label == "RotatE"


def test_a_model_that_reads_no_features_is_given_none() -> None:
    told = "{model: {name: rotate}, data: {dataset: atlas, features: all}}"
    assert plan_single(told).runs[0].spec.data.features == "none"


def test_data_that_are_missing_are_told_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    told = "{model: {name: ikrl}, data: {dataset: mkg-w, features: published}}"
    with pytest.raises(MissingDataError, match=f"{tmp_path}.*harness data fetch mkg-w"):
        plan_single(told)


RUN = "model: {name: rotate}, data: {dataset: atlas}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "--spec: needs a mapping"),
        ("{", "--spec"),
        ("{data: {dataset: atlas}}", "--spec model.name: needs a name"),
        ("{model: rotate, data: {dataset: atlas}}", "--spec model.name: needs a name"),
        ("{model: {name: rotate}}", "--spec data.dataset: needs a name"),
        ("{model: {name: rotat}, data: {dataset: atlas}}", "did you mean 'rotate'"),
        ("{model: {name: rotate}, data: {dataset: atlsa}}", "did you mean 'atlas'"),
        (f"{{{RUN}, training.epoch: 3}}", "--spec training.epoch: .*did you mean 'epochs'"),
        (f"{{{RUN}, training: {{epochs: many}}}}", "--spec training.epochs: .*got 'many'"),
        (f"{{{RUN}, model.dmi: 3}}", "--spec model.dmi: model 'rotate': .*did you mean 'dim'"),
        (f"{{{RUN}, seed: one}}", "seed: .*got 'one'"),
        (f"{{{RUN}, seed: -1}}", "seed: .*got -1"),
        (f"{{{RUN}, seed: {2**63}}}", "seed: .*got 9223372036854775808"),
        (f"{{{RUN}, seed.x: 1}}", "--spec seed: is given as a value and as a group"),
        ("{model: {name: mocme}, data: {dataset: atlas, features: al}}", "did you mean 'all'"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_single(text)
