"""The Python in docs/features.md runs, and what it writes can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.data.feature_files import SUFFIXES, read_feature_file

DOCUMENT = Path(__file__).parents[3] / "docs" / "features.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), {})
    numbers = read_feature_file(tmp_path / "numeric.csv", "numeric", 2, ("Q1", "Ada Lovelace"))
    assert numbers.present.tolist() == [False, True]
    table = read_feature_file(tmp_path / "image.safetensors", "image", 15000)
    assert 0.85 < table.coverage < 0.95


def test_every_ending_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert all(f"`{suffix}`" in text for suffix in SUFFIXES)
