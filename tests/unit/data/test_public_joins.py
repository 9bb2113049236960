"""Readers of original files and their joins, on files of a few lines."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.data import acquire
from harness.data.card import FeatureSource
from harness.data.graph import KnowledgeGraph
from harness.data.public import dictionaries, joins, originals
from harness.data.public.joins import Description
from harness.data.public.sets import Join, PublicFeatures, VisualTokens, join_parts
from harness.errors import DataError, MissingDataError
from tests.toys import toy_graph

ENTITIES = "Q1", "Q2", "Q3"
NAMES = ["Ada Lovelace", "Jack E. Cox", "Nowhere"]


def _graph(*entities: str) -> KnowledgeGraph:
    return toy_graph(entities=entities or ENTITIES)


def _put(content: bytes | str, path: str = "file.txt") -> FeatureSource:
    """Store a made-up original in the cache."""
    content = content.encode() if isinstance(content, str) else content
    source = FeatureSource(
        repository="owner/toy",
        commit="0123abc",
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    acquire.store_source(source, content)
    return source


# --- texts ----------------------------------------------------------------------------------


def test_a_stub_without_images_is_no_summary() -> None:
    names = _put("4\n0\tJack E. Cox\n1\tWest (film)\n2\tAda\n3\tEve\n", "names")
    texts = _put(
        "4\n0\t Jack E. Cox is a Person.\n1\tWest (film) is an Album.\n"
        "2\tAda is a woman in a  hat.\n3\tEva is a Person.\n",
        "texts",
    )
    expected = ["", "", "Ada is a woman in a hat.", "Eva is a Person."]
    assert joins.image_summaries(texts, names) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("2\n0\ta\n", "says that it has '2' rows, and has 1"),
        ("1\n1\ta\n", "line 2: need id 0"),
        ("2\n0\ta\n\n1\tb\n", "line 3: need id 1"),
    ],
)
def test_numbered_texts_are_complete(content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        joins.numbered(_put(content))


def test_short_descriptions_come_from_the_table_first() -> None:
    table = _put("Q1\tmathematician\nQ2\t \nQ9\ta; b\n")
    entities = {
        "/m/1": {"wikidata_id": "Q1", "description": "writer"},
        "/m/2": {"wikidata_id": "Q2", "description": "cinematographer"},
        "/m/3": {"wikidata_id": "Q3", "description": None},
    }
    assert joins.descriptions_by_wikidata_id(table, entities) == {
        "Q1": "mathematician",
        "Q2": "cinematographer",
        "Q9": "a; b",
    }


def test_wikidata_ids_of_dbpedia_names_have_an_order_of_precedence() -> None:
    mapping = _put('entity,dbpedia\nQ1,A\nQ2,B\nQ3,"C,_D"\n')
    entities = {
        "/m/1": {"wikidata_id": "Q20", "wikipedia": "https://en.wikipedia.org/wiki/B"},
        "/m/2": {"wikidata_id": "Q30", "wikipedia": "https://en.wikipedia.org/wiki/%C3%89"},
        "/m/3": {"wikidata_id": "Q40", "wikipedia": None},
    }
    ids = joins.wikidata_by_dbpedia(mapping, entities, {"A": "Q10"})
    assert (ids["A"], ids["B"], ids["C,_D"], ids["É"]) == ("Q10", "Q20", "Q3", "Q30")


def test_the_first_link_of_a_name_counts() -> None:
    source = _put(
        "/m/1 <SameAs> <http://dbpedia.org/resource/AC/DC> .\n"
        "/m/2 <SameAs> <http://dbpedia.org/resource/AC/DC> .\n"
    )
    assert joins.same_as(source) == {"AC/DC": "/m/1"}
    assert joins.dbpedia_key("<http://dbpedia.org/resource/AC/DC>") == "AC/DC"
    with pytest.raises(DataError, match="line 1: is no link"):
        joins.same_as(_put("/m/1 is <http://dbpedia.org/resource/A> .\n", "other"))


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "attribute", "number"),
    [
        ("66736000", "populationTotal", 66736000.0),
        ("6.4e+11", "areaTotal", 6.4e11),
        ("1977-6-8", "birthDate", 1977 + 5 / 12 + 7 / 372),
        ("1977.0608", "yago:wasBornOnDate", 1977 + 5 / 12 + 7 / 372),
        ("1786.0000", "yago:wasCreatedOnDate", 1786.0),
        ("-356-7-20", "birthDate", -356 + 6 / 12 + 19 / 372),
        ("1973-0-0", "birthDate", 1973.0),
        ("48.8566", "hasLatitude", 48.8566),
    ],
)
def test_dates_are_years_with_fractions(value: str, attribute: str, number: float) -> None:
    assert joins.year_of(value, attribute) == pytest.approx(number, abs=1e-9)


def test_dates_keep_their_order() -> None:
    dates = [
        "1999-12-31",
        "2000-0-0",
        "2000-1-2",
        "2000-1-31",
        "2000-2-1",
        "2000-12-31",
        "2001-1-1",
    ]
    years = [joins.year_of(date, "birthDate") for date in dates]
    assert years == sorted(set(years))


def test_several_values_of_an_attribute_become_their_mean() -> None:
    triples = [("a", "height", "1"), ("a", "height", "2"), ("b", "age", "7"), ("x", "age", "8")]
    assert joins.numbers_by_name(["a", "", "b"], triples) == [{"height": 1.5}, {}, {"age": 7.0}]


# --- tokens ---------------------------------------------------------------------------------


def test_pickles_of_plain_values_are_read() -> None:
    value = {"a": [1, 2], "b": "text", "c": 1.5}
    assert joins.read_pickle(_put(pickle.dumps(value))) == value


class _Call:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, ("executed",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_that_would_run_code_are_refused(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no pickle of plain lists and numbers"):
        joins.read_pickle(_put(pickle.dumps([1, _Call()], protocol)))
    assert not (tmp_path / "executed").exists()


def test_a_truncated_pickle_is_refused() -> None:
    with pytest.raises(DataError, match="no pickle of plain lists and numbers"):
        joins.read_pickle(_put(pickle.dumps(list(range(100)))[:50]))


def test_a_codebook_is_read_without_running_code(tmp_path: Path) -> None:
    torch.save(torch.arange(6.0).reshape(3, 2), tmp_path / "book.pth")
    source = _put((tmp_path / "book.pth").read_bytes())
    assert joins.read_codebook(source).tolist() == [[0, 1], [2, 3], [4, 5]]
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match="need a codebook"):
        joins.read_codebook(_put((tmp_path / "other.pth").read_bytes(), "other"))
    torch.save(_Call(), tmp_path / "code.pth")
    with pytest.raises(DataError, match="no file of tensors"):
        joins.read_codebook(_put((tmp_path / "code.pth").read_bytes(), "code"))


# --- dictionaries ---------------------------------------------------------------------------


def test_context_labels_are_parted_from_a_sense() -> None:
    parted = dictionaries._parted
    assert parted("(organic compound) A  gas.") == ("(organic compound)", "A gas.")
    assert parted("(dated) (slang) CH<sub>4</sub> &mdash; gas") == ("(dated) (slang)", "CH4 — gas")
    assert parted("A gas (methane).") == ("", "A gas (methane).")


def test_cedict_is_joined_by_either_headword(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "廈門大學 厦门大学 [Xia4 men2 Da4 xue2] /Xiamen University/",
        "文具 文具 [wen2 ju4] /stationery/item of stationery/",
        "行 行 [hang2] /row/",
        "行 行 [xing2] /to walk/see 步行[bu4 xing2]/",
    ]
    monkeypatch.setattr(originals, "CEDICT", _put(pickle.dumps(lines)))
    graph = _graph("厦门大学", "廈門大學", "文具", "行", "桌子")
    assert dictionaries.cedict_glosses(graph.entities)[3] == "row ; to walk/see 步行[bu4 xing2]"
    assert dictionaries.cedict(graph) == [
        ("Xiamen University",),
        ("Xiamen University",),
        ("stationery; item of stationery",),
        ("row; to walk; see 步行",),
        (),
    ]


def test_a_joined_table_must_be_that_of_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    header = "id\tname\tenglish_gloss\n"
    monkeypatch.setattr(originals, "CEDICT_TABLE", _put(f"{header}0\tb\tnut\n"))
    with pytest.raises(DataError, match="entity 0 is 'a', not 'b'"):
        dictionaries.cedict_table(_graph("a", "b"))
    monkeypatch.setattr(originals, "CEDICT_TABLE", _put(f"{header}7\ta\tnut\n"))
    with pytest.raises(DataError, match="no entity has the id '7'"):
        dictionaries.cedict_table(_graph("a", "b"))
    monkeypatch.setattr(originals, "CEDICT_TABLE", _put(f"{header}0\ta\n"))
    with pytest.raises(DataError, match="line 2: need 3 columns"):
        dictionaries.cedict_table(_graph("a", "b"))


# --- sets -----------------------------------------------------------------------------------


def test_parts_of_a_text_are_sentences_without_repetition() -> None:
    assert join_parts("Ada", "", "writer", "She wrote.", "Notes") == "Ada. writer. She wrote. Notes"
    assert join_parts("Who?", "Who?", "a  film") == "Who? a film"
    assert join_parts("", "") == ""


@pytest.fixture
def public() -> PublicFeatures:
    described = [
        Description("ada lovelace", "mathematician", "Ada Lovelace in a hat."),
        Description("John Cox"),
        Description("", "place"),
    ]
    numbers = [{"born": 1815.5}, {}, {"born": 1900.0, "area": 3.0}]
    codebook_file = _codebook()
    return PublicFeatures(
        descriptions=Join((_put("a", "a"),), lambda _: described, entities=2),
        numbers=Join((_put("b", "b"),), lambda _: numbers, entities=2),
        visual_tokens=Join(
            (codebook_file,), lambda _: VisualTokens([[0, 1], [], [2]], codebook_file), entities=2
        ),
    )


def _codebook() -> FeatureSource:
    import io

    stream = io.BytesIO()
    torch.save(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), stream)
    return _put(stream.getvalue(), "book.pth")


def test_the_described_have_a_text_and_public_shows_all(public: PublicFeatures) -> None:
    text = "Ada Lovelace. mathematician. Ada Lovelace in a hat."
    assert public.texts("descriptions", _graph(), NAMES) == [text, "", "Nowhere. place"]
    assert public.texts("public", _graph(), NAMES) == [
        text,
        "Jack E. Cox. John Cox",
        "Nowhere. place",
    ]
    assert public.texts("numeric", _graph(), NAMES) == []


def test_public_has_a_table_per_modality(public: PublicFeatures) -> None:
    tables = public.build("toy", "public", _graph(), NAMES).tables
    assert list(tables) == ["text", "numeric", "image"] == list(public.modalities("public"))
    assert tables["text"].matrix.shape == (3, 512)
    assert tables["text"].provenance["encoder"] == "use"
    assert tables["text"].tokens is None
    assert tables["numeric"].present.tolist() == [True, False, True]
    assert tables["image"].present.tolist() == [True, False, True]
    assert tables["image"].matrix.tolist() == [[0.5, 0.5], [0.0, 0.0], [2.0, 2.0]]
    assert tables["image"].tokens.ids.tolist() == [[0, 1], [-1, -1], [2, -1]]
    tokens = public.build("toy", "public-tokens", _graph(), NAMES).tables
    assert tokens["text"].tokens is not None
    assert tokens["numeric"].digest == tables["numeric"].digest
    assert tokens["image"].digest == tables["image"].digest


def test_what_must_be_encoded_first_is_known_with_all_sizes(public: PublicFeatures) -> None:
    arguments = "toy", "public", _graph(), NAMES
    sizes = public.unencoded(*arguments)
    assert {name: width for name, (width, _, _) in sizes.items()} == {
        "text": 512,
        "numeric": 4,
        "image": 2,
    }
    assert [share for _, share, _ in sizes.values()] == pytest.approx([1, 2 / 3, 2 / 3])
    assert [tokens for _, _, tokens in sizes.values()] == [0, 0, 2]
    public.build(*arguments)
    assert public.unencoded(*arguments) == {}
    assert public.unencoded("toy", "numeric", _graph(), NAMES) == {}


def test_texts_that_are_not_cut_into_tokens_yet_count_as_not_encoded(
    public: PublicFeatures,
) -> None:
    arguments = "toy", "public-tokens", _graph(), NAMES
    sizes = public.unencoded(*arguments)
    assert sizes["text"] == (512, 1.0, 256)
    assert sizes["image"][::2] == (2, 2)
    assert public.unencoded(*arguments) == sizes  # asking cuts nothing
    public.build(*arguments)
    assert public.unencoded(*arguments) == {}


def test_a_set_needs_only_its_own_originals(public: PublicFeatures) -> None:
    missing = public.descriptions.sources[0].model_copy(update={"path": "elsewhere"})
    partial = PublicFeatures(
        descriptions=Join((missing,), public.descriptions.read, entities=2),
        numbers=public.numbers,
    )
    assert partial.build("toy", "numeric", _graph(), NAMES).tables
    assert partial.missing("public") == [missing]
    for name in ("descriptions", "public", "public-tokens"):
        with pytest.raises(MissingDataError, match=rf"(?s)'{name}' lacks 1 .*elsewhere"):
            partial.build("toy", name, _graph(), NAMES)


def test_a_joined_table_stands_for_its_originals(public: PublicFeatures) -> None:
    missing = public.descriptions.sources[0].model_copy(update={"path": "elsewhere"})
    join = Join(
        (missing,),
        lambda _: pytest.fail("read the originals"),
        entities=1,
        table=_put("table", "table"),
        read_table=lambda _: [("a nut",), (), ("b", "c")],
    )
    glossed = PublicFeatures(glosses=join)
    assert join.missing == []
    assert glossed.texts("public", _graph(), NAMES) == [
        "Ada Lovelace. a nut",
        "Jack E. Cox",
        "Nowhere. b. c",
    ]
    assert glossed.texts("glosses", _graph(), NAMES)[1] == ""
