"""docs/mocme.md: every open question has a row, and every setting it names is one that exists."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from harness.config.yaml_source import parse_value
from harness.plan.spec import RunSpec
from models.mocme.config import MoCMEConfig

PAGE = (Path(__file__).parents[3] / "docs" / "mocme.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (A\d+) \| (.+) \|$", PAGE, re.MULTILINE)
NAMED = re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)(?:=([^`]+))?`", PAGE)
TOGETHER: dict[str, dict[str, Any]] = {
    "objective.egns.gradient": {"objective": {"egns": {"smooth": 0.05}}},
    "model.fusion.scope": {"model": {"fusion": {"kind": "concat"}}},
}
"""What a setting needs beside it; the page says so."""


def nested(name: str, value: Any) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return {first: nested(rest, value) if rest else value}


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def value_at(tree: Any, name: str) -> Any:
    for key in name.split("."):
        assert isinstance(tree, BaseModel)
        assert key in type(tree).model_fields, f"no option {name}"
        tree = getattr(tree, key)
    return tree


def build(name: str, value: Any) -> Any:
    """Return the value after validation by the class that owns the option."""
    settings = merged(TOGETHER.get(name, {}), nested(name, value))
    options = settings.pop("model", {})
    config = MoCMEConfig.model_validate(options)
    base = {"model": {"name": "mocme"}, "data": {"dataset": "x"}}
    spec = RunSpec.model_validate(merged(base, settings))
    owner, _, rest = name.partition(".")
    return value_at(config, rest) if owner == "model" else value_at(spec, name)


def as_plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_every_open_question_has_a_row_in_order() -> None:
    assert [name for name, _ in ROWS] == [f"A{i}" for i in range(1, 33)]
    assert all(len(re.split(r" \| ", rest)) == 3 for _, rest in ROWS)


def test_every_row_names_a_setting_or_says_why_there_is_none() -> None:
    for name, rest in ROWS:
        last = rest.split(" | ")[-1]
        assert re.search(r"`[a-z_.A-Z]+=", last) or last.startswith("none"), name


@pytest.mark.parametrize(
    ("name", "text"), sorted({(n, v) for n, v in NAMED if v}), ids=lambda x: str(x)
)
def test_every_setting_of_the_page_is_valid(name: str, text: str) -> None:
    value = parse_value(text, "docs/mocme.md")
    with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-4 as text
        value = float(value) if isinstance(value, str) else value
    assert as_plain(build(name, value)) == value


@pytest.mark.parametrize("name", sorted({n for n, v in NAMED if not v}))
def test_every_option_named_without_a_value_exists(name: str) -> None:
    owner, _, rest = name.partition(".")
    base = {"model": {"name": "mocme"}, "data": {"dataset": "x"}}
    value_at(
        MoCMEConfig() if owner == "model" else RunSpec.model_validate(base),
        rest if owner == "model" else name,
    )
