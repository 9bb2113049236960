"""The Python in docs/features.md runs, and the tables state what the cards hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.data.card import NO_LICENCE, DatasetCard
from harness.data.feature_files import SUFFIXES, read_feature_file
from harness.data.load import source

PUBLISHED = ("mkg-w", "mkg-y", "db15k", "tiva", "kvc16k")

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


def test_every_feature_set_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    for name in PUBLISHED:
        assert all(f"| `{features}` |" in text for features in source(name).feature_sets)


@pytest.mark.parametrize("name", PUBLISHED)
def test_entities_files_and_sizes_of_public_features_are_those_of_the_card(name: str) -> None:
    text = DOCUMENT.read_text("utf-8")
    card = source(name).card
    for features, described in source(name).feature_sets.items():
        count = re.search(r" \(([\d,]+) entities\)", described)
        if count:
            assert re.search(rf"\| {card.title} \| {count[1]} \|", text), features
    fetched = [s for s in card.feature_sources if s.fetched and s.dataset_file not in _own(card)]
    megabytes = round(sum(s.bytes for s in fetched) / 1e6)
    assert f"| {card.title} | {len(fetched)} | {megabytes} MB |" in text


def _own(card: DatasetCard) -> set[str]:
    """Return the files of a dataset, which are not downloaded a second time."""
    return {f"{card.folder}/{file.path}" for file in card.files}


def test_every_licence_is_documented() -> None:
    text = " ".join(DOCUMENT.read_text("utf-8").split())
    for name in PUBLISHED:
        for original in source(name).card.feature_sources:
            if original.repository != "joined":
                licences = text[text.index("**Licences**") :]
                assert f"`{original.repository}`" in licences
                assert original.licence.replace(f"{NO_LICENCE}; ", "none stated; ") in licences
