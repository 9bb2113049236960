"""What ``verify`` counts, and what it calls an error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from harness.data.card import DatasetCard, DatasetSource, FileCard
from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.data.load import source
from harness.data.published import PublishedSource
from harness.data.verify import verify
from harness.errors import MissingDataError

FILES = {
    "entity2id.txt": "4\na 0\nb 1\nc 2\nd 3\n",
    "relation2id.txt": "2\nr 0\ns 1\n",
    "train2id.txt": "4\n0 1 0\n1 2 0\n0 1 0\n2 2 0\n",
    "valid2id.txt": "2\n0 1 0\n2 0 0\n",
    "test2id.txt": "4\n2 0 0\n0 3 0\n0 1 1\n1 2 0\n",
}


def _file(name: str, text: str) -> FileCard:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return FileCard(path=name, sha256=digest, url=f"https://x/{name}")


class _Toy(PublishedSource):
    def __init__(self, coverage: Mapping[str, int] | None = None) -> None:
        self._coverage = coverage
        self.card = DatasetCard(
            name="toy",
            title="TOY",
            folder="toy",
            description="four entities",
            files=(
                *(_file(name, text) for name, text in FILES.items()),
                FileCard(path="names.txt", sha256="0", url="https://x/names.txt", optional=True),
            ),
            counts={"entities": 4, "relations": 2, "train": 4, "valid": 3, "test": 4},
            modality_counts={"image": 3, "text": 2},
            licence="none",
            citation="none",
            source="a test",
            notes=("a note that is long enough to be broken into two lines of eighty columns. ",),
        )

    @property
    def feature_sets(self) -> Mapping[str, str]:
        return {"none": "structure only", "published": "the files"}

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        if self._coverage is None:
            raise MissingDataError("no feature files")
        tables = {}
        for kind, count in self._coverage.items():
            present = torch.arange(graph.n_entities) < count
            tables[kind] = FeatureTable(kind, present[:, None].float(), present)
        return FeatureSet(name, tables)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    (tmp_path / "toy").mkdir()
    for name, text in FILES.items():
        (tmp_path / "toy" / name).write_text(text)
    return tmp_path / "toy"


def test_rows_are_counted_as_the_files_hold_them(folder: Path) -> None:
    report = verify(_Toy())
    assert report.ok
    assert report.folder == folder
    assert report.counts == {"entities": 4, "relations": 2, "train": 4, "valid": 2, "test": 4}
    assert report.highest == {"entity": 3, "relation": 1}


def test_another_sha256_is_an_error_though_the_file_reads_well(folder: Path) -> None:
    (folder / "test2id.txt").write_text("1\n0 1 0\n")
    report = verify(_Toy())
    states = {file.path: file.state for file in report.files}
    assert states["test2id.txt"] == "differs"
    assert states["train2id.txt"] == "ok"
    assert states["names.txt"] == "absent"
    assert report.counts["test"] == 1
    assert len(report.errors) == 1
    assert report.errors[0].startswith("test2id.txt has sha256 ")


def test_an_id_out_of_range_is_an_error_with_its_line(folder: Path) -> None:
    (folder / "test2id.txt").write_text("1\n0 9 0\n")
    report = verify(_Toy())
    assert not report.ok
    assert any("test2id.txt:2: tail id 9 is out of range" in error for error in report.errors)
    assert report.counts == {}
    assert report.text().endswith("wrong: 2 error(s)\n")


def test_a_dataset_that_is_not_here_is_missing(folder: Path) -> None:
    (folder / "train2id.txt").unlink()
    with pytest.raises(MissingDataError, match="harness data fetch toy"):
        verify(_Toy())


def test_published_features_are_counted_where_they_are(folder: Path) -> None:
    assert verify(_Toy()).modalities == {}
    report = verify(_Toy({"image": 3, "text": 1}))
    assert report.modalities == {"image": 3, "text": 1}
    assert report.feature_set == "published"
    with pytest.raises(MissingDataError):
        verify(_Toy(), "published")


def test_the_text_has_eighty_columns_and_marks_what_differs(folder: Path) -> None:
    lines = verify(_Toy({"image": 3, "text": 1})).text().splitlines()
    assert max(len(line) for line in lines if str(folder) not in line) <= 80
    rows = [line.split() for line in lines]
    assert ["valid", "3", "2", "differs"] in rows
    assert ["train", "4", "4"] in rows
    assert ["text", "2", "1", "differs"] in rows
    assert ["image", "3", "3"] in rows
    assert ["names.txt", "absent"] in rows
    assert lines[-1] == "ok"


def test_features_that_ship_with_the_package_are_counted() -> None:
    report = verify(source("atlas"))
    assert report.modalities == report.published_modalities
    assert set(report.modalities) == {"text", "numeric", "image"}


def test_a_generated_dataset_has_no_files_to_check() -> None:
    entry: DatasetSource = source("synthetic")
    report = verify(entry)
    assert report.folder is None
    assert report.files == ()
    assert report.counts["train"] == len(entry.graph().splits["train"])
