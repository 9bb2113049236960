"""``harness models list``: what each model reads."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.cli.models import _modalities
from harness.model import Capabilities


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
    assert _modalities(Capabilities("A", "someone", "1", **reads)) == said  # type: ignore[arg-type]


def test_the_list_names_them_for_people_and_for_programs() -> None:
    listed = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)
    found = {model["name"]: model["modalities"] for model in listed}
    assert (found["rotate"], found["mocme"]) == ("-", "any")
    shown = CliRunner().invoke(app, ["models", "list"], env={"COLUMNS": "200"}).stdout
    [line] = [line for line in shown.splitlines() if line.split()[0] == "mocme"]
    assert " any " in line
