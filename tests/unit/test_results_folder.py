"""Where results are kept by default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.environment import results_folder
from harness.errors import ConfigError


def test_the_option_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", "of the variable")
    assert results_folder(Path("of the option")) == Path("of the option")
    assert results_folder() == Path("of the variable")


@pytest.mark.parametrize("by_option", [True, False])
def test_a_path_that_is_not_utf_8_is_refused(
    by_option: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(os.fsdecode(b"results-\xff"))
    monkeypatch.setenv("HARNESS_HOME", str(path))
    with pytest.raises(ConfigError, match=r"its path is not UTF-8; .* --home or HARNESS_HOME"):
        results_folder(path if by_option else None)
