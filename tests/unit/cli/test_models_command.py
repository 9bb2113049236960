"""``harness models list``: what each model reads."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from harness.catalog import load_models
from harness.cli.main import app
from harness.cli.models import filled
from harness.model import MODELS, Capabilities
from harness.run.models import modalities_of


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ({}, "-"),
        ({"uses_modalities": True}, "any"),
        ({"requires": frozenset({"text", "image"})}, "image, text"),
        ({"uses_modalities": True, "requires": frozenset({"text"})}, "text"),
        ({"uses_modalities": True, "needs_features": True}, "at least one"),
    ],
)
def test_modalities_are_those_required_else_any_or_none(
    reads: dict[str, object], said: str
) -> None:
    assert modalities_of(Capabilities("A", "someone", "1", **reads)) == said  # type: ignore[arg-type]


def test_the_list_names_them_for_people_and_for_programs() -> None:
    listed = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)
    found = {model["name"]: model["modalities"] for model in listed}
    assert (found["rotate"], found["mocme"]) == ("-", "any")
    shown = CliRunner().invoke(app, ["models", "list"], env={"COLUMNS": "200"}).stdout
    [line] = [line for line in shown.splitlines() if line.split()[:1] == ["mocme"]]
    assert " any " in line
    assert "negative sampling strategies" in shown


def test_what_a_model_is_fits_eighty_columns() -> None:
    load_models()
    for name in MODELS:
        shown = CliRunner().invoke(app, ["models", "show", name]).stdout
        about = shown.partition("\n\n")[2].partition("\nOptions (")[0]
        assert about.strip(), name
        assert max(map(len, about.splitlines())) <= 80, name


def test_a_strategy_shows_where_its_options_are_searched() -> None:
    said = CliRunner().invoke(app, ["models", "show", "mans"]).stdout
    assert said.endswith('negatives.strategy.share: {"low": 0.1, "high": 0.9}\n')


def test_what_is_indented_is_not_broken_anew() -> None:
    listing = "a list:\n  " + "x" * 90
    assert filled(f"{'word ' * 20}\n\n{listing}").endswith(f"\n\n{listing}")
