"""Settings with dots."""

from __future__ import annotations

import pytest

from harness.config.override import flatten, parse_overrides
from harness.errors import ConfigError


def test_values_are_yaml_and_keys_nest() -> None:
    texts = ["a.b=1e-3", "a.c=[x, y]", "d=true", "e=text = more", "f=null"]
    assert parse_overrides(texts) == {
        "a": {"b": 1e-3, "c": ["x", "y"]},
        "d": True,
        "e": "text = more",
        "f": None,
    }


def test_a_key_is_given_once() -> None:
    with pytest.raises(ConfigError, match=r"^--set a\.b: is given twice$"):
        parse_overrides(["a.b=1", " a.b =2"])


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1"])
def test_the_form_is_key_equals_value(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set .*: write KEY=VALUE"):
        parse_overrides([text])


def test_a_bad_value_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"^--set a\.b:1: "):
        parse_overrides(["a.b=[1"])


def test_a_key_is_a_value_or_a_group() -> None:
    with pytest.raises(ConfigError, match=r"--set a: is given as a value and as a group"):
        parse_overrides(["a=1", "a.b=2"])


def test_flatten_undoes_nesting_and_keeps_the_keys_as_written() -> None:
    settings = list(flatten({"a.b": {"c": 1}, "d": [1]}, "|".join))
    assert [setting.path for setting in settings] == [("a", "b", "c"), ("d",)]
    assert settings[0].origin == "a.b|c"
