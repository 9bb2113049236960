"""Names of entities and relations are looked up; unknown ones get the nearest."""

from __future__ import annotations

import re
import time

import pytest

from harness.errors import ConfigError
from harness.run.names import NameIndex

NAMES = ("Barack Obama", "Michelle Obama", "London", "University of London", "Leiden University")
ENTITIES = NameIndex("entity", [f"http://example.org/Q{i}" for i in range(5)], NAMES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("obama", "; did you mean 'Barack Obama' or 'Michelle Obama'?"),
        ("Londn", "; did you mean 'London'?"),
        ("Unversity of London", "; did you mean 'University of London'?"),
        ("org/Q3", "; did you mean 'http://example.org/Q3'?"),
        ("example", "; did you mean 'http://example.org/Q0', 'http://example.org/Q1' or 'http://"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"no entity is called '{name}'{hint}")):
        ENTITIES.id_of(name)


def test_few_names_are_listed_where_none_is_near() -> None:
    with pytest.raises(ConfigError, match=r"no relation is called 'zzz'; choose from capital, par"):
        NameIndex("relation", ["capital", "part of"]).id_of("zzz")


def test_labels_are_searched_before_identifiers() -> None:
    index = NameIndex("entity", [f"Q{i}" for i in range(50_000)], ["Barack Obama"])
    with pytest.raises(ConfigError, match="did you mean 'Barack Obama'"):
        index.id_of("Barak Obama")


def test_many_names_are_searched_fast() -> None:
    names = [f"entity number {i} of many" for i in range(30_000)]
    index = NameIndex("entity", [f"Q{i}" for i in range(30_000)], names)
    began = time.process_time()
    with pytest.raises(ConfigError, match="did you mean 'entity number 12345 of many'"):
        index.id_of("entity numbr 12345 of many")
    assert time.process_time() - began < 5
