"""Embeddings, scores and predictions of a trained model, in batches and in files."""

from __future__ import annotations

import json
import resource
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode

import harness
from harness.catalog import build_model, load_models
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.errors import ConfigError, DataError, MissingDataError, NonFiniteError
from harness.evaluation import evaluator
from harness.model import MODELS
from harness.run import scorer as scoring
from harness.run.inference import Run
from harness.run.scorer import BestTriples, Scorer
from harness.run.triple_files import answered_lines, scored_lines, triple_lines

DATASET = "synthetic:entities=60,train=300,seed=1"


def trained(home: Path, model: str, **settings: object) -> Run:
    values = {"model.name": model, "data.dataset": DATASET, "data.features": "all"}
    values |= {"rsme": {"objective.loss": "one_vs_all"}}.get(model, {})
    plan = harness.plan_run({**values, "training.epochs": 1, **settings})
    result = harness.run_suite(plan, home=home, device="cpu", threads=1)
    return harness.load_run(result.run_ids[0], home, device="cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module", params=["native", "rsme", "popularity"])
def run(home: Path, request: pytest.FixtureRequest) -> Run:
    """A fusion per relation, a model with inverse relations, and one without vectors."""
    settings = {} if request.param == "popularity" else {"model.dim": 8}
    return trained(home, request.param, **settings)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 7 queries and 11 triples."""
    monkeypatch.setattr(evaluator, "SCORE_BUDGET", 7 * 60)
    monkeypatch.setattr(scoring, "TRIPLES_AT_ONCE", 11)


def every_score(run: Run) -> np.ndarray:
    """Scores [N, R, N] of all triples, one query at a time."""
    graph = run.dataset.graph
    with torch.no_grad():
        tables = run.model.encode()
        rows = [
            run.model.score_all(tables, torch.tensor([h]), torch.tensor([r]), "tail")[0]
            for h in range(graph.n_entities)
            for r in range(graph.n_relations)
        ]
    return torch.stack(rows).view(graph.n_entities, graph.n_relations, -1).numpy()


def known_triples(run: Run) -> set[tuple[int, int, int]]:
    splits = run.dataset.graph.splits
    return {tuple(row) for split in SPLITS for row in splits[split].tolist()}


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_batches")
def test_scores_do_not_depend_on_batches(run: Run) -> None:
    triples = [(h, r, (7 * h + r) % 60) for h in range(60) for r in range(run.model.n_relations)]
    scores = every_score(run)
    np.testing.assert_allclose(run.score(triples), [scores[t] for t in triples], atol=1e-5)
    assert run.score([]).shape == (0,)


def test_triples_are_read_as_their_scores_are(run: Run) -> None:
    """An endless stream can be scored: a batch is read, no more."""
    endless = iter(lambda: (0, 0, 1), None)
    assert len(list(islice(run.score_many(endless), 20_000))) == 20_000


def test_a_score_that_is_not_a_number_is_an_error(home: Path) -> None:
    run = trained(home, "transe", **{"model.dim": 4})
    with torch.no_grad():
        run.model.entity[3] = torch.nan
    with pytest.raises(NonFiniteError, match="TransE: a score is NaN"):
        run.score([(0, 0, 1), (3, 0, 1)])
    with pytest.raises(NonFiniteError, match="a score is NaN"):
        run.novel(3)


# --- queries ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("exclude_known", [False, True])
def test_many_queries_have_the_answers_of_each_alone(run: Run, exclude_known: bool) -> None:
    queries = [(h, h % 3, None) if h % 2 else ("?", h % 3, h) for h in range(40)]
    many = list(run.predict_many(queries, k=5, exclude_known=exclude_known))
    assert len(many) == 40
    for (head, relation, tail), answers in zip(queries, many, strict=True):
        side = {"head": head} if tail is None else {"tail": tail}
        alone = run.predict(relation=relation, k=5, exclude_known=exclude_known, **side)
        assert answers.query == alone.query
        ours, theirs = ([a.score for a in p.answers] for p in (answers, alone))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_split_of_an_answer_is_named(run: Run) -> None:
    graph = run.dataset.graph
    for split in SPLITS:
        head, relation, tail = graph.splits[split][0].tolist()
        (answers,) = run.predict_many([(head, relation, None)], k=60)
        splits = {a.identifier: a.known for a in answers.answers}
        assert splits[graph.entities[tail]] == split


def test_of_several_splits_that_have_an_answer_the_first_is_named() -> None:
    leak = torch.tensor([[0, 0, 1]])
    splits = {"train": leak, "valid": torch.tensor([[0, 0, 2]]), "test": leak}
    graph = KnowledgeGraph("leaky", ("a", "b", "c"), ("r",), splits)
    model = build_model("popularity", {}, graph.index)
    candidates = torch.tensor([[0, 1, 2]])
    zero = torch.tensor([0])
    found = Scorer(model, graph, torch.device("cpu")).splits_of(zero, zero, candidates, "tail")
    assert found.tolist() == [[-1, 0, 1]]


@pytest.mark.parametrize("query", [(0, 0, 1), (None, 0, "?"), (None, 0, None)])
def test_a_query_lacks_one_entity(run: Run, query: tuple) -> None:
    with pytest.raises(ConfigError, match="one of them"):
        list(run.predict_many([query]))


def test_at_least_one_answer_is_asked_for(run: Run) -> None:
    for call in (lambda: run.novel(0), lambda: run.predict(head=0, relation=0, k=0)):
        with pytest.raises(ConfigError, match="k 0: at least 1"):
            call()


# --- triples that the graph does not have -----------------------------------------------------


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("k", [1, 50, 100_000])
@pytest.mark.parametrize("observed", [False, True])
def test_novel_triples_are_the_best_of_all_that_the_graph_lacks(
    run: Run, k: int, observed: bool
) -> None:
    graph, scores, known = run.dataset.graph, every_score(run), known_triples(run)
    loops = {r for h, r, t in known if h == t}
    train = graph.splits["train"].tolist()
    heads = {(h, r) for h, r, _ in train}
    tails = {(r, t) for _, r, t in train}
    candidates = [
        (h, r, t)
        for r in range(graph.n_relations)
        for h in range(graph.n_entities)
        for t in range(graph.n_entities)
        if (h, r, t) not in known
        and (h != t or r in loops)
        and (not observed or ((h, r) in heads and (r, t) in tails))
        and scores[h, r, t] > -np.inf
    ]
    best = run.novel(k, observed=observed)
    candidates.sort(key=lambda c: -scores[c])  # by relation, head and tail where scores are equal
    assert len(best) == len(candidates[:k])
    np.testing.assert_allclose(best.scores, [scores[c] for c in candidates[:k]], atol=1e-5)
    found = [tuple(row) for row in best.ids.tolist()]
    assert set(found) <= set(candidates)
    if run.record.model == "popularity":  # the others' scores are rounded differently in batches
        assert found == candidates[:k]


@pytest.mark.usefixtures("small_batches")
def test_train_is_searched_once_per_relation(run: Run) -> None:
    train = run.dataset.graph.splits["train"]
    searches = 0

    class Searches(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal searches
            searches += func is torch.ops.aten.eq.Scalar and args[0].shape == train.shape[:1]
            return func(*args, **(kwargs or {}))

    with Searches():
        run.novel(5, observed=True)
    assert searches == run.dataset.graph.n_relations


def test_of_equal_scores_the_lowest_ids_are_kept() -> None:
    best = BestTriples(4)
    for first in (0, 100, 200):
        best.add(torch.tensor([first, first + 10]), torch.tensor([[1.0, 2.0], [2.0, -torch.inf]]))
    keys, scores = best.sorted()
    assert keys.tolist() == [1, 10, 101, 110]
    assert scores.tolist() == [2.0, 2.0, 2.0, 2.0]


def test_relations_can_be_chosen(run: Run) -> None:
    graph = run.dataset.graph
    best = run.novel(30, relations=[graph.relations[1]])
    assert {triple.relation for triple in best} == {graph.relations[1]}
    by_id = run.novel(30, relations=np.int64(1))  # type: ignore[arg-type]
    assert list(by_id) == list(best)
    with pytest.raises(ConfigError, match="no relation is called 'nothing'"):
        run.novel(3, relations=["nothing"])


def test_triples_are_a_sequence(run: Run) -> None:
    best = run.novel(5)
    assert len(best) == 5
    assert [t.score for t in best] == sorted((t.score for t in best), reverse=True)
    assert best[1:3][0] == best[1]
    head, relation, tail = best.ids[0].tolist()
    assert run.score([(head, relation, tail)])[0] == pytest.approx(best[0].score, abs=1e-5)
    assert str(best).count("\n") == 4


def test_memory_does_not_grow_with_the_candidates(run: Run) -> None:
    """2,000 triples of 28,800 candidates, then all of them twice over in batches of a query."""
    list(run.novel(5))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = BestTriples(100)
    for first in range(0, 2_000_000, 10_000):
        best.add(torch.tensor([first]), torch.rand(1, 10_000))
        assert best._n_waiting < 100 + 100
    assert len(best.sorted()[0]) == 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


# --- files ------------------------------------------------------------------------------------


def test_a_file_of_triples_is_printed_with_scores(run: Run, tmp_path: Path) -> None:
    graph = run.dataset.graph
    names = [(graph.entities[i], graph.relations[0], graph.entities[i + 1]) for i in range(30)]
    file = tmp_path / "triples.tsv"
    file.write_text("".join("\t".join(triple) + "\n" for triple in names))
    heading, *lines = scored_lines(run, file)
    assert heading == "head\trelation\ttail\tscore\n"
    assert [tuple(line.split("\t")[:3]) for line in lines] == names
    scores = [float(line.split("\t")[3]) for line in lines]
    np.testing.assert_allclose(scores, run.score(names), rtol=1e-6)
    ids = tmp_path / "ids.tsv"
    ids.write_text("".join(f"{i}\t0\t{i + 1}\r\n" for i in range(30)))
    by_id = [line.split("\t")[3] for line in scored_lines(run, ids, ids="id")]
    assert by_id[1:] == [line.split("\t")[3] for line in lines]


def test_a_file_of_queries_is_printed_with_answers(run: Run, tmp_path: Path) -> None:
    graph = run.dataset.graph
    head, relation = graph.entities[2], graph.relations[0]
    file = tmp_path / "queries.tsv"
    file.write_text(f"{head}\t{relation}\t?\n\n?\t{relation}\t{head}\n")
    heading, *lines = answered_lines(run, file, k=3)
    assert heading.split() == ["query", "rank", "head", "relation", "tail", "score", "known"]
    rows = [line.rstrip("\n").split("\t") for line in lines]
    assert [row[:2] for row in rows] == [[q, r] for q in "12" for r in "123"]
    expected = run.predict(head=head, relation=relation, k=3).answers
    assert [row[4] for row in rows[:3]] == [answer.identifier for answer in expected]
    assert [row[6] for row in rows[:3]] == [answer.known or "" for answer in expected]
    assert {row[4] for row in rows[3:]} == {head}
    objects = [json.loads(line) for line in answered_lines(run, file, k=3, as_json=True)]
    assert [len(o["answers"]) for o in objects] == [3, 3]
    assert set(objects[0]["answers"][0]) == {"identifier", "label", "score", "known"}


def test_novel_triples_are_printed_as_columns_or_objects(run: Run) -> None:
    best = run.novel(2)
    heading, *lines = triple_lines(best)
    assert heading == "head\trelation\ttail\tscore\n"
    assert lines[0].split("\t")[:3] == list(best[0][:3])
    assert json.loads(next(triple_lines(best, as_json=True)))["tail"] == best[0].tail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a\tb\n", r":1: 2 columns; a line is head, relation and tail"),
        (b"0\t0\t1\n0\t0\tx\n", r":2: 'x' is no id"),
        (b"0\t0\t60\n", r":1: no entity 60; ids are 0 to 59"),
        (b"0\t0\t?\n", r":1: \(0, 0, \?\): no entity may be \?"),
        (b"0\t0\t1\n\xff\t0\t1\n", r":2: not UTF-8"),
        (b"", r"bad\.tsv: the file is empty"),
        (b"\n\n", r"bad\.tsv: the file is empty"),
        (b"\xef\xbb\xbf", r"bad\.tsv: the file is empty"),
    ],
)
def test_a_bad_line_is_named(run: Run, tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / "bad.tsv"
    file.write_bytes(text)
    with pytest.raises(DataError, match=message):
        list(scored_lines(run, file, ids="id"))


def test_a_byte_order_mark_is_no_part_of_the_first_name(run: Run, tmp_path: Path) -> None:
    graph = run.dataset.graph
    file = tmp_path / "marked.tsv"
    file.write_text(f"{graph.entities[0]}\t{graph.relations[0]}\t?\n", encoding="utf-8-sig")
    _, first, *_ = answered_lines(run, file)
    assert first.split("\t")[2] == graph.entities[0]


def test_a_misspelt_name_is_offered_the_nearest(run: Run, tmp_path: Path) -> None:
    graph = run.dataset.graph
    file = tmp_path / "names.tsv"
    file.write_text(f"{graph.entities[0]}\t{graph.relations[0]}x\t?\n")
    with pytest.raises(DataError, match=rf":1: no relation .* did you mean '{graph.relations[0]}'"):
        list(answered_lines(run, file))
    with pytest.raises(MissingDataError, match="no such file"):
        list(scored_lines(run, tmp_path / "none.tsv"))
    with pytest.raises(ConfigError, match="--ids nmae: by name or by id; did you mean 'name'"):
        list(scored_lines(run, file, ids="nmae"))


# --- embeddings -------------------------------------------------------------------------------


def test_vectors_of_modalities_and_inverse_relations_have_their_rows(home: Path) -> None:
    native = trained(home, "native", **{"model.dim": 8}).embeddings()
    assert {"structure", "text", "image"} <= set(native.entity_tables)
    assert native.relation_tables["relation"].shape == (len(native.relations), 8)
    rsme = trained(home, "rsme", **{"model.dim": 8}).embeddings()
    assert len(rsme.relation_tables["relation"]) == 2 * len(rsme.relations)


def test_a_modality_that_an_entity_lacks_has_a_zero_vector(home: Path) -> None:
    run = trained(home, "native", **{"model.dim": 8})
    tables = run.embeddings().entity_tables
    for name, modality in run.dataset.features.modalities().items():
        present = modality.present.numpy()
        assert not tables[name][~present].any()
        assert tables[name][present].any(1).all()


@pytest.mark.parametrize("name", sorted(MODELS if not load_models() else ()))
def test_every_model_has_tables_with_a_row_per_entity(name: str) -> None:
    dataset = harness.load_dataset(DATASET, "all")
    try:
        model = harness.create_model(name, dataset)
    except ConfigError as error:
        pytest.skip(str(error))
    with torch.no_grad():
        tables = {**model.encode(), **model.modality_tables()}
    assert {len(table) for table in tables.values()} <= {60}


def test_saved_tensors_have_the_names_of_their_rows(home: Path, tmp_path: Path) -> None:
    vectors = trained(home, "native", **{"model.dim": 8}).embeddings()
    assert vectors.save(tmp_path / "x.safetensors") == [tmp_path / "x.safetensors"]
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        assert set(file.keys()) == set(vectors.tables)
        metadata = file.metadata()
        assert tuple(json.loads(metadata["entities"])) == vectors.entities
        assert tuple(json.loads(metadata["relation_labels"])) == vectors.relation_labels
        assert metadata["model"] == "native"
        text = file.get_tensor("entity.text")
    np.testing.assert_array_equal(text, vectors.entity_tables["text"])
    vectors.save(tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert tuple(arrays["entities"]) == vectors.entities
        np.testing.assert_array_equal(arrays["entity.text"], text)


def test_the_projector_has_a_line_of_metadata_for_each_vector(home: Path, tmp_path: Path) -> None:
    vectors = trained(home, "rsme", **{"model.dim": 8}).embeddings()
    files = {path.name: path.read_text().splitlines() for path in vectors.save(tmp_path / "x.tsv")}
    assert set(files) == {
        "x.entity.entity.vectors.tsv",
        "x.entity.image.vectors.tsv",
        "x.entity.metadata.tsv",
        "x.relation.relation.vectors.tsv",
        "x.relation_with_inverse.metadata.tsv",
    }
    read = np.loadtxt(tmp_path / "x.entity.entity.vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(read, vectors.entity_tables["entity"], rtol=1e-5)
    heading, *names = files["x.entity.metadata.tsv"]
    assert heading == "label\tidentifier"
    assert [name.split("\t")[1] for name in names] == list(vectors.entities)
    inverse = files["x.relation_with_inverse.metadata.tsv"]
    assert len(inverse) == 1 + len(files["x.relation.relation.vectors.tsv"])
    assert inverse[-1].endswith("^-1")


def test_tables_are_chosen_by_name(home: Path, tmp_path: Path) -> None:
    vectors = trained(home, "native", **{"model.dim": 8}).embeddings()
    assert list(vectors.select(["entity.text"]).tables) == ["entity.text"]
    assert set(vectors.select(["relation"]).entity_tables) == set()
    with pytest.raises(ConfigError, match=r"no table is called 'entity\.txt'; did you mean"):
        vectors.select(["entity.txt"])
    with pytest.raises(ConfigError, match=r"written as \.safetensors, \.npz, \.tsv"):
        vectors.save(tmp_path / "x.pt")
    with pytest.raises(ConfigError, match="popularity has no vectors"):
        trained(home, "popularity").embeddings().save(tmp_path / "x.npz")
