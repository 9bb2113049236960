"""Where datasets are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.folders import datasets_folder, roots
from harness.errors import ConfigError


def test_the_users_folder_goes_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert roots() == (tmp_path, datasets_folder())
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("HARNESS_DATA")
        else:
            monkeypatch.setenv("HARNESS_DATA", unset)
        assert roots() == (datasets_folder(),)


@pytest.mark.parametrize("kind", ["nowhere", "file"])
def test_a_users_folder_that_there_is_not_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / kind))
    with pytest.raises(ConfigError, match=rf"HARNESS_DATA={tmp_path / kind}: no such folder"):
        roots()


def test_the_users_folder_may_begin_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HARNESS_DATA", "~/data")
    assert roots()[0] == tmp_path / "data"
