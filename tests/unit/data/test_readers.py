"""Readers of the published layouts: what they accept, and the line in every refusal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.data.readers import Layout, detect_layout, graph_files, read_folder
from harness.errors import ConfigError, DataError, MissingDataError

ENTITIES = ("freon", "organic compound", "coolant", "ice")
RELATIONS = ("is a", "used for")
# (head, relation, tail)
TRAIN = [[0, 0, 1], [2, 1, 3], [0, 1, 2]]
VALID = [[2, 0, 1]]
TEST = [[3, 1, 2]]


def _openke(folder: Path) -> None:
    _write(folder, "entity2id.txt", "4\nfreon\t0\norganic compound\t1\ncoolant\t2\nice\t3\n")
    _write(folder, "relation2id.txt", "2\nis a 0\nused for 1\n")
    _write(folder, "train2id.txt", "3\n0 1 0\n2 3 1\n0 2 1\n")
    _write(folder, "valid2id.txt", "1\n2 1 0\n")
    _write(folder, "test2id.txt", "1\n3 2 1\n")


def _momok(folder: Path) -> None:
    _write(folder, "entity2id.txt", "freon 0\norganic_compound 1\ncoolant 2\nice 3\n")
    _write(folder, "relation2id.txt", "is_a 0\nused_for 1\n")
    _write(
        folder,
        "train.txt",
        "freon is_a organic_compound .\ncoolant used_for ice .\nfreon used_for coolant .\n",
    )
    _write(folder, "valid.txt", "coolant is_a organic_compound .\n")
    _write(folder, "test.txt", "ice used_for coolant .\n")


def _mygo(folder: Path) -> None:
    _write(folder, "entities.txt", "freon\norganic compound\ncoolant\nice\n")
    _write(folder, "relations.txt", "is a\nused for\n")
    _tsv(folder, "txt")


def _tsv(folder: Path, suffix: str = "tsv") -> None:
    _write(
        folder,
        f"train.{suffix}",
        "freon\tis a\torganic compound\ncoolant\tused for\tice\nfreon\tused for\tcoolant\n",
    )
    _write(folder, f"valid.{suffix}", "coolant\tis a\torganic compound\n")
    _write(folder, f"test.{suffix}", "ice\tused for\tcoolant\n")


def _write(folder: Path, name: str, text: str | bytes) -> None:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


LAYOUTS: dict[Layout, Callable[[Path], None]] = {
    "openke": _openke,
    "momok": _momok,
    "mygo": _mygo,
    "tsv": _tsv,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_graph(layout: Layout, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    assert detect_layout(tmp_path) == layout
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= graph_files(tmp_path)
    graph = read_folder(tmp_path, "toy")
    assert [name.replace("_", " ") for name in graph.entities] == list(ENTITIES)
    assert [name.replace("_", " ") for name in graph.relations] == list(RELATIONS)
    for split, rows in {"train": TRAIN, "valid": VALID, "test": TEST}.items():
        assert graph.splits[split].dtype == torch.int64
        assert graph.splits[split].tolist() == rows


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_missing_split_of_records_is_named(split: str, tmp_path: Path) -> None:
    for name in {"train", "valid", "test"} - {split}:
        _write(tmp_path, f"{name}.csv", "head,relation,tail\nice,is a,coolant\n")
    for read in (graph_files, lambda folder: read_folder(folder, "toy")):
        with pytest.raises(MissingDataError, match=f"has no file of the split {split}; "):
            read(tmp_path)


def test_the_third_column_of_id_files_is_the_relation(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "train2id.txt", "1\n3 0 1\n")  # ice, freon, used for
    graph = read_folder(tmp_path, "toy")
    head, relation, tail = graph.splits["train"][0].tolist()
    assert (graph.entities[head], graph.relations[relation], graph.entities[tail]) == (
        "ice",
        "used for",
        "freon",
    )


def test_ids_of_a_vocabulary_may_come_in_any_order(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "relation2id.txt", "2\nused for 1\nis a 0\n")
    assert read_folder(tmp_path, "toy").relations == RELATIONS


def test_windows_line_ends_tabs_and_blank_last_lines_are_accepted(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "train2id.txt", "3\r\n0\t1\t0\r\n2 3 1\r\n0 2 1\r\n\r\n")
    _write(tmp_path, "relation2id.txt", "2\r\nis a 0\r\nused for 1\r\n")
    graph = read_folder(tmp_path, "toy")
    assert graph.splits["train"].tolist() == TRAIN
    assert graph.relations == RELATIONS


def test_the_mark_that_windows_editors_put_first_is_no_part_of_a_name(tmp_path: Path) -> None:
    _tsv(tmp_path)
    for file in tmp_path.glob("*.tsv"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    graph = read_folder(tmp_path, "toy")
    assert graph.entities == ENTITIES


def test_a_split_may_be_empty_when_its_header_says_so(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "valid2id.txt", "0\n")
    assert read_folder(tmp_path, "toy").splits["valid"].shape == (0, 3)


def test_only_ascii_whitespace_separates_a_name_from_its_id(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "relation2id.txt", "2\n狮子　头\t0\na\u00a0b\x85\t1\n")
    assert read_folder(tmp_path, "toy").relations == ("狮子　头", "a\u00a0b\x85")


def test_native_db15k_with_its_named_splits_is_read_by_ids(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "train.txt", "not what is read\n")
    assert detect_layout(tmp_path) == "openke"


BAD_ID_ROWS: dict[str, tuple[str | bytes, str]] = {
    "cut off in a row": ("3\n0 1 0\n2 3 1\n0 2", ":4: need 'head tail relation', got '0 2'"),
    "cut off after a row": ("3\n0 1 0\n2 3 1\n", ":1: the header says 3 rows, the file holds 2; "),
    "header too small": ("2\n0 1 0\n2 3 1\n0 2 1\n", ":1: the header says 2 rows, the file holds"),
    "no header": ("0 1 0\n2 3 1\n", ":1: need the number of rows, got '0 1 0'"),
    "four fields": ("2\n0 1 0\n2 3 1 1\n", ":3: need 'head tail relation', got '2 3 1 1'"),
    "blank line inside": ("3\n0 1 0\n\n2 3 1\n", ":3: need 'head tail relation', got ''"),
    "fields moved between lines": ("2\n0 1\n0 2 3 1\n", ":2: need 'head tail relation'"),
    "not an integer": ("2\n0 1 0\n2 3 x1\n", ":3: 'x1' is not an integer id"),
    "a decimal": ("2\n0 1 0\n2 3 1.0\n", ":3: '1.0' is not an integer id"),
    "an underscore": ("2\n0 1 0\n2 1_0 1\n", ":3: '1_0' is not an integer id"),
    "too many digits": ("1\n0 1 99999999999999999999\n", ":2: '99999999999999999999' is not an"),
    "negative": ("2\n0 1 0\n2 -3 1\n", ":3: id -3 is out of range"),
    "head out of range": (
        "2\n0 1 0\n4 3 1\n",
        ":3: head id 4 is out of range: ids run from 0 to 3",
    ),
    "tail out of range": (
        "2\n0 1 0\n2 7 1\n",
        ":3: tail id 7 is out of range: ids run from 0 to 3",
    ),
    "relation out of range": ("2\n0 3 0\n2 3 2\n", ":3: relation id 2 is out of range: ids run"),
    "no ASCII": ("2\n0 1 0\n2 \u00a03 1\n", ":3: "),
    "no UTF-8": (b"2\n0 1 0\n2 3 \xff\n", ":3: "),
    "empty": ("", ": the file is empty"),
}


@pytest.mark.parametrize("case", BAD_ID_ROWS)
def test_a_bad_split_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    _openke(tmp_path)
    content, message = BAD_ID_ROWS[case]
    _write(tmp_path, "train2id.txt", content)
    with pytest.raises(DataError) as error:
        read_folder(tmp_path, "toy")
    assert f"{tmp_path / 'train2id.txt'}{message}" in str(error.value)
    assert error.value.exit_code == 3


def test_head_relation_tail_in_an_id_file_is_told_from_a_wrong_id(tmp_path: Path) -> None:
    _openke(tmp_path)
    _write(tmp_path, "train2id.txt", "3\n0 0 1\n2 1 3\n0 1 2\n")
    with pytest.raises(DataError, match=r"train2id.txt:3: relation id 3 is out of range .* every "):
        read_folder(tmp_path, "toy")
    with pytest.raises(DataError, match="swap the last two columns"):
        read_folder(tmp_path, "toy")


BAD_VOCABULARIES: dict[str, tuple[str | bytes, str]] = {
    "cut off": (
        "5\nfreon 0\norganic compound 1\n",
        ":1: the header says 5 rows, the file holds 2;",
    ),
    "count too small": ("1\na 0\nb 1\n", ":1: the header says 1 rows, the file holds 2"),
    "no count": ("a 0\nb 1\n", ":1: need the number of rows, got 'a 0'"),
    "a control character": ("1\x1c\na 0\n", r":1: need the number of rows, got '1\x1c'"),
    "no id": ("2\na 0\nb\n", ":3: need 'name id', got 'b'"),
    "no name": ("2\na 0\n 1\n", ":3: need 'name id', got ' 1'"),
    "id no integer": ("2\na 0\nb one\n", ":3: 'one' is not an integer id"),
    "id out of range": ("2\na 0\nb 2\n", ":3: id 2 is out of range: 2 rows need the ids 0 to 1"),
    "id negative": ("2\na 0\nb -1\n", ":3: id -1 is out of range"),
    "id twice": ("2\na 0\nb 0\n", ":3: id 0 is given twice, first on line 2"),
    "name twice": ("2\na 0\na 1\n", ":3: 'a' is given twice, first on line 2"),
    "no UTF-8": (b"2\na 0\n\xff\xfe 1\n", ":3: not UTF-8 (byte 0xff)"),
}


@pytest.mark.parametrize("case", BAD_VOCABULARIES)
def test_a_bad_vocabulary_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    _openke(tmp_path)
    content, message = BAD_VOCABULARIES[case]
    _write(tmp_path, "entity2id.txt", content)
    with pytest.raises(DataError) as error:
        read_folder(tmp_path, "toy")
    assert f"{tmp_path / 'entity2id.txt'}{message}" in str(error.value)


BAD_NAMED_ROWS: dict[str, tuple[Layout, str | bytes, str]] = {
    "momok cut off": ("momok", "freon is_a ice .\nfreon is_a", ":2: need 'head relation tail .'"),
    "momok too many": ("momok", "freon is_a ice now .\n", ":1: need 'head relation tail .'"),
    "momok unknown": ("momok", "freon is_a ice .\nfreon is_a air .\n", ":2: tail 'air' has no id"),
    "momok order": ("momok", "freon ice is_a .\n", ":1: 'ice' is no relation, but 'is_a' is"),
    "mygo cut off": (
        "mygo",
        "freon\tis a\tice\nfreon\tis",
        ":2: need 'head<TAB>relation<TAB>tail'",
    ),
    "mygo order": ("mygo", "freon\tice\tis a\n", "in the order 'head tail relation'"),
    "mygo spaces": ("mygo", "freon is ice\n", ":1: need 'head<TAB>relation<TAB>tail'"),
    "mygo relation": ("mygo", "freon\tisa\tice\n", ":1: relation 'isa' has no id"),
    "mygo head": ("mygo", "freo\tis a\tice\n", ":1: head 'freo' has no id"),
    "mygo blank line": ("mygo", "freon\tis a\tice\n\nice\tis a\tice\n", ":2: need 'head<TAB>"),
    "mygo UTF-8": ("mygo", b"freon\tis a\tice\nfreon\tis a\t\xe7\n", ":2: not UTF-8 (byte 0xe7)"),
    "tsv empty field": ("tsv", "freon\t\tice\n", ":1: need 'head<TAB>relation<TAB>tail'"),
    "tsv four fields": ("tsv", "a\tb\tc\td\n", ":1: need 'head<TAB>relation<TAB>tail'"),
}


@pytest.mark.parametrize("case", BAD_NAMED_ROWS)
def test_a_bad_split_of_names_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    layout, content, message = BAD_NAMED_ROWS[case]
    LAYOUTS[layout](tmp_path)
    name = "train.tsv" if layout == "tsv" else "train.txt"
    _write(tmp_path, name, content)
    with pytest.raises(DataError) as error:
        read_folder(tmp_path, "toy")
    assert f"{tmp_path / name}:" in str(error.value)
    assert message in str(error.value)


def test_a_name_given_twice_in_a_list_of_names_is_refused(tmp_path: Path) -> None:
    _mygo(tmp_path)
    _write(tmp_path, "entities.txt", "freon\norganic compound\nfreon\n")
    with pytest.raises(DataError, match=r"entities.txt:3: 'freon' is given twice, first on line 1"):
        read_folder(tmp_path, "toy")


def test_plain_tsv_numbers_names_in_order_of_appearance(tmp_path: Path) -> None:
    _tsv(tmp_path, "txt")
    assert detect_layout(tmp_path) == "tsv"
    _write(tmp_path, "test.txt", "snow\tfalls on\tice\n")
    graph = read_folder(tmp_path, "toy")
    assert graph.entities == (*ENTITIES, "snow")
    assert graph.relations == (*RELATIONS, "falls on")
    assert graph.splits["test"].tolist() == [[4, 2, 3]]


def test_an_absent_split_file_is_named(tmp_path: Path) -> None:
    _openke(tmp_path)
    (tmp_path / "valid2id.txt").unlink()
    with pytest.raises(MissingDataError, match=r"valid2id.txt: no such file"):
        read_folder(tmp_path, "toy")


@pytest.mark.parametrize("ending", ["tsv", "csv"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_an_absent_split_comes_with_its_names_and_the_command_that_splits_a_file(
    split: str, ending: str, tmp_path: Path
) -> None:
    for name in {"train", "valid", "test"} - {split}:
        header = "head,relation,tail\n" if ending == "csv" else ""
        row = "ice,is a,solid\n" if ending == "csv" else "ice\tis a\tsolid\n"
        _write(tmp_path, f"{name}.{ending}", header + row)
    with pytest.raises(MissingDataError) as caught:
        read_folder(tmp_path, "toy")
    assert split in str(caught.value)
    assert "`harness data split FILE --out DIR` splits one file of triples" in str(caught.value)
    assert ("called dev, val, validation" in str(caught.value)) == (split == "valid")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_a_regular_file_is_refused_and_not_waited_for(
    layout: str, kind: str, tmp_path: Path
) -> None:
    LAYOUTS[layout](tmp_path)
    path = next(tmp_path.glob("valid*"))
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(DataError, match=rf"{path.name}: is not a regular file"):
        read_folder(tmp_path, "toy")


def test_a_folder_without_a_layout_says_what_each_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mygo: entities.txt, train.txt"):
        detect_layout(tmp_path)
    with pytest.raises(MissingDataError, match="no such folder"):
        detect_layout(tmp_path / "absent")


def test_an_unknown_layout_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'openke'"):
        read_folder(tmp_path, "toy", "openkee")  # type: ignore[arg-type]


@pytest.mark.data
def test_the_first_published_triples_are_what_the_publishers_name_them(published: Path) -> None:
    """NATIVE's DB15K also holds ``test.txt`` with addresses; these are its first two lines."""
    graph = read_folder(published / "DB15K", "db15k")
    names = [
        (graph.entities[h], graph.relations[r], graph.entities[t])
        for h, r, t in graph.splits["test"][:2].tolist()
    ]
    resource = "<http://dbpedia.org/resource/{}>".format
    assert names == [
        (
            resource("Kingston_upon_Hull"),
            "<http://www.w3.org/2000/01/rdf-schema#seeAlso>",
            resource("Pedagogy"),
        ),
        (
            resource("Ocean's_Eleven"),
            "<http://dbpedia.org/ontology/producer>",
            resource("Jerry_Weintraub"),
        ),
    ]
