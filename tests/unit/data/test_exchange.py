"""Graphs of others: formats of triples, one-file graphs, folders for others."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path

import pytest
import torch

from harness.data.exchange import export_dataset, split_file
from harness.data.feature_files import read_feature_file
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.local import LocalSource, import_local
from harness.data.readers import detect_layout, graph_files, read_folder
from harness.data.split import split_triples
from harness.data.triple_files import read_triple_file
from harness.errors import ConfigError, DataError, MissingDataError

Triple = tuple[str, str, str]

TRIPLES: dict[str, list[Triple]] = {
    "train": [("a", "likes", "b"), ("b", "knows", "c"), ("c", "likes", "d")],
    "valid": [("a", "knows", "c")],
    "test": [("b", "likes", "d"), ("d", "knows", "a")],
}


def named(graph: KnowledgeGraph, split: str) -> list[Triple]:
    return [
        (graph.entities[h], graph.relations[r], graph.entities[t])
        for h, r, t in graph.splits[split].tolist()
    ]


def assert_is_the_graph(folder: Path) -> KnowledgeGraph:
    graph = read_folder(folder, "toy")
    assert {split: named(graph, split) for split in SPLITS} == TRIPLES
    assert graph.entities == ("a", "b", "c", "d")
    return graph


def write_tsv(folder: Path, names: tuple[str, str, str] = SPLITS, ending: str = ".tsv") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in zip(SPLITS, names, strict=True):
        rows = ["\t".join(triple) for triple in TRIPLES[split]]
        (folder / f"{name}{ending}").write_text("\n".join(rows) + "\n")


# --- names of the validation split ------------------------------------------------------------


@pytest.mark.parametrize("name", ["valid", "dev", "val", "validation"])
@pytest.mark.parametrize("ending", [".tsv", ".txt"])
def test_the_validation_split_has_several_names(tmp_path: Path, name: str, ending: str) -> None:
    write_tsv(tmp_path, ("train", name, "test"), ending)
    assert_is_the_graph(tmp_path)


def test_two_validation_splits_are_refused(tmp_path: Path) -> None:
    write_tsv(tmp_path)
    (tmp_path / "dev.tsv").write_text("a\tknows\tc\n")
    with pytest.raises(DataError, match=r"several validation splits.*valid\.tsv, dev\.tsv"):
        read_folder(tmp_path, "toy")


# --- folders of Hugging Face datasets ---------------------------------------------------------


def write_records(folder: Path, ending: str, columns: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {"train": "train", "valid": "validation", "test": "test"}
    for split, triples in TRIPLES.items():
        path = folder / f"{names[split]}-00000-of-00001{ending}"
        rows = [dict(zip(columns, triple, strict=True)) | {"extra": "x"} for triple in triples]
        if ending == ".jsonl":
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        elif ending == ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, [*columns, "extra"])
                writer.writeheader()
                writer.writerows(rows)
        else:
            pa = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize(
    "columns",
    [("head", "relation", "tail"), ("subject", "predicate", "object"), ("h", "r", "t")],
    ids="-".join,
)
def test_a_folder_of_hugging_face_datasets_is_a_dataset(
    tmp_path: Path,
    ending: str,
    columns: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if (ending, columns[0]) == (".csv", "h"):
        pytest.skip("a header of single letters could be a triple")
    folder = tmp_path / "toy"
    write_records(folder / "data", ending, columns)
    (folder / "README.md").write_text("a card")
    assert detect_layout(folder) == "records"
    graph = assert_is_the_graph(folder)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    target = import_local(folder, "toy")
    assert LocalSource(target).graph().digest == graph.digest


def test_several_files_of_a_split_follow_each_other(tmp_path: Path) -> None:
    write_records(tmp_path / "data", ".jsonl", ("head", "relation", "tail"))
    path = tmp_path / "data" / "train-00000-of-00001.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    path.unlink()
    (path.parent / "train-00000-of-00002.jsonl").write_text(first)
    (path.parent / "train-00001-of-00002.jsonl").write_text("".join(others))
    assert_is_the_graph(tmp_path)


def test_what_is_wrong_with_a_record_is_named_with_its_line(tmp_path: Path) -> None:
    for line, message in (
        ('{"head": "a", "tail": "b"}', r":2: no column for the relation; has head, tail"),
        ('{"head": "a", "relation": "r", "tail": null}', r":2: the tail is None"),
        ('{"head": "a", "relation": "r", "tail": "b\\tc"}', r":2: the tail is 'b\\tc'"),
        ("[1]", r":2: need an object"),
        ("{", r":2: no JSON"),
        ("[" * 100_000, r":2: no JSON"),
    ):
        path = tmp_path / "graph.jsonl"
        path.write_text('{"head": "a", "relation": "r", "tail": "b"}\n' + line + "\n")
        with pytest.raises(DataError, match=message):
            read_triple_file(path)
    with pytest.raises(DataError, match=r"cannot read '\.xlsx'; use one of \.tsv"):
        read_triple_file(tmp_path / "graph.xlsx")


def test_a_csv_without_a_header_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "graph.csv"
    path.write_text('a,likes,"b, c"\nb,knows,c\n')
    assert read_triple_file(path).triples == [("a", "likes", "b, c"), ("b", "knows", "c")]


# --- PyKEEN -----------------------------------------------------------------------------------


def write_pykeen(folder: Path) -> None:
    """Write what ``Dataset.to_directory_binary`` of PyKEEN writes."""
    entities, relations = ["a", "b", "c", "d"], ["knows", "likes"]
    names = {"train": "training", "valid": "validation", "test": "testing"}
    for split, triples in TRIPLES.items():
        place = folder / names[split]
        place.mkdir(parents=True)
        for kind, labels in (("entity", entities), ("relation", relations)):
            rows = "".join(f"{i}\t{label}\n" for i, label in enumerate(labels))
            with gzip.open(place / f"{kind}_to_id.tsv.gz", "wt") as file:
                file.write(f"id\tlabel\n{rows}")
        ids = [(entities.index(h), relations.index(r), entities.index(t)) for h, r, t in triples]
        rows = "".join(f"{h}\t{r}\t{t}\n" for h, r, t in ids)
        with gzip.open(place / "numeric_triples.tsv.gz", "wt") as file:
            file.write(f"head\trelation\ttail\n{rows}")


def test_a_folder_of_pykeen_is_a_dataset(tmp_path: Path) -> None:
    write_pykeen(tmp_path / "toy")
    assert detect_layout(tmp_path / "toy") == "pykeen"
    assert_is_the_graph(tmp_path / "toy")
    path = tmp_path / "toy" / "training" / "numeric_triples.tsv.gz"
    assert read_triple_file(path).triples == TRIPLES["train"]
    with gzip.open(path, "wt") as file:
        file.write("head\trelation\ttail\n0\t7\t1\n")
    with pytest.raises(DataError, match=r"numeric_triples\.tsv\.gz:2: no ids of this folder"):
        read_triple_file(path)


def test_a_split_of_another_layout_beside_folders_of_pykeen_is_not_read(tmp_path: Path) -> None:
    write_pykeen(tmp_path / "toy")
    written = set((tmp_path / "toy").rglob("*.gz"))
    (tmp_path / "toy" / "test.csv").write_text("x,likes,y\n")
    assert_is_the_graph(tmp_path / "toy")
    assert graph_files(tmp_path / "toy") == {*written, tmp_path / "toy" / "entity_names.tsv"}
    assert_is_the_graph(import_local(tmp_path / "toy", "mine"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0\ta\n1\tb\n0\tc\n", ":4: id 0 is given twice"),
        ("0\ta\n1\tb\n2\ta\n", ":4: 'a' is given twice, first on line 2"),
        ("9" * 5000 + "\ta\n", ":2: '9{60}' is no id"),
    ],
)
def test_names_of_pykeen_have_one_id_each(tmp_path: Path, rows: str, message: str) -> None:
    write_pykeen(tmp_path / "toy")
    with gzip.open(tmp_path / "toy" / "training" / "entity_to_id.tsv.gz", "wt") as file:
        file.write(f"id\tlabel\n{rows}")
    with pytest.raises(DataError, match=rf"entity_to_id\.tsv\.gz{message}"):
        read_folder(tmp_path / "toy", "toy")


def test_a_damaged_file_of_pykeen_is_named(tmp_path: Path) -> None:
    write_pykeen(tmp_path / "toy")
    path = tmp_path / "toy" / "training" / "numeric_triples.tsv.gz"
    content = bytearray(path.read_bytes())
    start = content.index(0, 10) + 1  # behind the file's name, where the compressed text begins
    content[start] = 0b111  # a kind of block that there is not
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"numeric_triples\.tsv\.gz: cannot be read"):
        read_folder(tmp_path / "toy", "toy")


def test_pykeen_reads_and_writes_the_same_graph(tmp_path: Path) -> None:
    pykeen = pytest.importorskip("pykeen.triples", reason="PyKEEN is not installed (extra [peers])")
    export_dataset("atlas", tmp_path / "out")
    ours = read_folder(tmp_path / "out", "atlas")
    train = pykeen.TriplesFactory.from_path(tmp_path / "out" / "train.tsv")
    assert train.num_triples == len(set(named(ours, "train")))
    folder = tmp_path / "theirs"
    train.to_path_binary(folder)
    back = read_triple_file(folder / "numeric_triples.tsv.gz").triples
    assert sorted(back) == sorted(set(named(ours, "train")))


# --- RDF --------------------------------------------------------------------------------------

TURTLE = """
@prefix : <http://example.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
:paris rdfs:label "Paris"@fr, "Paris city"@en ; :population 2102650 ; :capital_of :france ;
    :founded "-0250"^^xsd:gYear ; :motto "Fluctuat nec mergitur" .
:france :area 551695.0 ; :member_of :eu ; :neighbour [ :name "no" ] .
"""


def test_rdf_has_triples_numbers_and_names(tmp_path: Path) -> None:
    rdflib = pytest.importorskip("rdflib", reason="the extra [rdf] is not installed")
    path = tmp_path / "graph.ttl"
    path.write_text(TURTLE)
    content = read_triple_file(path)
    base = "http://example.org/"
    assert content.triples == [
        (f"{base}france", f"{base}member_of", f"{base}eu"),
        (f"{base}paris", f"{base}capital_of", f"{base}france"),
    ]
    assert {(e.rpartition("/")[2], a.rpartition("/")[2]): v for e, a, v in content.literals} == {
        ("france", "area"): 551695.0,
        ("paris", "population"): 2102650.0,
        ("paris", "founded"): -250.0,
    }
    assert content.names == {f"{base}paris": "Paris city"}
    assert content.left_out == 3  # the motto, the blank node and its name
    for ending, form in ((".nt", "nt"), (".rdf", "xml"), (".n3", "n3")):
        other = tmp_path / f"graph{ending}"
        rdflib.Graph().parse(path).serialize(other, format=form, encoding="utf-8")
        assert read_triple_file(other) == content
    path.write_text(TURTLE + "broken")
    with pytest.raises(DataError, match=r"graph\.ttl.*cannot be read as RDF"):
        read_triple_file(path)


def test_rdf_in_xml_reads_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("rdflib", reason="the extra [rdf] is not installed")
    (tmp_path / "secret.txt").write_text("secret")
    path = tmp_path / "graph.rdf"
    path.write_text(
        f"""<?xml version="1.0"?>
<!DOCTYPE r [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://e/">
<rdf:Description rdf:about="http://e/a"><e:p rdf:resource="http://e/b"/>
<label xmlns="http://www.w3.org/2000/01/rdf-schema#">&x;</label></rdf:Description>
</rdf:RDF>"""
    )
    content = read_triple_file(path)
    assert content.triples == [("http://e/a", "http://e/p", "http://e/b")]
    assert "secret" not in str(content)


def test_without_rdflib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rdflib", None)
    (tmp_path / "graph.nt").write_text("<a> <b> <c> .\n")
    with pytest.raises(MissingDataError, match=r"pip install -e '\.\[rdf\]'"):
        read_triple_file(tmp_path / "graph.nt")


def test_a_folder_of_n_triples_is_a_dataset(tmp_path: Path) -> None:
    pytest.importorskip("rdflib", reason="the extra [rdf] is not installed")
    for split, triples in TRIPLES.items():
        lines = [f"<x:{h}> <x:{r}> <x:{t}> .\n" for h, r, t in triples]
        (tmp_path / f"{'dev' if split == 'valid' else split}.nt").write_text("".join(lines))
    graph = read_folder(tmp_path, "toy")
    assert graph.entities == ("x:a", "x:b", "x:c", "x:d")
    assert [len(graph.splits[split]) for split in SPLITS] == [3, 1, 2]


# --- one file, three splits -------------------------------------------------------------------


def random_graph(seed: int, n: int = 400) -> list[Triple]:
    """A graph with inverse pairs, symmetric and duplicate relations, and repeated lines."""
    generator = random.Random(seed)
    triples: list[Triple] = []
    for _ in range(n):
        head, tail = (f"e{generator.randrange(80)}" for _ in range(2))
        relation = f"r{generator.randrange(5)}"
        triples.append((head, relation, tail))
        if generator.random() < 0.3:
            triples.append((tail, f"{relation} of", head))
        if generator.random() < 0.1:
            triples.append((head, relation, tail))
    return triples


def entities_of(triples: list[Triple]) -> set[str]:
    return {entity for head, _, tail in triples for entity in (head, tail)}


def relations_of(triples: list[Triple]) -> set[str]:
    return {relation for _, relation, _ in triples}


def pairs_of(triples: list[Triple]) -> set[frozenset[str]]:
    return {frozenset((head, tail)) for head, _, tail in triples}


@pytest.mark.parametrize("seed", range(5))
def test_transductive_splits_have_every_name_in_train_and_no_pair_twice(seed: int) -> None:
    triples = random_graph(seed)
    result = split_triples(triples, seed=seed, ratios=(7, 1, 2))
    train, valid, test = (result.triples[split] for split in SPLITS)
    assert sorted([*train, *valid, *test]) == sorted(set(triples))
    for part in (valid, test):
        assert entities_of(part) <= entities_of(train)
        assert relations_of(part) <= relations_of(train)
    assert not pairs_of(train) & pairs_of(valid)
    assert not pairs_of(train) & pairs_of(test)
    assert not pairs_of(valid) & pairs_of(test)
    assert len(test) == pytest.approx(0.2 * len(set(triples)), abs=3)
    assert len(valid) == pytest.approx(0.1 * len(set(triples)), abs=3)
    assert f"{len(triples) - len(set(triples)):,} repeated triples were dropped" in result.report


@pytest.mark.parametrize("seed", range(5))
def test_ratios_are_weights(seed: int) -> None:
    triples = random_graph(seed)
    shares, weights = (split_triples(triples, ratios=r) for r in ((0.8, 0.1, 0.1), (8, 1, 1)))
    assert shares == weights


@pytest.mark.parametrize("seed", range(5))
def test_in_a_sparse_graph_train_keeps_what_it_needs(seed: int) -> None:
    triples = random_graph(seed, 100)  # most entities are in one or two triples
    train, valid, test = (split_triples(triples, seed=seed).triples[split] for split in SPLITS)
    assert entities_of(train) == entities_of(triples)
    assert relations_of(train) == relations_of(triples)
    assert valid
    assert test


def test_the_seed_alone_decides_not_the_order_of_the_lines() -> None:
    triples = random_graph(0)
    first = split_triples(triples, seed=3)
    assert split_triples(triples[::-1], seed=3).triples == first.triples
    assert split_triples(triples, seed=4).triples != first.triples


@pytest.mark.parametrize("seed", range(5))
def test_cold_splits_have_triples_with_one_new_entity(seed: int) -> None:
    triples = random_graph(seed, 800)
    parts = split_triples(triples, seed=seed, kind="cold", cold=0.5).triples
    known = entities_of(parts["train"])
    for split in ("valid", "test"):
        new = [sum(e not in known for e in {h, t}) for h, _, t in parts[split]]
        assert max(new) == 1
        assert sum(new) == pytest.approx(0.5 * len(new), abs=0.15 * len(new))
        assert relations_of(parts[split]) <= relations_of(parts["train"])
    unseen = [entities_of(parts[split]) - known for split in ("valid", "test")]
    assert not unseen[0] & unseen[1]


@pytest.mark.parametrize("seed", range(5))
def test_inductive_splits_share_relations_and_no_entity(seed: int) -> None:
    result = split_triples(random_graph(seed, 1500), seed=seed, kind="inductive")
    train, valid, test = (result.triples[split] for split in SPLITS)
    assert not entities_of(train) & entities_of(test)
    assert not entities_of(train) & entities_of(valid)
    assert not entities_of(valid) & entities_of(test)
    assert relations_of(valid) | relations_of(test) <= relations_of(train)
    assert any("were dropped" in sentence for sentence in result.report)


def test_impossible_splits_are_refused() -> None:
    triples = random_graph(0)
    for options, message in (
        ({"ratios": (1, 1)}, "--ratios: three positive numbers"),
        ({"ratios": (1, 0, 1)}, "--ratios: three positive numbers"),
        ({"kind": "inductiv"}, "did you mean 'inductive'"),
        ({"kind": "cold", "cold": 0.0}, "--cold 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            split_triples(triples, **options)
    with pytest.raises(DataError, match="none is left for valid"):
        split_triples([("a", "r", "b"), ("b", "r", "c")])


def test_a_split_folder_has_numbers_names_and_a_report(tmp_path: Path) -> None:
    pytest.importorskip("rdflib", reason="the extra [rdf] is not installed")
    lines = [f"<x:{h}> <x:{r.replace(' ', '_')}> <x:{t}> ." for h, r, t in random_graph(1)]
    lines += ['<x:e1> <x:height> "1.5"^^<http://www.w3.org/2001/XMLSchema#double> .']
    lines += ['<x:e2> <http://www.w3.org/2000/01/rdf-schema#label> "Second" .']
    (tmp_path / "graph.nt").write_text("\n".join(lines) + "\n")
    result = split_file(tmp_path / "graph.nt", tmp_path / "out", seed=1)
    assert "1 numbers of entities are in features/numeric.tsv" in result.report
    graph = read_folder(tmp_path / "out", "mine")
    assert graph.entity_names[graph.entities.index("x:e2")] == "Second"
    table = read_feature_file(
        tmp_path / "out" / "features" / "numeric.tsv", "numeric", graph.n_entities, graph.entities
    )
    assert table.present.nonzero().flatten().tolist() == [graph.entities.index("x:e1")]
    stored = json.loads((tmp_path / "out" / "split.json").read_text())
    assert (stored["seed"], stored["report"]) == (1, list(result.report))
    with pytest.raises(ConfigError, match="not empty"):
        split_file(tmp_path / "graph.nt", tmp_path / "out")


# --- literals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".parquet"])
def test_literals_are_standardised_columns(tmp_path: Path, ending: str) -> None:
    rows = [("a", "age", 10.0), ("b", "age", 30.0), ("b", "height", 2.0), ("b", "height", 4.0)]
    path = tmp_path / f"numeric{ending}"
    if ending == ".parquet":
        pa = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
        import pyarrow.parquet as pq

        names = ("entity", "attribute", "value")
        pq.write_table(pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows]), path)
    else:
        separator = "\t" if ending == ".tsv" else ","
        lines = [("entity", "attribute", "value"), *((e, a, str(v)) for e, a, v in rows)]
        path.write_text("\n".join(separator.join(line) for line in lines) + "\n")
    table = read_feature_file(path, "numeric", 3, ("a", "b", "c"))
    assert table.present.tolist() == [True, True, False]
    # age, height (mean of 2 and 4, the only one), and which of them are known
    expected = [[-1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    torch.testing.assert_close(table.matrix, torch.tensor(expected))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x\tage\t1", r"numeric\.tsv:2: 'x' is no entity"),
        ("a\tage\tmany", r"numeric\.tsv:2: 'age' is 'many'; need a number"),
        ("a\tage\tinf", r"numeric\.tsv:2: 'age' is 'inf'"),
        ("a\tage", r"numeric\.tsv:2: has 2 columns"),
    ],
)
def test_a_wrong_literal_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "numeric.tsv"
    path.write_text(f"entity\tattribute\tvalue\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_feature_file(path, "numeric", 2, ("a", "b"))


def test_literals_are_numeric(tmp_path: Path) -> None:
    path = tmp_path / "text.tsv"
    path.write_text("entity\tattribute\tvalue\na\tage\t1\n")
    with pytest.raises(DataError, match=r"call the file numeric\.tsv"):
        read_feature_file(path, "text", 1, ("a",))


# --- folders for others -----------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tsv", "huggingface"])
def test_an_exported_dataset_is_the_same_graph_with_a_card(tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    files = export_dataset("atlas", out, form=form)
    assert {path for path in out.rglob("*") if path.is_file()} == set(files)
    graph = LocalSource(out).graph()
    from harness.data.load import load_dataset

    atlas = load_dataset("atlas").graph
    for split in SPLITS:
        assert named(graph, split) == named(atlas, split)
    names = dict(zip(graph.entities, graph.entity_names, strict=True))
    assert names[atlas.entities[0]] == atlas.entity_names[0]
    card = (out / "README.md").read_text()
    assert "| entities | 3,942 |" in card
    assert "CC BY 4.0" in card
    with pytest.raises(ConfigError, match="not empty"):
        export_dataset("atlas", out)
    with pytest.raises(ConfigError, match="did you mean 'huggingface'"):
        export_dataset("atlas", tmp_path / "new", form="hugingface")


def test_hugging_face_datasets_reads_an_exported_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    export_dataset("atlas", tmp_path / "atlas", form="huggingface")
    loaded = datasets.load_dataset(str(tmp_path / "atlas"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        "train": 4102,
        "validation": 675,
        "test": 670,
    }
    assert set(loaded["train"].column_names) == {"head", "relation", "tail"}
