"""From identifiers to names, and the parts that the published datasets share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.data.load import load_dataset, source
from harness.data.published import name_of, native_files
from harness.errors import DataError


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("<http://dbpedia.org/resource/Kingston_upon_Hull>", "Kingston upon Hull"),
        ("<http://dbpedia.org/resource/AC/DC>", "AC/DC"),
        ("http://dbpedia.org/resource/Nice_Girl%3F", "Nice Girl?"),
        ("http://dbpedia.org/resource/Chi%C8%99in%C4%83u", "Chișinău"),
        ("<http://dbpedia.org/ontology/birthPlace>", "birthPlace"),
        ("<http://www.w3.org/2000/01/rdf-schema#seeAlso>", "seeAlso"),
        ("Gilles_Mbang_Ondo", "Gilles Mbang Ondo"),
        ("FC_Jūrmala", "FC Jūrmala"),
    ],
)
def test_identifiers_become_names(identifier: str, name: str) -> None:
    assert name_of(identifier) == name


def test_files_of_the_triples_are_at_a_pinned_commit() -> None:
    file = next(file for file in native_files("MKG-W") if file.path == "train2id.txt")
    assert file.url == (
        "https://raw.githubusercontent.com/zjukg/NATIVE/"
        "c72291c3d571b36c754897935d21718aa4568fe7/benchmarks/MKG-W/train2id.txt"
    )
    assert file.sha256.startswith("a9f31650")


def _mkg_w(published: Path, folder: Path, *names: str) -> Path:
    """A copy of MKG-W with the named files of names alone."""
    target = folder / "data" / "MKG-W"
    target.mkdir(parents=True)
    for path in (published / "MKG-W").iterdir():
        if path.name.endswith("2id.txt") or path.name in names:
            shutil.copyfile(path, target / path.name)
    return target


@pytest.mark.data
def test_both_kinds_of_name_files_give_mkg_w_the_same_names(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = ("entity2name.tsv", "relation2name.tsv")
    if not all((published / "MKG-W" / name).is_file() for name in tables):
        pytest.skip("this copy of MKG-W has no tables of names")
    linked = load_dataset("mkg-w").graph
    _mkg_w(published, tmp_path, *tables)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    tabled = load_dataset("mkg-w").graph
    assert linked.entity_names == tabled.entity_names
    assert linked.relation_names == tabled.relation_names
    assert linked.digest == tabled.digest


@pytest.mark.data
def test_mkg_w_without_names_shows_identifiers(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _mkg_w(published, tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    graph = load_dataset("mkg-w").graph
    assert graph.entity_names == ()
    assert graph.entity_label(0) == "http://www.wikidata.org/entity/Q370252"
    assert load_dataset("mkg-w").features.tables == {}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "ent_links.txt",
            "http://dbpedia.org/resource/A\n",
            r"ent_links.txt:1: need 'DBpedia<TAB>",
        ),
        ("rel_links.txt", "one\ntwo\n", "need a name for each of 169 relations, got 2"),
        ("entity2name.tsv", "0\ta\n2\tb\n", r"entity2name.tsv:2: need '1<TAB>name'"),
        ("entity2name.tsv", "0\ta\n", "need a name for each of 15000 ids, got 1"),
    ],
)
def test_wrong_files_of_names_are_refused(
    name: str,
    text: str,
    message: str,
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = _mkg_w(published, tmp_path)
    (folder / name).write_text(text)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match=message):
        source("mkg-w").graph()
