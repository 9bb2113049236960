"""Identifiers that are easily confused, and columns that are not what they are read as."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.data.card import DatasetCard
from harness.data.local import LocalSource
from harness.data.names import audit_names, excess_names
from harness.data.readers import read_folder
from harness.data.verify import verify
from harness.errors import DataError

PLACES = [f"place {i}" for i in range(8)]
Row = tuple[str, str, str]
TRAIN: list[Row] = [(a, "next to", b) for a, b in pairwise(PLACES)]
VALID: list[Row] = [("place 0", "next to", "place 2")]


def folder(path: Path, train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row]) -> Path:
    path.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        text = "".join("\t".join(row) + "\n" for row in rows)
        (path / f"{name}.tsv").write_text(text, encoding="utf-8", newline="")
    return path


def with_test(path: Path, *test: Row) -> Path:
    return folder(path / "g", TRAIN, VALID, test)


def kinds(place: Path) -> dict[str, int]:
    return {finding.kind: finding.count for finding in audit_names(read_folder(place, "g"))}


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        (" place 4", "blanks", "' place 4'"),
        ("place 4 ", "blanks", "'place 4 '"),
        ("place  4", "blanks", "'place  4'"),
        ("place\u00a04", "blanks", r"'place\xa04'"),
        ("place 4\x0b", "blanks", r"'place 4\x0b'"),
        ("place 4\u200b", "invisible", r"'place 4\u200b'"),
        ("\ufeffplace 4", "invisible", r"'\ufeffplace 4'"),
        ("Place 4", "case", "'Place 4'"),
        ("Place 4 ", "blanks", "'Place 4 '"),
    ],
)
def test_a_name_that_looks_like_another_is_found_with_it(
    tmp_path: Path, name: str, kind: str, shown: str
) -> None:
    (finding,) = audit_names(read_folder(with_test(tmp_path, ("place 1", "next to", name)), "g"))
    assert (finding.kind, finding.count) == (kind, 1)
    assert f"1 pair of entities {'differ' if kind != 'unicode' else 'look'}" in str(finding)
    assert str(finding).endswith(f": 'place 4' / {shown}")


def test_composed_and_decomposed_letters_look_the_same(tmp_path: Path) -> None:
    rows: list[Row] = [("Malm\u00f6", "next to", "Malmo\u0308"), ("Malm\u00f6", "next to", "x")]
    (finding,) = audit_names(read_folder(folder(tmp_path, rows, VALID, VALID), "g"))
    assert finding.kind == "unicode"
    assert r"'Malm\u00f6' / 'Malmo\u0308'" in str(finding).replace("ö", r"\u00f6")


def test_relations_are_compared_too(tmp_path: Path) -> None:
    place = with_test(tmp_path, ("place 1", "Next to", "place 4"))
    (finding,) = audit_names(read_folder(place, "g"))
    assert str(finding) == "1 pair of relations differ in case alone: 'next to' / 'Next to'"


def test_plain_graphs_have_no_findings(tmp_path: Path) -> None:
    assert kinds(with_test(tmp_path, ("place 1", "next to", "place 4"))) == {}
    numbers: list[Row] = [("0", "1", "2"), ("1", "0", "2")]
    assert kinds(folder(tmp_path / "ids", numbers, numbers, numbers)) == {}


# --- columns ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2)], ids=["relation last", "relation first"])
def test_columns_in_another_order_in_all_files(tmp_path: Path, order: tuple[int, ...]) -> None:
    swapped = [
        [(row[order[0]], row[order[1]], row[order[2]]) for row in rows]
        for rows in (TRAIN, VALID, [("place 1", "next to", "place 4")])
    ]
    assert "order" in kinds(folder(tmp_path, *swapped))


def test_more_relations_than_a_graph_can_have(tmp_path: Path) -> None:
    rows: list[Row] = [("a", f"r{i}", "b") for i in range(5)]
    (finding,) = audit_names(read_folder(folder(tmp_path, rows, rows, rows), "g"))
    assert str(finding).startswith("5 relations for 2 entities; is a column in another place")


@pytest.mark.parametrize(
    ("row", "order"),
    [
        (("place 1", "place 4", "next to"), "head tail relation"),
        (("next to", "place 1", "place 4"), "relation head tail"),
    ],
)
def test_a_split_in_another_order_than_train_is_refused(
    tmp_path: Path, row: Row, order: str
) -> None:
    place = with_test(tmp_path, ("place 1", "next to", "place 4"), row)
    with pytest.raises(DataError, match=rf"test\.tsv:2: 'place \d' is an entity .*'{order}'"):
        read_folder(place, "g")


@pytest.mark.parametrize(
    "header", [("head", "relation", "tail"), ("Subject", "Predicate", "Object")]
)
def test_a_header_is_refused(tmp_path: Path, header: Row) -> None:
    with pytest.raises(DataError, match=r"train\.tsv:1: .* is a header; take the line out"):
        read_folder(folder(tmp_path, [header, *TRAIN], VALID, VALID), "g")


def test_a_row_that_all_splits_begin_with_may_be_a_header(tmp_path: Path) -> None:
    header = ("von", "wie", "nach")
    splits = ([header, *TRAIN], [header, *VALID], [header, *VALID])
    assert kinds(folder(tmp_path, *splits)) == {"header": 1}
    assert kinds(folder(tmp_path, [*splits[0], ("von", "next to", "place 1")], *splits[1:])) == {}


def test_a_carriage_return_in_a_name_is_refused(tmp_path: Path) -> None:
    place = with_test(tmp_path, ("place 1", "next\rto", "place 4"))
    with pytest.raises(DataError, match=r"test\.tsv:1: 'next\\rto' holds a '\\r'"):
        read_folder(place, "g")


def test_ids_of_openke_under_another_name(tmp_path: Path) -> None:
    files = {"entity2id": "2\na 0\nb 1\n", "relation2id": "1\nr 0\n", "train": "1\n0 1 0\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(DataError, match=r"train\.txt:1: '1' is no triple.*train2id\.txt"):
        read_folder(tmp_path, "g")
    for name in ("entity2id", "relation2id"):
        (tmp_path / f"{name}.txt").unlink()
    with pytest.raises(DataError, match=r"train\.txt:1: need .* got '1'; ids .* OpenKE's"):
        read_folder(tmp_path, "g")


# --- what is meant ------------------------------------------------------------------------


def test_a_card_acknowledges_a_number_of_pairs_and_one_more_is_a_warning(tmp_path: Path) -> None:
    entry = LocalSource(with_test(tmp_path, ("Place 1", "next to", "Place 4")))
    assert len(verify(entry).warnings) == 1
    for count, ok in ((1, False), (2, True)):
        entry.card = DatasetCard.model_validate({**dict(entry.card), "lookalikes": {"case": count}})
        report = verify(entry)
        assert report.ok is ok
        assert ("note: 2 pairs of entities differ in case alone" in report.text()) is ok
    assert excess_names(report.names, {}, ["case"]) == ()


@pytest.mark.parametrize("command", ["verify", "audit", "import"])
def test_commands_warn_unless_it_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    place = with_test(tmp_path, ("place 1", "next to", "Place 4"))
    words = ["data", command, str(place)]
    if command == "import":
        words += ["--name", "g"]
    elif command == "audit":
        words += ["--allow-leakage", "1"]
    else:
        monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
        words = ["data", "verify", "g"]
    done = CliRunner().invoke(app, words)
    said = " ".join((done.output + str(done.exception)).split())
    assert done.exit_code == 3 or isinstance(done.exception, DataError)
    assert "1 pair of entities differ in case alone: 'place 4' / 'Place 4'" in said
    assert "--allow-names case" in said
    assert not (tmp_path / "cache" / "datasets" / "g").exists()
    assert CliRunner().invoke(app, [*words, "--allow-names", "case"]).exit_code == 0


def test_a_kind_that_does_not_exist_is_refused() -> None:
    done = CliRunner().invoke(app, ["data", "verify", "atlas", "--allow-names", "casing"])
    assert str(done.exception) == "--allow-names: no kind 'casing'; did you mean 'case'?"
