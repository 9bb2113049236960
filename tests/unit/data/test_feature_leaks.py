"""What ``harness data audit --features`` flags, and what it must not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from harness.cli.data import app
from harness.data.audit import audit_source
from harness.data.audit_text import leaks_verdict
from harness.data.card import FeatureLeak
from harness.data.feature_leaks import (
    ALL_RELATIONS,
    FACTOR,
    LEAST,
    LEAST_TRIPLES,
    LEVEL,
    ModalityLeaks,
    RelationLeak,
    mention_leaks,
    vector_leaks,
)
from harness.data.feature_leaks_text import leak_sentence
from harness.data.features import FeatureTable
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.load import source
from harness.data.statements import named_in_texts
from harness.errors import ConfigError, DataError, MissingDataError
from harness.index import Side
from tests.toys import toy_graph

PEOPLE, CITIES = 120, 30
SIZES = {"train": 60, "valid": 30, "test": 30}


def _graph(seed: int = 0, relations: int = 1) -> KnowledgeGraph:
    """People, each born in one city; every relation says the same of other people."""
    rng = np.random.default_rng(seed)
    people = relations * PEOPLE
    names = tuple(f"person{_letters(i)}" for i in range(people)) + tuple(
        f"City of {_letters(i)}" for i in range(CITIES)
    )
    rows: dict[str, list[list[int]]] = {split: [] for split in SPLITS}
    for relation in range(relations):
        person = relation * PEOPLE
        for split, size in SIZES.items():
            for _ in range(size):
                rows[split].append([person, relation, people + int(rng.integers(CITIES))])
                person += 1
    labels = [f"bornIn{r}" for r in range(relations)]
    return toy_graph(*rows.values(), entities=names, relations=labels, entity_names=names)


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:04}")


def _texts(graph: KnowledgeGraph, splits: dict[str, float], *, turned: bool = False) -> list[str]:
    """Texts of heads that name the tail, in a share of the rows of some splits."""
    texts = [f"{name} is something" for name in graph.entity_names]
    for split, share in splits.items():
        rows = graph.splits[split].tolist()
        for head, _, tail in rows[: round(share * len(rows))]:
            first, second = (tail, head) if turned else (head, tail)
            texts[first] += f", see {graph.entity_names[second].upper()}!"
    return texts


def _leaks(graph: KnowledgeGraph, texts: list[str]) -> ModalityLeaks:
    return mention_leaks(graph, named_in_texts(texts, graph.entity_names))


def _of(leaks: ModalityLeaks, relation: int = 0, side: Side = "tail") -> RelationLeak:
    (leak,) = (x for x in leaks.relations if (x.relation_id, x.side) == (relation, side))
    return leak


def _verdicts(leaks: ModalityLeaks) -> dict[tuple[int, str, str], str]:
    return {
        (leak.relation_id, leak.side, split): of_split.verdict
        for leak in leaks.relations
        for split, of_split in leak.splits.items()
        if of_split.verdict
    }


def test_a_text_that_names_the_tail_in_test_only_is_flagged_as_more_than_in_train() -> None:
    leaks = _leaks(_graph(), _texts(_graph(), {"test": 1.0}))
    assert _verdicts(leaks) == {
        (ALL_RELATIONS, "tail", "test"): "more",
        (0, "tail", "test"): "more",
    }
    test = _of(leaks).splits["test"]
    assert (test.triples, test.hits, test.linked, test.shuffled) == (30, 30, 1.0, 0.0)
    assert (leaks.rows, leaks.more) == ({"valid": 0, "test": 30}, ("test",))


def test_what_is_named_in_all_splits_alike_is_told_from_what_is_named_in_test() -> None:
    leaks = _leaks(_graph(), _texts(_graph(), dict.fromkeys(SPLITS, 0.8)))
    assert _verdicts(leaks) == {(0, "tail", "valid"): "flagged", (0, "tail", "test"): "flagged"}
    assert (leaks.rows, leaks.more) == ({"valid": 24, "test": 24}, ())


def test_what_train_alone_names_is_no_leak_into_valid_and_test() -> None:
    assert not _verdicts(_leaks(_graph(), _texts(_graph(), {"train": 1.0})))


def test_the_direction_is_that_of_the_end_that_is_told() -> None:
    leaks = _leaks(_graph(), _texts(_graph(), {"test": 1.0}, turned=True))
    assert {side for _, side, _ in _verdicts(leaks)} == {"head"}
    assert _of(leaks, side="head").splits["test"].hits == 30
    assert _of(leaks, side="tail").splits["test"].hits == 0


def test_a_handful_is_not_flagged() -> None:
    graph = _graph()
    for count in (LEAST - 1, LEAST):
        leaks = _leaks(graph, _texts(graph, {"test": count / SIZES["test"]}))
        assert _of(leaks).splits["test"].hits == count
        assert _of(leaks).flagged == (count == LEAST)


@pytest.mark.parametrize(("share", "flagged"), [(0.3, False), (0.9, True)])
def test_texts_that_name_many_answers_must_name_the_right_one_far_more_often(
    share: float, flagged: bool
) -> None:
    graph = _graph()
    rng = np.random.default_rng(1)
    cities = graph.entity_names[PEOPLE:]
    texts = [
        f"{text} {' and '.join(rng.choice(cities, 6, replace=False))}"
        for text in _texts(graph, dict.fromkeys(SPLITS, share))
    ]
    leak = _of(_leaks(graph, texts)).splits["test"]
    assert leak.p < LEVEL
    assert (leak.linked >= FACTOR * leak.shuffled) == bool(leak.verdict) == flagged


def test_a_leak_of_few_rows_of_each_relation_is_flagged_over_all_together() -> None:
    graph = _graph(relations=10)
    texts = [f"{name} is something" for name in graph.entity_names]
    rows = graph.splits["test"].tolist()
    for head, _, tail in rows[::30]:  # one of each relation
        texts[head] += f" {graph.entity_names[tail]}"
    assert _verdicts(_leaks(graph, texts)) == {(ALL_RELATIONS, "tail", "test"): "more"}
    assert _leaks(graph, texts).rows == {"valid": 0, "test": 10}


def test_another_mix_of_relations_in_test_is_no_leak() -> None:
    # Relation 0 is told in every split, relation 1 in none; test has more of relation 0.
    graph = _graph(relations=2)
    texts = [f"{name} is something" for name in graph.entity_names]
    for split in SPLITS:
        for head, relation, tail in graph.splits[split].tolist():
            texts[head] += f" {graph.entity_names[tail]}" if relation == 0 else ""
    train = graph.splits["train"]
    fewer = torch.cat([train[train[:, 1] == 0][:20], train[train[:, 1] == 1]])
    mixed = KnowledgeGraph(
        "toy", graph.entities, graph.relations, {**graph.splits, "train": fewer}, graph.entity_names
    )
    leaks = _leaks(mixed, texts)
    together = _of(leaks, ALL_RELATIONS)
    assert together.splits["test"].linked > 1.9 * together.splits["train"].linked
    assert not leaks.more


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), mentions=st.integers(0, 8))
def test_texts_that_name_anybody_flag_nothing(seed: int, mentions: int) -> None:
    graph = _graph(seed % 7, relations=2)
    rng = np.random.default_rng([seed, 1])
    texts = [
        " and ".join(graph.entity_names[i] for i in rng.integers(graph.n_entities, size=mentions))
        for _ in range(graph.n_entities)
    ]
    assert not _verdicts(_leaks(graph, texts))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), mentions=st.integers(1, 6))
def test_texts_that_name_answers_of_the_relation_but_not_its_own_flag_nothing(
    seed: int, mentions: int
) -> None:
    graph = _graph(seed % 7)
    rng = np.random.default_rng([seed, 1])  # not the stream that drew the graph
    cities = graph.entity_names[PEOPLE:]
    texts = [" and ".join(rng.choice(cities, mentions)) for _ in range(graph.n_entities)]
    leaks = _leaks(graph, texts)
    assert not _verdicts(leaks)
    assert leaks.random is not None
    assert _of(leaks).splits["test"].shuffled > 10 * leaks.random / 4


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_rates_are_those_of_comparing_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = (*(f"name{_letters(i)}" for i in range(8)), "77", "")  # two cannot be named
    size = len(names)

    def rows(count: int) -> list[tuple[int, ...]]:
        columns = (rng.integers(limit, size=count).tolist() for limit in (size, 3, size))
        return list(zip(*columns, strict=True))

    splits = {split: rows(12) for split in SPLITS}
    graph = toy_graph(*splits.values(), entities=size, relations="abc")
    texts = [" ".join(rng.choice(names, int(rng.integers(4)))) for _ in range(size)]
    leaks = _leaks_of(graph, texts, names)
    says = [set(text.split()) for text in texts]
    able = [bool(text.strip()) for text in texts]
    nameable = [i < 8 for i in range(size)]
    facts = {tuple(row) for split in SPLITS for row in splits[split]}
    for first, second in ((0, 2), (2, 0)):
        for relation in range(3):
            every = sorted({f for f in facts if f[1] == relation})
            for split in SPLITS:
                own = sorted({tuple(r) for r in splits[split] if r[1] == relation})
                own = [r for r in own if able[r[first]] and nameable[r[second]] and r[0] != r[2]]
                pairs = [
                    (a[first], b[second])
                    for a in own
                    for b in every
                    if nameable[b[second]] and a[first] != b[second]
                ]
                turned = first == 2
                pairs = [
                    (x, y)
                    for x, y in pairs
                    if ((y, relation, x) if turned else (x, relation, y)) not in facts
                ]
                told = [names[y] in says[x] for x, y in pairs]
                try:
                    leak = _of(leaks, relation, "head" if turned else "tail").splits[split]
                except ValueError:
                    assert not own
                    continue
                assert leak.triples == len(own)
                assert leak.hits == sum(names[r[second]] in says[r[first]] for r in own)
                assert leak.shuffled == pytest.approx(np.mean(told) if told else 0.0)
        everybody = [
            names[y] in says[x]
            for x in range(size)
            for y in range(size)
            if able[x] and nameable[y] and x != y
        ]
        if everybody:
            assert leaks.random == pytest.approx(np.mean(everybody))


def _leaks_of(graph: KnowledgeGraph, texts: list[str], names: tuple[str, ...]) -> ModalityLeaks:
    return mention_leaks(graph, named_in_texts(texts, names))


def test_an_entity_that_is_linked_with_itself_is_not_counted() -> None:
    names = ("person", "city")
    graph = toy_graph(*[[(0, 0, 0)]] * 3, entities=names)
    assert (
        _of(_leaks_of(graph, ["the person", "city"], names), ALL_RELATIONS).splits["test"].triples
        == 0
    )


def test_a_last_relation_without_a_fact_changes_no_count() -> None:
    graph = _graph()
    labels = (*graph.relations, "unused")
    wider = KnowledgeGraph("toy", graph.entities, labels, graph.splits, graph.entity_names)
    texts = _texts(graph, {"test": 1.0})
    assert _leaks(wider, texts) == _leaks(graph, texts)


def test_two_relations_of_one_name_are_told_apart() -> None:
    graph = _graph(relations=2)
    graph = KnowledgeGraph(
        "toy", graph.entities, graph.relations, graph.splits, graph.entity_names, ("type", "type")
    )
    leaks = _leaks(graph, _texts(graph, {"test": 1.0}))
    assert {leak.relation for leak in leaks.flagged} == {"", "bornIn0", "bornIn1"}


# --- vectors ------------------------------------------------------------------------------


def _table(
    graph: KnowledgeGraph, splits: tuple[str, ...], limit: int | None = None
) -> FeatureTable:
    """Random vectors; heads of some splits have nearly the one of their tail."""
    matrix = torch.randn(graph.n_entities, 16, generator=torch.Generator().manual_seed(0))
    for split in splits:
        for head, _, tail in graph.splits[split].tolist()[:limit]:
            matrix[head] = matrix[tail] + 0.1 * matrix[head]
    return FeatureTable("image", matrix, torch.ones(graph.n_entities, dtype=torch.bool))


def test_vectors_that_encode_the_answer_in_test_only_are_flagged_in_both_directions() -> None:
    graph = _graph()
    leaks = vector_leaks(graph, _table(graph, ("test",)))
    assert _verdicts(leaks) == {(0, "tail", "test"): "more", (0, "head", "test"): "more"}
    test = _of(leaks).splits["test"]
    assert test.linked > 0.98
    assert test.low <= test.linked <= test.high
    assert leaks.label == "image vectors"
    assert (leaks.rows, leaks.more) == ({"valid": 0, "test": 30}, ("test",))


def test_vectors_that_encode_the_answer_everywhere_are_told() -> None:
    graph = _graph()
    leaks = vector_leaks(graph, _table(graph, SPLITS))
    assert set(_verdicts(leaks).values()) == {"flagged"}
    assert leaks.rows == {"valid": 30, "test": 30}


def test_other_right_answers_are_not_held_against_vectors() -> None:
    # Everybody is linked with the same two cities, whose vectors are alike; a third is far.
    names = tuple(f"e{_letters(i)}" for i in range(33))
    rows = [(head, 0, 30 + tail) for head in range(30) for tail in range(2)]
    far = [(31, 0, 32)]
    matrix = torch.zeros(33, 2)
    matrix[:, 0], matrix[31, 1], matrix[32] = 1, 0.5, torch.tensor([0.0, 1.0])
    everybody = torch.ones(33, dtype=torch.bool)
    graph = toy_graph(far, far, rows, entities=names)
    leaks = vector_leaks(graph, FeatureTable("image", matrix, everybody))
    assert _of(leaks).splits["test"].linked == 1.0


def test_too_few_vectors_are_not_judged() -> None:
    graph = _graph()
    table = _table(graph, SPLITS)
    heads = graph.splits["test"][:, 0]
    for count in (LEAST_TRIPLES - 1, LEAST_TRIPLES):
        present = torch.ones(graph.n_entities, dtype=torch.bool)
        present[heads[count:]] = False
        matrix = torch.where(present[:, None], table.matrix, 0.0)
        leaks = vector_leaks(graph, FeatureTable("image", matrix, present))
        assert _of(leaks).splits["test"].triples == count
        assert bool(_of(leaks).splits["test"].verdict) == (count == LEAST_TRIPLES)
        assert leaks.rows["test"] == (count if count == LEAST_TRIPLES else 0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_vectors_flag_nothing(seed: int) -> None:
    graph = _graph(seed % 7, relations=2)
    matrix = torch.randn(graph.n_entities, 4, generator=torch.Generator().manual_seed(seed))
    present = torch.rand(graph.n_entities, generator=torch.Generator().manual_seed(seed)) < 0.9
    matrix[~present] = 0
    leaks = vector_leaks(graph, FeatureTable("numeric", matrix, present))
    assert not _verdicts(leaks)
    assert leaks.random is not None
    assert 0.4 < leaks.random < 0.6


@pytest.mark.parametrize("count", [0, LEAST_TRIPLES - 1, LEAST_TRIPLES])
def test_too_few_triples_are_not_an_audit_without_a_leak(count: int) -> None:
    graph = _graph()
    heads = graph.splits["test"][:count, 0]
    present = torch.zeros(graph.n_entities, dtype=torch.bool)
    present[heads] = True
    present[-CITIES:] = count > 0
    matrix = torch.randn(graph.n_entities, 4, generator=torch.Generator().manual_seed(0))
    leaks = vector_leaks(graph, FeatureTable("image", matrix * present[:, None], present))
    assert leaks.most_triples == count
    assert leaks.enough == (count == LEAST_TRIPLES)
    assert (leaks.random is None) == (count == 0)
    expected = {
        True: "No relation is flagged for image vectors.",
        False: f"Too few triples to audit image vectors: at most {count} of a relation in test, "
        "20 are needed.",
    }
    assert leak_sentence(leaks, {}) == expected[leaks.enough]


def test_texts_that_few_triples_were_compared_by_are_not_an_audit_without_a_leak() -> None:
    graph = _graph()
    texts = ["" for _ in graph.entities]
    for head in graph.splits["test"][: LEAST_TRIPLES - 1, 0].tolist():
        texts[head] = "a person"
    assert not _leaks(graph, texts).enough
    assert _leaks(graph, ["a person" for _ in graph.entities]).enough


def test_vectors_that_all_entities_share_tell_nothing() -> None:
    graph = _graph()
    everybody = torch.ones(graph.n_entities, dtype=torch.bool)
    leaks = vector_leaks(graph, FeatureTable("image", torch.ones(graph.n_entities, 3), everybody))
    assert not _verdicts(leaks)
    assert _of(leaks).splits["test"].linked == 0.5


# --- the command --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of one's own, with a table of texts that name test answers."""
    graph = _graph()
    place = tmp_path / "data" / "toy"
    place.mkdir(parents=True)
    for split in SPLITS:
        lines = (
            "\t".join((graph.entities[h], "bornIn", graph.entities[t]))
            for h, _, t in graph.splits[split].tolist()
        )
        (place / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("HARNESS_DATA", str(place.parent))
    texts = _texts(graph, {"test": 1.0})
    lines = (f"{entity}\tnoun\t{text}" for entity, text in zip(graph.entities, texts, strict=True))
    (tmp_path / "texts.tsv").write_text("id\tkind\ttext\n" + "\n".join(lines) + "\n")
    return tmp_path


def _call(*args: object) -> Result:
    result = CliRunner().invoke(app, ["audit", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_table_that_names_test_answers_ends_with_exit_code_3(folder: Path) -> None:
    result = _call("toy", "--texts", folder / "texts.tsv", "--allow-leakage", 1)
    assert result.exit_code == 3
    printed = " ".join(result.stdout.split())
    assert (
        "Text names the other end in 30 of 30 test rows and 0 of 30 valid rows, of 1 flagged "
        "relation; more than in train: test." in printed
    )
    assert (
        "wrong: features 'texts.tsv' give answers away, which no card acknowledges: text of test; "
        "correct the features, or state this beside the figures ok: " in printed
    )
    assert (
        "Percentage of a split's distinct triples in which the features of one end name the other "
        "end (the target)." in printed
    )
    (headings,) = (line.split() for line in result.stdout.splitlines() if "target side" in line)
    assert headings == ["target", "side", "train", "valid", "test", "triples", "shuffled"]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_columns_may_be_chosen(folder: Path) -> None:
    harmless = _call("toy", "--texts", f"{folder / 'texts.tsv'}:kind", "--allow-leakage", 1)
    assert harmless.exit_code == 0
    assert "ok: no leak in features 'texts.tsv:kind' is flagged" in harmless.stdout
    with pytest.raises(ConfigError, match="no column 'knd'; did you mean 'kind'"):
        _call("toy", "--texts", f"{folder / 'texts.tsv'}:knd")


def test_types_that_are_the_answer_are_flagged(folder: Path) -> None:
    graph = _graph()
    rows = (
        f"{graph.entities[h]}\twd:{graph.entities[t]}" for h, _, t in graph.splits["test"].tolist()
    )
    (folder / "types.tsv").write_text("id\ttype\n" + "\n".join(rows) + "\n")
    result = _call("toy", "--types", folder / "types.tsv", "--format", "json", "--allow-leakage", 1)
    assert result.exit_code == 3
    (report,) = json.loads(result.stdout)
    assert report["feature_excess"] == [["types.tsv", "types", "test"]]
    (modality,) = report["leaks"][0]["modalities"]
    assert (modality["kind"], modality["rows"]) == ("types", {"valid": 0, "test": 30})


def test_what_the_card_acknowledges_is_no_error_but_a_row_or_a_verdict_more_is(
    folder: Path,
) -> None:
    entry = source("toy")
    matrix = _table(entry.graph(), ("test",)).matrix.numpy()
    (entry.folder / "features").mkdir()  # type: ignore[attr-defined]
    np.save(entry.folder / "features" / "image.npy", matrix)  # type: ignore[attr-defined]
    for rows, more, excess in (
        ({"test": 30}, ("test",), ()),
        ({"test": 29}, ("test",), (("files", "image vectors", "test"),)),
        ({"test": 30}, (), (("files", "image vectors", "test"),)),
    ):
        leak = FeatureLeak(rows=rows, more=more)
        card = {"feature_leaks": {"files": {"image vectors": leak}}}
        entry.card = entry.card.model_copy(update=card)
        report = audit_source(entry, "files", 1.0)
        assert report.feature_excess == excess
        (verdict,) = leaks_verdict(report)
        assert ("give away more than the dataset's card states: image" in verdict) == bool(excess)


def test_leaks_of_own_features_are_judged_without_a_card(folder: Path) -> None:
    entry = source("toy")
    matrix = _table(entry.graph(), ("test",)).matrix.numpy()
    (entry.folder / "features").mkdir()  # type: ignore[attr-defined]
    np.save(entry.folder / "features" / "image.npy", matrix)  # type: ignore[attr-defined]
    result = _call("toy", "--features", "files", "--allow-leakage", 1)
    assert result.exit_code == 3
    printed = " ".join(result.stdout.split())
    assert (
        "wrong: features 'files' give answers away, which no card acknowledges: image vectors of "
        "test; correct the features, or state this beside the figures (tables of runs do)"
    ) in printed
    assert printed.endswith("ok: train gives nothing of valid and test away")


def test_without_a_feature_set_nothing_is_audited_for_leaks(folder: Path) -> None:
    (report,) = json.loads(_call("toy", "--format", "json", "--allow-leakage", 1).stdout)
    assert (report["leaks"], report["feature_excess"]) == ([], [])


def test_what_shipped_features_tell_is_on_the_card_of_atlas() -> None:
    report = audit_source(source("atlas"), "all")
    assert report.feature_excess == ()
    (leaks,) = report.leaks
    told = {m.label: m.rows for m in leaks.modalities if m.flagged}
    assert told == {label: leak.rows for label, leak in leaks.acknowledged.items()}


def test_json_has_what_the_card_acknowledges() -> None:
    (report,) = json.loads(_call("atlas", "--features", "all", "--format", "json").stdout)
    (leaks,) = report["leaks"]
    acknowledged = source("atlas").card.feature_leaks["all"]
    assert leaks["acknowledged"] == {
        k: leak.model_dump(mode="json") for k, leak in acknowledged.items()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "entity\ttext\n",
            r"texts\.tsv:1: need a header 'id<TAB>column\.\.\.', got 'entity\\ttext'",
        ),
        ("id\ttext\nnobody\tx\n", r"texts\.tsv:2: 'nobody' is no entity"),
        ("id\ttext\n9999\tx\n", r"texts\.tsv:2: '9999' is no entity"),
        ("id\ttext\n0\tx\ty\n", r"texts\.tsv:2: need 2 fields, got 3"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(
    folder: Path, text: str, message: str
) -> None:
    (folder / "texts.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        _call("toy", "--texts", folder / "texts.tsv")


def test_tables_need_one_dataset_and_a_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--texts and --types are of one dataset"):
        _call("toy", "atlas", "--texts", folder / "texts.tsv")
    with pytest.raises(MissingDataError, match=r"none\.tsv"):
        _call("toy", "--types", folder / "none.tsv")
