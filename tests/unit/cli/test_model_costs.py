"""``harness models show NAME --dataset D``: parameters, memory and time there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.catalog import build_model, load_models
from harness.cli.main import app
from harness.cli.models import costs_text
from harness.data.load import load_dataset
from harness.errors import ConfigError
from harness.plan.memory import data_size, least_memory
from harness.plan.single import plan_values
from harness.run.forecast import ModelCosts
from harness.run.inline import InlineExecutor
from harness.run.memory import readable_size
from tests.toys import SMALL


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    load_models()
    monkeypatch.setenv("HARNESS_KERNELS", "reference")
    monkeypatch.setattr(
        "harness.run.executors.ProcessExecutor", lambda *arguments: InlineExecutor()
    )


def costs(*words: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        CliRunner().invoke(app, ["models", "show", *words, "--json"]).stdout
    )
    return values


def test_parameters_are_those_of_the_model_on_the_dataset_by_part() -> None:
    shown = costs("mocme", "--dataset", "atlas", "--features", "all", "--set", "model.dim=8")
    dataset = load_dataset("atlas", "all")
    modalities = dataset.features.modalities()
    model = build_model("mocme", {"dim": 8}, dataset.graph.index, modalities)
    expected: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        module = name.partition(".")[0]
        expected[module] = expected.get(module, 0) + parameter.numel()
    assert shown["parameters"] == expected
    assert shown["modalities"] == sorted(modalities)
    assert (shown["entities"], shown["epochs"]) == (3942, 100)


@pytest.mark.parametrize(
    ("model", "features", "modalities"),
    [
        ("mygo", "all", ["image", "numeric", "text"]),
        ("ikrl", "all", ["image"]),
        ("mocme", "none", []),
    ],
)
def test_without_features_a_model_has_the_first_that_it_can_do_with(
    model: str, features: str, modalities: list[str]
) -> None:
    shown = costs(model, "--dataset", "atlas", "--set", "model.dim=8")
    assert (shown["features"], shown["modalities"]) == (features, modalities)


def test_without_a_measurement_time_is_unknown_and_memory_the_least() -> None:
    shown = costs("rotate", "--dataset", "atlas")
    [run] = plan_values({"model.name": "rotate", "data.dataset": "atlas"}, "").runs
    assert (shown["seconds"], shown["bytes"], shown["measured_on"]) == (None, None, None)
    assert shown["least_bytes"] == least_memory(run.spec, data_size(run.spec.data)).size
    text = costs_text(ModelCosts(**shown))
    assert f"≥ {readable_size(shown['least_bytes'])}\n" in text
    assert "unknown  for 100 epochs (logistic) and the ranking" in text
    assert text.endswith("unknown: --probe trains for two epochs and keeps time and memory.")


def test_a_probe_measures_time_and_memory() -> None:
    words = ("transe", "--dataset", SMALL, "--set", "model.dim=8")
    probed = costs(*words, "--probe")
    assert probed["seconds"] > 0
    assert probed["bytes"] > probed["least_bytes"] / 2
    assert costs(*words)["seconds"] == probed["seconds"]
    assert "--probe" not in costs_text(ModelCosts(**probed))


def test_a_model_of_reverse_relations_has_a_loss_that_it_can_be_trained_with() -> None:
    words = ("--dataset", "atlas", "--set", "model.dim=8")
    shown = costs("imf", *words)
    assert (shown["loss"], shown["epochs"]) == ("one_vs_all", 100)
    assert "for 100 epochs (one_vs_all) and the ranking" in costs_text(ModelCosts(**shown))
    assert costs("imf", *words, "--set", "objective.loss=k_vs_all")["loss"] == "k_vs_all"


def test_the_text_fits_eighty_columns_and_adds_up() -> None:
    for name in ("rotate", "lookup"):
        text = costs_text(ModelCosts(**costs(name, "--dataset", "atlas")))
        assert max(map(len, text.splitlines())) <= 80
        assert ("epochs (logistic) and the ranking" in text) == (name == "rotate")
    shown = CliRunner().invoke(app, ["models", "show", "lookup", "--dataset", "atlas"]).stdout
    assert shown.rstrip().endswith(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rotate", "--features", "names"], "give a --dataset too"),
        (["rotate", "--probe"], "give a --dataset too"),
        (["twins", "--dataset", "atlas"], "is a negative sampling strategy, not a model"),
        (["rotate", "--dataset", "atlsa"], "did you mean 'atlas'"),
        (["mocme", "--dataset", "atlas", "--features", "nmaes"], "no feature set 'nmaes'"),
        (["rotate", "--dataset", "atlas", "--set", "model.dmi=8"], "--set model.dmi: .*'dim'"),
        (["rotate", "--dataset", "atlas", "--set", "model=3"], "--set model=3: name a setting"),
        (["ikrl", "--dataset", "atlas", "--features", "none"], "^IKRL on atlas: needs image: "),
    ],
)
def test_names_and_settings_are_checked(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["models", "show", *words], catch_exceptions=False)


@pytest.mark.data
@pytest.mark.usefixtures("published")
def test_where_no_features_do_the_message_says_which_are_missing() -> None:
    with pytest.raises(
        ConfigError, match=r"^IKRL .* needs image: .*; not on this machine: .*tokens, "
    ):
        CliRunner().invoke(
            app, ["models", "show", "ikrl", "--dataset", "mkg-w"], catch_exceptions=False
        )
