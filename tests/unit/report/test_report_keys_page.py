"""The page of keys is what the definitions say."""

from __future__ import annotations

import re

import pytest

from harness.report.definition import ReportDefinition
from harness.report.files import FIGURES, KINDS
from harness.report.keys import PAGE, reference


def test_the_page_is_that_of_the_definitions() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run python -m harness.report.keys"


@pytest.mark.parametrize(
    "kind", list(dict.fromkeys([*KINDS, *FIGURES.values()])), ids=lambda kind: kind.__name__
)
def test_every_key_has_a_meaning(kind: type[ReportDefinition]) -> None:
    for name, field in kind.model_fields.items():
        if name != "name":
            assert field.description, name
            assert re.search(rf"`{name}`\*?\*? \| .+ \| .+ \|", reference()), name
