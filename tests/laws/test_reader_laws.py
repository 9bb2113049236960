"""Laws of the readers: what is written is read, and no file makes them fail otherwise than said."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.graph import SPLITS
from harness.data.parsing import read_id_triples, read_name_triples, read_vocabulary
from harness.data.readers import read_folder
from harness.errors import DataError

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t"), min_size=1).filter(
        lambda name: name == name.strip(" \t\x0b\x0c\x1c\x1d\x1e\x1f")
    ),
    min_size=2,
    max_size=6,
    unique=True,
)
SEPARATORS = st.sampled_from([" ", "\t"])
LINE_ENDS = st.sampled_from(["\n", "\r\n"])


def _rows(n_entities: int, n_relations: int) -> st.SearchStrategy[list[list[int]]]:
    entity, relation = st.integers(0, n_entities - 1), st.integers(0, n_relations - 1)
    return st.lists(st.tuples(entity, relation, entity).map(list), max_size=8)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_an_openke_folder_gives_back_what_was_written(data: st.DataObject) -> None:
    entities, relations = data.draw(NAMES), data.draw(NAMES)
    separator, end = data.draw(SEPARATORS), data.draw(LINE_ENDS)
    splits = {split: data.draw(_rows(len(entities), len(relations))) for split in SPLITS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, names in (("entity", entities), ("relation", relations)):
            lines = [f"{text}{separator}{place}" for place, text in enumerate(names)]
            _write(folder / f"{kind}2id.txt", [str(len(names)), *lines], end)
        for split, rows in splits.items():
            lines = [f"{head} {tail}{separator}{relation}" for head, relation, tail in rows]
            _write(folder / f"{split}2id.txt", [str(len(rows)), *lines], end)
        graph = read_folder(folder, "toy")
    assert graph.entities == tuple(entities)
    assert graph.relations == tuple(relations)
    assert {split: graph.splits[split].tolist() for split in SPLITS} == splits


def _write(path: Path, lines: list[str], end: str) -> None:
    path.write_bytes("".join(line + end for line in lines).encode())


GOOD = {
    "ids": b"3\n0 1 0\n2 10 1\n10 2 1\n",
    "vocabulary": "3\na b 0\nün\t1\nc 2\n".encode(),
    "names": "a\tr\tb\nb\tr\tün\n".encode(),
    "dotted": "a r b .\nb r ün .\n".encode(),
}
ENTITY_IDS = {"a": 0, "b": 1, "ün": 2}
READ: dict[str, Callable[[Path], object]] = {
    "ids": lambda path: read_id_triples(path, 11, 2),
    "vocabulary": lambda path: read_vocabulary(path, header=True),
    "names": lambda path: read_name_triples(path, ENTITY_IDS, {"r": 0}),
    "dotted": lambda path: read_name_triples(path, ENTITY_IDS, {"r": 0}, dotted=True),
}


@pytest.mark.parametrize("kind", GOOD)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_but_never_fails(kind: str, data: st.DataObject) -> None:
    content = GOOD[kind]
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, len(content)))
    inserted = data.draw(
        st.one_of(st.binary(max_size=4), st.sampled_from([b"", b" ", b"\n", b"\x0c", b"\xc2\xa0"]))
    )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file.txt"
        path.write_bytes(content[:start] + inserted + content[stop:])
        refusal = str(path)
        try:
            READ[kind](path)
        except DataError as error:
            refusal = str(error)
    assert refusal.startswith(str(path))
