"""Ranks and metrics equal those of a few lines of Python that share no code with the harness."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness import pipeline
from harness.catalog import build_model
from harness.data.graph import KnowledgeGraph
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ranks
from harness.index import FilterIndex, GraphIndex, Side
from harness.model import Model, ModelConfig, Tables
from harness.plan.spec import Protocol, RunSpec
from harness.store.records import RunRecord
from tests.toys import toy_graph

SIDES: tuple[Side, ...] = ("head", "tail")
TIES = ("realistic", "optimistic", "pessimistic")
N, R = 9, 2

Scores = Callable[[int, int, Side], np.ndarray]
"""(anchor, relation, predicted side) -> a score per entity."""


# --- the oracle ---------------------------------------------------------------------------


class Answer(NamedTuple):
    """Rank of the true answer and the number of entities it was ranked among."""

    rank: float
    candidates: int


def brute_force(
    scores: Scores, queries: Tensor, known: Iterable[list[int]], side: Side, ties: str
) -> list[Answer]:
    true = {tuple(triple) for triple in known}
    answers = []
    for h, r, t in queries.tolist():
        row = scores(h, r, "tail") if side == "tail" else scores(t, r, "head")
        better = tied = others = 0
        for e in range(len(row)):
            target = t if side == "tail" else h
            if e == target or ((h, r, e) if side == "tail" else (e, r, t)) in true:
                continue
            others += 1
            better += bool(row[e] > row[target])
            tied += bool(row[e] == row[target])
        best, worst = 1 + better, 1 + better + tied
        middle = (best + worst) / 2
        answers.append(
            Answer({"optimistic": best, "pessimistic": worst}.get(ties, middle), others + 1)
        )
    return answers


def brute_metrics(answers: list[Answer]) -> dict[str, float]:
    """Mean rank against the mean rank of a coin: 1 - (MR - 1) / (E[MR] - 1)."""
    n = len(answers)
    found = {f"hits@{k}": sum(a.rank <= k for a in answers) / n for k in (1, 3, 10)}
    found["mrr"] = sum(1 / a.rank for a in answers) / n
    found["mr"] = sum(a.rank for a in answers) / n
    by_chance = sum((1 + a.candidates) / 2 for a in answers) / n
    found["amri"] = 1 - (found["mr"] - 1) / (by_chance - 1) if by_chance > 1 else 0.0
    return found


def assert_equal(
    ranks: Ranks,
    protocol: Protocol,
    scores: Scores,
    known: list[list[int]],
    buckets: dict[str, np.ndarray],
) -> None:
    """Compare ranks, candidates and every metric, per side and pooled, per bucket."""
    queries = torch.from_numpy(ranks.triples)
    expected = {
        side: brute_force(scores, queries, known, side, protocol.ties) for side in protocol.sides
    }
    for side in protocol.sides:
        values, candidates = ranks.ranks(protocol.ties, side)
        # Not `assert list == list`: pytest takes minutes to explain how long lists differ.
        np.testing.assert_array_equal(values, [a.rank for a in expected[side]])
        np.testing.assert_array_equal(candidates, [a.candidates for a in expected[side]])
    found = {(m.bucket, m.side, m.metric): m for m in measure(ranks, protocol, buckets)}
    wanted = {}
    for bucket, where in {"all": np.ones(len(queries), bool), **buckets}.items():
        kept: dict[str, list[Answer]] = {
            side: [expected[side][i] for i in where.nonzero()[0]] for side in protocol.sides
        }
        kept["both"] = [a for answers in kept.values() for a in answers]
        for name, answers in kept.items():
            for metric, value in brute_metrics(answers).items() if answers else ():
                wanted[bucket, name, metric] = value
                assert found[bucket, name, metric].queries == len(answers)
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        assert found[key].value == pytest.approx(value, abs=1e-12), key


# --- random scores ------------------------------------------------------------------------


class ScoreTable(Model):
    """A model that knows its scores by heart."""

    def __init__(self, scores: dict[Side, Tensor], index: GraphIndex) -> None:
        super().__init__(ModelConfig(), index, {})
        self.scores = scores

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {}

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        return self.scores[side][anchors, relations]


triples = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)),
    min_size=1,
    max_size=25,
)
protocols = st.builds(
    Protocol,
    ties=st.sampled_from(TIES),
    filter=st.sampled_from([(), ("train",), ("train", "valid", "test")]),
    sides=st.sampled_from([("head", "tail"), ("head",), ("tail",)]),
)
score_seeds = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 1000]))
"""Seed, and number of distinct scores: few make ties, one makes nothing else."""


def graph(train: list, valid: list, test: list) -> KnowledgeGraph:
    return toy_graph(train, valid, test, entities=N, relations=R)


def known_answers(data: KnowledgeGraph, protocol: Protocol) -> tuple[FilterIndex, list]:
    rows = [row for split in protocol.filter for row in data.splits[split].tolist()]
    tensor = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)
    return FilterIndex(tensor, data.n_entities, data.n_relations), rows


def warm_and_cold(data: KnowledgeGraph) -> dict[str, np.ndarray]:
    mentioned = {e for h, _, t in data.splits["train"].tolist() for e in (h, t)}
    warm = np.array([h in mentioned and t in mentioned for h, _, t in data.splits["test"].tolist()])
    return {"warm": warm, "cold": ~warm}


@settings(deadline=None)
@given(triples, triples, triples, protocols, score_seeds)
def test_random_score_matrices(
    train: list, valid: list, test: list, protocol: Protocol, seed: tuple[int, int]
) -> None:
    data = graph(train, valid, test)
    random = np.random.default_rng(seed[0])
    drawn: dict[Side, np.ndarray] = {s: random.integers(seed[1], size=(N, R, N)) for s in SIDES}
    model = ScoreTable({s: torch.from_numpy(x).float() for s, x in drawn.items()}, data.index)
    known, rows = known_answers(data, protocol)
    ranks = rank(model, data.splits["test"], known, protocol)
    assert_equal(ranks, protocol, lambda a, r, s: drawn[s][a, r], rows, warm_and_cold(data))


@settings(deadline=None)  # the first example compiles the kernels
@given(triples, triples, triples, protocols, score_seeds)
def test_models_whose_weights_are_whole_numbers(
    train: list, valid: list, test: list, protocol: Protocol, seed: tuple[int, int]
) -> None:
    """The same through the fused kernels: whole numbers make exact scores and many ties."""
    data = graph(train, valid, test)
    random = np.random.default_rng(seed[0])
    entity, relation = random.integers(-2, 3, size=(N, 4)), random.integers(-2, 3, size=(R, 4))
    sign = {"tail": 1, "head": -1}
    oracles: dict[str, Scores] = {
        "transe": lambda a, r, s: -abs(entity[a] + sign[s] * relation[r] - entity).sum(1),
        "distmult": lambda a, r, s: (entity[a] * relation[r] * entity).sum(1),
    }
    known, rows = known_answers(data, protocol)
    for name, scores in oracles.items():
        model = build_model(name, {"dim": 4}, data.index)
        load(model, entity=entity, relation=relation)
        ranks = rank(model, data.splits["test"], known, protocol)
        assert_equal(ranks, protocol, scores, rows, warm_and_cold(data))


def load(model: Model, **weights: np.ndarray) -> None:
    state = {name: torch.from_numpy(value).float() for name, value in weights.items()}
    model.load_state_dict(state)


# --- trained models -----------------------------------------------------------------------

GRAPH = "synthetic:entities=80,train=1200,valid=100,test=120"


def train(name: str, folder: Path) -> tuple[RunSpec, RunRecord]:
    spec = RunSpec.model_validate(
        {
            "model": {"name": name, "dim": 8},
            "data": {"dataset": GRAPH, "features": "all" if name == "mocme" else "none"},
            "negatives": {"count": 8},
            "optimiser": {"lr": 0.02},
            "training": {"epochs": 4, "batch_size": 256, "evaluate_every": 4},
        }
    )
    return spec, pipeline.execute("aaaa", spec, pipeline.Workplace(folder, "cpu"))


def in_double_precision(model: Any) -> Scores:
    """Give the model its table and phases in fp64; return RotatE's score of them, in numpy.

    MoCME computes its fusion in fp32 whatever the weights are: what comes out of it is one more
    row of complex numbers per entity.
    """
    table = model.encode()["entity"].double()
    model.encode = lambda entities=None: {"entity": table}
    model.relation.data = model.relation.data.double()
    real, imaginary = np.split(table.numpy(), 2, axis=1)
    points = real + 1j * imaginary
    turn = np.exp(1j * model.relation.detach().numpy() * model.phase_per_unit)

    def scores(anchor: int, r: int, side: Side) -> np.ndarray:
        heads, tails = (points[anchor], points) if side == "tail" else (points, points[anchor])
        return -abs(heads * turn[r] - tails).sum(1)

    return scores


@pytest.mark.parametrize("name", ["rotate", "mocme"])
def test_trained_models(name: str, tmp_path: Path) -> None:
    spec, record = train(name, tmp_path)
    model, dataset = pipeline.load_trained(record, tmp_path, torch.device("cpu"))
    data, buckets = dataset.graph, warm_and_cold(dataset.graph)
    assert buckets["warm"].any()
    assert buckets["cold"].any()
    with torch.no_grad():
        scores = in_double_precision(model)
        for ties in TIES:
            protocol = Protocol(ties=ties)
            known, rows = known_answers(data, protocol)
            ranks = rank(model, data.splits["test"], known, protocol)
            assert_equal(ranks, protocol, scores, rows, buckets)
    assert_record_agrees(record, ranks, spec.protocol, buckets)


def assert_record_agrees(
    record: RunRecord, ranks: Ranks, protocol: Protocol, buckets: dict[str, np.ndarray]
) -> None:
    """The stored record was made in fp32, where two near scores may change places."""
    stored = {(m.bucket, m.side, m.metric): m.value for m in record.metrics if m.split == "test"}
    exact = {(m.bucket, m.side, m.metric): m.value for m in measure(ranks, protocol, buckets)}
    assert set(stored) == set(exact)
    for key, value in exact.items():
        assert stored[key] == pytest.approx(value, rel=2e-2), key
