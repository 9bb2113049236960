"""Feature sets from public sources, compared with tables that were joined elsewhere."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from harness.data.load import load_graph, source, sources
from harness.data.public import dictionaries, originals
from harness.data.public.joins import Description, plain, year_of
from harness.data.published import PublishedSource
from harness.data.sources import missing_sources
from harness.errors import MissingDataError

pytestmark = pytest.mark.data

PUBLISHED = ("mkg-w", "mkg-y", "db15k", "tiva", "kvc16k")

SETS = {
    "mkg-w": {"descriptions", "numeric"},
    "mkg-y": {"descriptions", "numeric", "visual-tokens"},
    "db15k": {"descriptions", "numeric"},
    "tiva": {"glosses"},
    "kvc16k": {"glosses"},
}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        pytest.skip(f"{path}: not there")
    header, *rows = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def _published(name: str) -> PublishedSource:
    entry = source(name)
    assert isinstance(entry, PublishedSource)
    return entry


# --- what every card holds ------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_dataset_has_its_public_sets(name: str) -> None:
    offered = set(source(name).feature_sets)
    assert offered >= SETS[name] | {"public", "public-tokens", "public-minilm"}
    others = set().union(*SETS.values()) - SETS[name]
    assert not offered & others


@pytest.mark.parametrize("name", PUBLISHED)
def test_sources_are_pinned_and_bear_a_licence(name: str) -> None:
    listed = source(name).card.feature_sources
    assert len({s.location for s in listed}) == len(listed) > 0
    for s in listed:
        assert re.fullmatch("[0-9a-f]{64}", s.sha256)
        assert s.bytes > 0
        assert s.licence
        if s.fetched:
            assert re.fullmatch("[0-9a-f]{40}", s.commit)
            assert s.commit in s.url
    fetched = {s for s in listed if s.fetched}
    assert fetched <= {s for n in source(name).feature_sets for s in source(name).originals(n)}


def test_no_set_reads_types() -> None:
    """Types and type words can be the answers of test triples."""
    for entry in sources():
        assert not [s.path for s in entry.card.feature_sources if "types" in s.path.lower()]


def test_datasets_share_the_same_originals() -> None:
    listed = [s for name in PUBLISHED for s in source(name).card.feature_sources]
    assert len({s.sha256 for s in listed}) == len(set(listed)) < len(listed)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.usefixtures("without_packages")
def test_without_its_originals_a_set_names_the_command(name: str, published: Path) -> None:
    entry = source(name)
    for features in (*SETS[name], "public"):
        assert entry.missing_originals(features)
        with pytest.raises(MissingDataError, match=f"(?s)harness data fetch {name}.*import DIR"):
            entry.modalities(features)
        with pytest.raises(MissingDataError, match=f"harness data fetch {name}"):
            entry.texts("public", load_graph(name))


# --- the joins beside tables that were joined elsewhere ---------------------------------------


@pytest.mark.parametrize(("name", "label"), [("mkg-w", ""), ("mkg-y", ""), ("db15k", "label")])
def test_descriptions_are_those_joined_elsewhere(name: str, label: str, joined: Path) -> None:
    entry = _published(name)
    rows = _rows(joined / entry.card.folder / "entity_text.tsv")
    join = entry.public.descriptions
    described = join(load_graph(name))
    expected = [
        Description(
            row[label] if label else "", row["short_description"], row["image_summary_qwen"]
        )
        for row in rows
    ]
    # The table of MKG-Y keeps the stubs "X is a Type." of 525 entities without images.
    stubs = {
        i
        for i, (ours, theirs) in enumerate(zip(described, expected, strict=True))
        if theirs.summary and not ours.summary
    }
    assert len(stubs) == (525 if name == "mkg-y" else 0)
    for i in stubs:
        assert re.fullmatch(r".* is an? \S+\.", expected[i].summary)
        expected[i] = Description(expected[i].label, expected[i].short, "")
    assert list(described) == expected
    assert sum(map(bool, described)) == join.entities
    summaries = sum(bool(d.summary) for d in described)
    # Of the 525, eight have a short description from Wikidata.
    assert (name, join.entities - summaries) in {("mkg-w", 475), ("mkg-y", 8), ("db15k", 164)}


@pytest.mark.parametrize("name", ["mkg-w", "mkg-y", "db15k"])
def test_numbers_are_those_joined_elsewhere(name: str, joined: Path) -> None:
    entry = _published(name)
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in _rows(joined / entry.card.folder / "numeric.tsv"):
        attribute = row["attribute"]
        values[int(row["id"]), attribute].append(year_of(row["value"], attribute))
    numbers = entry.public.numbers(load_graph(name))
    ours = {(i, a): number for i, row in enumerate(numbers) for a, number in row.items()}
    assert ours.keys() == values.keys()
    for key, several in values.items():
        assert ours[key] == pytest.approx(sum(several) / len(several))
    assert sum(map(bool, numbers)) == entry.public.numbers.entities
    if name == "db15k":
        assert len({attribute for _, attribute in ours}) == 225


def test_visual_tokens_are_those_joined_elsewhere(joined: Path) -> None:
    tokens = _published("mkg-y").public.visual_tokens(load_graph("mkg-y"))
    rows = _rows(joined / "MKG-Y" / "visual_tokens.tsv")
    assert [" ".join(map(str, ids)) for ids in tokens.lists] == [row["tokens"] for row in rows]
    table = source("mkg-y").features("visual-tokens", load_graph("mkg-y")).tables["image"]
    assert table.matrix.shape == (15000, 32)
    assert table.tokens.codebook.shape == (8193, 32)
    assert table.tokens.ids.shape == (15000, 13)
    assert bool(table.present.all())
    entity = table.tokens.codebook[tokens.lists[7]]
    assert table.matrix[7].tolist() == pytest.approx(entity.mean(0).tolist(), abs=1e-6)


@pytest.mark.parametrize(("name", "entities"), [("tiva", 5283), ("kvc16k", 8058)])
@pytest.mark.usefixtures("without_packages")
def test_glosses_come_from_the_joined_table_alone(name: str, entities: int, joined: Path) -> None:
    graph, entry = load_graph(name), _published(name)
    assert missing_sources(entry.originals("glosses"))
    glosses = entry.texts("glosses", graph)["text"]
    assert sum(map(bool, glosses)) == entities == entry.public.glosses.entities
    whole = entry.texts("public", graph)["text"]
    assert [text or graph.entities[i] for i, text in enumerate(glosses)] == whole
    if name == "kvc16k":
        assert whole[1] == "厦门大学. Xiamen University"
    else:
        assert glosses[2] == "physiognomer. Physiognomist."
        # Context labels are the answers of relation 0.
        assert not [text for text in glosses if "(organic compound)" in text]


@pytest.mark.parametrize("name", ["tiva", "kvc16k"])
def test_glosses_joined_from_originals_are_those_of_the_table(
    name: str, joined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, graph = _published(name), load_graph(name)
    from_table = entry.texts("glosses", graph)
    table = entry.public.glosses.table
    if missing_sources(entry.originals("glosses")):
        pytest.skip(f"{joined}: the originals of {name}'s glosses are not there")
    rows = _rows(joined / entry.card.folder / table.path)
    if name == "tiva":
        entries = dictionaries.entries(graph)
        ours = [
            [str(i), graph.entities[i], *entry]
            for i, found in enumerate(entries)
            for entry in found
        ]
        assert ours == [list(row.values()) for row in rows]
    else:
        glosses = dictionaries.cedict_glosses(graph.entities)
        assert {str(i): text for i, text in enumerate(glosses) if text} == {
            row["id"]: row["english_gloss"] for row in rows
        }
    monkeypatch.setattr("harness.data.public.sets.is_here", lambda source: False)
    assert entry.texts("glosses", graph) == from_table


# --- what is encoded ------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_public_texts_begin_with_the_name_and_describe_whom_they_can(
    name: str, joined: Path
) -> None:
    graph, entry = load_graph(name), _published(name)
    part = "glosses" if entry.public.glosses else "descriptions"
    described, whole = (entry.texts(n, graph)["text"] for n in (part, "public"))
    assert len(described) == len(whole) == graph.n_entities
    assert all(text.startswith(plain(graph.entity_label(i))) for i, text in enumerate(whole))
    assert all(text == whole[i] for i, text in enumerate(described) if text)


def test_all_sets_of_a_dataset_and_its_clean_variant_show_the_same_texts(joined: Path) -> None:
    graph, entry = load_graph("db15k"), source("db15k")
    whole = entry.texts("public", graph)
    assert entry.texts("public-minilm", graph) == whole
    assert entry.texts("public-tokens", graph) == whole
    assert source("db15k@clean").texts("public", graph) == whole
    assert entry.texts("use-names", graph) == {"text": list(graph.entity_names)}


def test_texts_of_sets_without_text_are_none(joined: Path) -> None:
    graph = load_graph("mkg-y")
    assert source("mkg-y").texts("numeric", graph) == {}
    assert source("mkg-y").texts("visual-tokens", graph) == {}
    assert source("mkg-y").texts("none", graph) == {}


def test_the_order_of_the_parts_is_fixed(joined: Path) -> None:
    """The texts are part of every run's identity."""
    text = source("db15k").texts("public", load_graph("db15k"))["text"]
    assert text[1].startswith(
        "Franciaország. France. republic with mainland in Europe and numerous oversea territories. "
        "France is a country with a rich history"
    )
    assert originals.DBPEDIA_NUMBERS.location.startswith("sapkotaruz11/Literal_KGs/4ba50f2a")
