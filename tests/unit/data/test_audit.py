"""What ``harness data audit`` counts, prints and refuses."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from harness.cli.data import app
from harness.data.audit import audit, audit_source, sentences
from harness.data.audit_text import AUDIT_FORMATS
from harness.data.feature_audit import count_features
from harness.data.feature_presence import DUPLICATE_LIMIT
from harness.data.features import FeatureTable
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.load import source
from harness.errors import ConfigError, DataError

PAIRS = [(f"a{i}", f"b{i}") for i in range(6)]


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Train holds one of four test rows and implies another two; one has an unseen entity."""
    folder = tmp_path / "leaky"
    folder.mkdir()
    train = [f"{b}\tchild\t{a}" for a, b in PAIRS] + [f"{a}\tparent\t{b}" for a, b in PAIRS[2:]]
    train += [f"{a}\tkind\tperson" for a, _ in PAIRS] + ["a0\tkind\tperson"]
    test = ["a0\tparent\tb0", "a1\tparent\tb1", "a2\tparent\tb2", "z\tkind\tperson"]
    for name, rows in zip(SPLITS, (train, ["a0\tsees\ta0"], test), strict=True):
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def _call(*args: object) -> Result:
    result = CliRunner().invoke(app, ["audit", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def _report(folder: Path, *args: object) -> dict:
    (report,) = json.loads(_call(folder, "--format", "json", *args).stdout)
    return report


def test_rows_are_counted_by_what_train_says_of_them(leaky: Path) -> None:
    found = _report(leaky)["found"]
    zero = {"repeats": 0, "loops": 0, "in_train": 0, "in_valid": 0, "implied": 0, "unseen": 0}
    none = {"symmetric": 0, "inverse": 0, "duplicate": 0}
    splits = {name: dict(count) for name, count in found["splits"].items()}
    assert splits["train"] == {**zero, "rows": 17, "repeats": 1, "implied_by": none}
    assert splits["valid"] == {**zero, "rows": 1, "loops": 1, "unseen": 1, "implied_by": none}
    assert splits["test"] == {
        **zero,
        "rows": 4,
        "in_train": 1,
        "implied": 2,
        "implied_by": {**none, "inverse": 2},
        "unseen": 1,
    }
    assert (found["unseen_entities"], found["unseen_relations"]) == (1, 1)  # z and sees


def test_relations_that_imply_others_stand_with_support_and_confidence(leaky: Path) -> None:
    found = _report(leaky)["found"]
    assert found["rules"] == [
        {
            "kind": "inverse",
            "premise": premise,
            "conclusion": conclusion,
            "support": 6,
            "confidence": 1.0,
            "valid": 0,
            "test": told,
        }
        for premise, conclusion, told in (("child", "parent", 3), ("parent", "child", 0))
    ]


def test_a_relation_with_a_constant_answer(leaky: Path) -> None:
    (constant,) = _report(leaky)["found"]["constants"]
    assert constant == {
        "relation": "kind",
        "side": "tail",
        "answer": "person",
        "facts": 6,  # distinct ones
        "share": 1.0,
        "test": 1,
    }


def test_the_same_numbers_come_from_comparing_triples_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)

    def rows(count: int) -> torch.Tensor:
        limits = torch.tensor([12, 4, 12])
        return (torch.rand(count, 3, generator=generator) * limits).long()

    splits = {"train": rows(60), "valid": rows(40), "test": rows(40)}
    names = tuple(map(str, range(12)))
    found = audit(KnowledgeGraph("toy", names, names[:4], splits)).splits
    held = {split: [tuple(row) for row in rows.tolist()] for split, rows in splits.items()}
    entities = {e for h, _, t in held["train"] for e in (h, t)}
    relations = {r for _, r, _ in held["train"]}
    for split, triples in held.items():
        expected = {
            "rows": len(triples),
            "repeats": sum(row in triples[:place] for place, row in enumerate(triples)),
            "loops": sum(h == t for h, _, t in triples),
            "in_train": 0 if split == "train" else sum(row in held["train"] for row in triples),
            "in_valid": sum(row in held["valid"] for row in triples) if split == "test" else 0,
            "unseen": sum(not ({h, t} <= entities and r in relations) for h, r, t in triples),
        }
        assert expected.items() <= asdict(found[split]).items()


def test_more_than_the_card_or_the_option_allows_is_an_error(leaky: Path) -> None:
    refused = _call(leaky)
    assert refused.exit_code == 3
    told = " ".join(refused.stdout.split())
    assert "wrong: train gives away 75.0 % of test, 1.0 % is allowed (--allow-leakage)" in told
    assert _call(leaky, "--allow-leakage", "0.74").exit_code == 3
    allowed = _call(leaky, "--allow-leakage", "0.75")
    assert allowed.exit_code == 0
    assert allowed.stdout.endswith("\nok: train gives away no more than the 75.0 % allowed\n")


def test_what_a_card_acknowledges_is_no_error_but_one_row_more_is(
    leaky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(leaky.parent))
    entry = source("leaky")
    for rows, excess in ((3, ()), (2, ("test",))):
        entry.card = entry.card.model_copy(update={"leaked": {"test": rows}})
        assert audit_source(entry).excess == excess


def test_a_name_comes_before_a_folder_and_other_places_are_none(
    leaky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(leaky.parent)
    leaky.rename(leaky.parent / "atlas")
    assert "Atlas (atlas)" in _call("atlas").stdout
    assert _call("./atlas").exit_code == 3
    with pytest.raises(ConfigError, match="unknown dataset 'atlsa'; did you mean 'atlas'"):
        _call("atlsa")


def test_a_header_that_lies_is_refused_with_its_line(tmp_path: Path) -> None:
    for name, text in {
        "entity2id.txt": "2\na 0\nb 1\n",
        "relation2id.txt": "1\nr 0\n",
        "train2id.txt": "3\n0 1 0\n",
        "valid2id.txt": "1\n0 1 0\n",
        "test2id.txt": "1\n0 1 0\n",
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(
        DataError, match=r"train2id\.txt:1: the header says 3 rows, the file holds 1"
    ):
        _call(tmp_path)


def test_rows_that_say_nothing_are_counted_among_those_that_are_present() -> None:
    n = DUPLICATE_LIMIT + 6
    matrix = torch.eye(n, 8) + torch.arange(n)[:, None]
    matrix[2], matrix[3] = 0.0, -0.0  # both zero, and so the same
    matrix[4:-2] = torch.arange(8.0)
    present = torch.arange(n) < n - 1
    matrix[~present] = 0
    (count,) = count_features({"image": FeatureTable("image", matrix, present)})
    assert (count.present, count.width, count.dropped) == (n - 1, 8, 0)
    assert (count.zero, count.duplicate, count.shared) == (2, 0, DUPLICATE_LIMIT + 2)
    matrix[1] = matrix[4]
    (count,) = count_features({"image": FeatureTable("image", matrix, present)})
    assert (count.duplicate, count.shared) == (DUPLICATE_LIMIT + 1, DUPLICATE_LIMIT + 3)


def test_a_modality_that_nobody_has_is_counted_too() -> None:
    nobody = torch.zeros(3, dtype=torch.bool)
    (count,) = count_features({"text": FeatureTable("text", torch.zeros(3, 2), nobody)})
    assert (count.present, count.zero, count.mean, count.shared) == (0, 0, 0, 0)


def test_files_of_features_beside_the_triples_are_looked_at(leaky: Path) -> None:
    n = len(_entities(leaky))
    (leaky / "features").mkdir()
    vectors = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    vectors[:2] = 0
    vectors[2] = vectors[3]
    np.save(leaky / "features" / "image.npy", vectors)
    report = _report(leaky)
    assert report["feature_set"] == "files"
    (image,) = report["features"]
    assert (image["present"], image["dropped"], image["shared"]) == (n - 2, 2, 2)
    assert "Features 'files'" in _call(leaky).stdout
    (names,) = _report(leaky, "--features", "hashed-names")["features"]
    assert (names["modality"], names["present"]) == ("text", n)


def _entities(folder: Path) -> set[str]:
    rows = [
        line.split("\t") for s in SPLITS for line in (folder / f"{s}.tsv").read_text().splitlines()
    ]
    return {name for head, _, tail in rows for name in (head, tail)}


def test_text_has_eighty_columns_and_says_first_what_matters(leaky: Path) -> None:
    wide = ["a thing that has a long name"] * 2
    rows = (leaky / "train.tsv").read_text().replace("child", wide[0] * 2)
    (leaky / "train.tsv").write_text(rows)
    result = _call(leaky, "atlas")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Summary"
    assert lines.index("Train gives away 75.0 % of test and 0.0 % of valid.") == (
        next(i for i, line in enumerate(lines) if line.startswith("leaky (leaky), digest")) + 2
    )
    assert "Train gives nothing of valid and test away." in lines


def test_formats_and_the_file_they_are_written_to(leaky: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.md"
    printed = _call("atlas", "--format", "markdown", "--out", out)
    assert printed.stdout == ""
    page = out.read_text()
    assert page.startswith("# Audit of the datasets\n")
    assert "| Atlas | 0.0 % | 0.0 % |" in page
    assert "\n## Atlas\n" in page
    with pytest.raises(ConfigError, match="--format markdwn: unknown; did you mean 'markdown'"):
        _call("atlas", "--format", "markdwn")
    assert set(AUDIT_FORMATS) == {"text", "markdown", "json"}


def test_the_rows_below_tables_are_those_of_the_audit(
    leaky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(leaky.parent))
    graph = source("leaky").graph()
    assert graph.notes == sentences(audit(graph).splits)
    assert "1 of 4 test rows stand in train." in graph.notes
