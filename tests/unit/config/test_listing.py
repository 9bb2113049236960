"""Names on a command line, separated by commas."""

from __future__ import annotations

import pytest

from harness.config.listing import names_in
from harness.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), (" ", ()), ("a", ("a",)), ("a, b", ("a", "b")), ("b,a,b", ("b", "a"))],
)
def test_names_are_read_once_each_in_their_order(text: str, names: tuple[str, ...]) -> None:
    assert names_in(text, "--dataset") == names


@pytest.mark.parametrize("text", ["a,,b", ",a", "a,", ","])
def test_a_comma_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--dataset {text}: a name is missing beside a comma$"):
        names_in(text, "--dataset")
