"""What every registered dataset keeps to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.data import acquire, folders
from harness.data.audit import audit, sentences
from harness.data.card import DATASETS, DatasetSource
from harness.data.features import FeatureSet
from harness.data.graph import SPLITS
from harness.data.load import load_dataset, source, sources
from harness.errors import ConfigError, MissingDataError

ALL = [entry.card.name for entry in sources()]
PUBLISHED = [entry.card.name for entry in sources() if entry.card.files]

# The paper's Table 1, as printed.
TABLE_1 = {
    "MKG-W": (15000, 169, 34196, 4276, 4274),
    "MKG-Y": (15000, 28, 21310, 2665, 2663),
    "DB15K": (12842, 279, 79222, 9902, 9904),
    "TIVA": (11858, 16, 20071, 2000, 2000),
    "KVC16K": (16015, 4, 180190, 22523, 22525),
}
TABLE_1_MODALITIES = {
    "MKG-W": {"image": 14463, "text": 14123},
    "MKG-Y": {"image": 14244, "text": 12305},
    "DB15K": {"image": 12818, "text": 9078, "numeric": 11022},
    "TIVA": {"image": 11636, "text": 11858, "audio": 2441, "video": 10269},
    "KVC16K": {"image": 14822, "text": 14822, "audio": 14822, "video": 14822},
}
SAMPLES = {
    "mkg-w": ("The West Wing", "narrative location", "Washington, D.C."),
    "mkg-y": ("Naga, Camarines Sur", "isLocatedIn", "Camarines Sur"),
    "db15k": ("Charles Darwin", "field", "Geology"),
    "tiva": ("microsynteny", "0", "genetics"),
    "kvc16k": ("跳高", "2", "运动"),
}


@pytest.fixture(params=ALL)
def entry(request: pytest.FixtureRequest) -> DatasetSource:
    """Each dataset; those that are not on this machine are skipped."""
    found = source(request.param)
    if found.card.files:
        request.getfixturevalue("published")
        if folders.find(found.card) is None:
            pytest.skip(f"{found.card.title} is not in this copy of the published datasets")
    return found


def test_the_five_benchmarks_are_registered() -> None:
    assert {DATASETS.get(name).card.title for name in PUBLISHED} == set(TABLE_1)


@pytest.mark.parametrize("name", ALL)
def test_a_card_says_where_the_data_is_from_and_on_what_terms(name: str) -> None:
    card = source(name).card
    assert card.name == card.name.lower()
    assert card.title
    assert card.description
    assert card.licence
    assert card.source
    if card.files:
        assert re.search(r"(19|20)\d\d", card.citation)


@pytest.mark.parametrize("name", ALL)
def test_a_dataset_is_found_by_every_name_it_has(name: str) -> None:
    card = source(name).card
    for known in (card.name, card.name.upper(), *card.aliases):
        assert source(known).card == card


@pytest.mark.parametrize("name", PUBLISHED)
def test_title_and_published_folder_are_names_too(name: str) -> None:
    card = source(name).card
    assert source(card.title).card == card
    assert source(card.folder).card == card


def test_no_two_datasets_share_a_name() -> None:
    names = [n.lower() for s in sources() for n in {s.card.name, *s.card.aliases}]
    assert len(names) == len(set(names))


def test_an_unknown_dataset_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'db15k'"):
        source("db15")


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_are_pinned_by_sha256_and_commit(name: str) -> None:
    card = source(name).card
    assert {f"{part}2id.txt" for part in ("entity", "relation", *SPLITS)} <= {
        file.path for file in card.files if not file.optional
    }
    for file in card.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.match(r"https://[^/]+/[^/]+/[^/]+/[0-9a-f]{40}/", file.url)
        assert file.url.endswith(f"/{file.path}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_card_holds_table_1_as_printed(name: str) -> None:
    card = source(name).card
    keys = ("entities", "relations", *SPLITS)
    assert card.printed_counts == dict(zip(keys, TABLE_1[card.title], strict=True))
    assert card.modality_counts == TABLE_1_MODALITIES[card.title]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_dataset_that_is_absent_says_which_command_gets_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=f"harness data fetch {name}"):
        source(name).graph()


@pytest.mark.data
def test_a_graph_is_the_same_every_time(entry: DatasetSource) -> None:
    first, second = entry.graph(), entry.graph()
    assert first.digest == second.digest
    assert first.name == entry.card.name
    for split in SPLITS:
        assert first.splits[split].equal(second.splits[split])


@pytest.mark.data
def test_ids_are_in_range_and_names_are_there_for_all_or_none(entry: DatasetSource) -> None:
    graph = load_dataset(entry.card.name).graph
    for split in SPLITS:
        triples = graph.splits[split]
        assert len(triples)
        assert triples.min() >= 0
        assert triples[:, [0, 2]].max() < graph.n_entities
        assert triples[:, 1].max() < graph.n_relations
    assert len(set(graph.entities)) == graph.n_entities
    assert len(set(graph.relations)) == graph.n_relations
    assert len(graph.entity_names) in (0, graph.n_entities)
    assert len(graph.relation_names) in (0, graph.n_relations)
    assert all(graph.entity_label(entity).strip() for entity in range(graph.n_entities))
    assert all(graph.relation_label(r).strip() for r in range(graph.n_relations))


@pytest.mark.data
def test_the_feature_set_none_is_always_there_and_empty(entry: DatasetSource) -> None:
    assert "none" in entry.feature_sets
    graph = load_dataset(entry.card.name).graph
    assert entry.features("none", graph) == FeatureSet()
    with pytest.raises(ConfigError, match="nonne"):
        entry.features("nonne", graph)


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_have_their_sha256(name: str, published: Path) -> None:
    card = source(name).card
    folder = folders.locate(card)
    assert folder.parent == published
    for file in card.files:
        if (folder / file.path).is_file() or not file.optional:
            assert acquire.sha256_of(folder / file.path) == file.sha256


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_hold_what_table_1_says(name: str, published: Path) -> None:
    graph = load_dataset(name).graph
    counts = (
        graph.n_entities,
        graph.n_relations,
        *(len(graph.splits[split]) for split in SPLITS),
    )
    card = source(name).card
    table = TABLE_1[card.title]
    if name == "db15k":  # printed with valid and test swapped
        table = (*table[:3], table[4], table[3])
    assert counts == table
    assert tuple(card.counts[key] for key in ("entities", "relations", *SPLITS)) == table


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_entities_and_relations_are_shown_by_name(name: str, published: Path) -> None:
    graph = load_dataset(name).graph
    assert graph.entity_names
    labels = [
        (graph.entity_label(h), graph.relation_label(r), graph.entity_label(t))
        for h, r, t in graph.splits["train"][:10].tolist()
    ]
    assert SAMPLES[name] in labels


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_notes_state_what_the_files_hold(name: str, published: Path) -> None:
    """Every number of a note is counted anew, and nothing that is counted goes unsaid."""
    notes = " ".join(source(name).card.notes)
    expected = [
        text.removesuffix(".") for text in sentences(audit(load_dataset(name).graph).splits)
    ]
    for sentence in expected:
        assert sentence in notes
    counted = r"\d+(?: of \d+)? \w+ rows \w+ \w+"
    assert set(re.findall(counted, notes)) == {re.match(counted, s)[0] for s in expected}
