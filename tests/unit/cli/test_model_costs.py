"""``harness models show NAME --dataset D``: what a model takes there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.catalog import create_model, load_models
from harness.cli.main import app
from harness.cli.model_costs import costs_text
from harness.data.load import load
from harness.errors import ConfigError
from harness.plan import machine
from harness.plan.estimator import Estimator
from harness.plan.machine import Machine
from harness.plan.single import plan_values
from harness.training.beside import look

MACHINE = Machine(
    key="cpu/test",
    gathered=dict.fromkeys(("dot", "l1", "l2", "modulus"), 1e9),
    counted=dict.fromkeys(("dot", "l1", "l2", "modulus"), 1e10),
    filled=1e8,
    drawn=1e7,
    swept=1e8,
    updated=1e9,
    libraries=200 * 2**20,
    resident=300 * 2**20,
)


@pytest.fixture(autouse=True)
def _no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    load_models()
    monkeypatch.setattr(machine, "measure_machine", lambda *where: MACHINE)
    monkeypatch.setattr(machine, "used_by_others", lambda: 0.0)


def costs(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        CliRunner().invoke(app, ["models", "show", *words, "--json"]).stdout
    )
    return found


def test_parameters_are_those_of_the_model_on_the_dataset_by_part() -> None:
    found = costs("mocme", "--dataset", "atlas", "--features", "all", "--set", "model.dim=8")
    dataset = load("atlas", "all")
    modalities = dataset.features.modalities()
    model = create_model("mocme", {"dim": 8}, dataset.graph.index, modalities)
    expected: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0]
        expected[part] = expected.get(part, 0) + parameter.numel()
    assert found["parameters"] == expected
    assert found["modalities"] == sorted(modalities)
    assert (found["entities"], found["epochs"]) == (3942, 100)


@pytest.mark.parametrize(
    ("model", "features", "modalities"),
    [
        ("mygo", "all", ["image", "numeric", "text"]),
        ("ikrl", "all", ["image"]),
        ("mocme", "none", []),
    ],
)
def test_without_features_a_model_has_the_first_that_do_for_it(
    model: str, features: str, modalities: list[str]
) -> None:
    found = costs(model, "--dataset", "atlas", "--set", "model.dim=8")
    assert (found["features"], found["modalities"]) == (features, modalities)


def test_memory_is_that_of_a_dry_run() -> None:
    found = costs("rotate", "--dataset", "atlas")
    [run] = plan_values({"model.name": "rotate", "data.dataset": "atlas"}, "").runs
    assert found["bytes"] == Estimator("cpu", look).budget(run, MACHINE).bytes


def test_a_model_of_reverse_relations_has_a_loss_that_it_can_be_trained_with() -> None:
    words = ("--dataset", "atlas", "--set", "model.dim=8")
    found = costs("imf", *words)
    assert (found["loss"], found["epochs"]) == ("one_vs_all", 100)
    assert "for 100 epochs (one_vs_all) and the ranking" in costs_text(found)
    assert costs("imf", *words, "--set", "objective.loss=k_vs_all")["loss"] == "k_vs_all"


def test_the_text_fits_eighty_columns_and_adds_up() -> None:
    for name in ("rotate", "lookup"):
        text = costs_text(costs(name, "--dataset", "atlas"))
        assert max(map(len, text.splitlines())) <= 80
        assert ("epochs (logistic) and the ranking" in text) == (name == "rotate")
    shown = CliRunner().invoke(app, ["models", "show", "lookup", "--dataset", "atlas"]).stdout
    assert shown.rstrip().endswith(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rotate", "--features", "names"], "give a --dataset too"),
        (["twins", "--dataset", "atlas"], "is a strategy of negatives, no model"),
        (["rotate", "--dataset", "atlsa"], "did you mean 'atlas'"),
        (["mocme", "--dataset", "atlas", "--features", "nmaes"], "no feature set 'nmaes'"),
        (["rotate", "--dataset", "atlas", "--set", "model.dmi=8"], "--set model.dmi: .*'dim'"),
        (["rotate", "--dataset", "atlas", "--set", "model=3"], "--set model=3: name a setting"),
        (["ikrl", "--dataset", "atlas", "--features", "none"], "^IKRL on atlas: needs image: "),
    ],
)
def test_what_cannot_be_estimated_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(app, ["models", "show", *words], catch_exceptions=False)


@pytest.mark.data
@pytest.mark.usefixtures("published")
def test_where_no_features_do_it_is_said_what_is_missing() -> None:
    with pytest.raises(
        ConfigError, match=r"^IKRL .* needs image: .*; not on this machine: .*tokens, "
    ):
        CliRunner().invoke(
            app, ["models", "show", "ikrl", "--dataset", "mkg-w"], catch_exceptions=False
        )
