"""Ranking fewer queries at once: the same counts."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness import kernels
from harness.catalog import build_model, load_models
from harness.evaluation import evaluator
from harness.evaluation.evaluator import rank
from harness.evaluation.ranks import Ranks
from harness.index import FilterIndex, GraphIndex, Pairs
from harness.model import MODELS, Model, Query
from harness.plan.spec import Protocol

N, R = 50, 4
DRAW = torch.Generator().manual_seed(3)
TRIPLES = torch.stack([torch.randint(n, (90,), generator=DRAW) for n in (N, R, N)], 1)
INDEX = GraphIndex(N, R, TRIPLES, "digest")
KNOWN = FilterIndex(TRIPLES, N, R)


def make(name: str) -> Model:
    load_models()
    options = {"dim": 8} if "dim" in MODELS.get(name).Config.model_fields else {}
    return build_model(name, options, INDEX)


def ranks(model: Model, **more: object) -> Ranks:
    return rank(model, TRIPLES, KNOWN, Protocol(), **more)  # type: ignore[arg-type]


def assert_equal(found: Ranks, expected: Ranks) -> None:
    assert np.array_equal(found.triples, expected.triples)
    for side, counts in expected.sides.items():
        for name in ("better", "tied", "candidates"):
            assert np.array_equal(getattr(found.sides[side], name), getattr(counts, name))


@pytest.mark.parametrize("name", ["transe", "rotate", "distmult", "complex", "popularity"])
@pytest.mark.parametrize("size", [1, 7, 1024])
def test_counts_do_not_depend_on_the_queries_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    model = make(name)
    expected = ranks(model)
    monkeypatch.setattr(evaluator, "QUERIES_AT_ONCE", size)
    assert_equal(ranks(model), expected)


@pytest.mark.parametrize(
    "name", ["transe", "rotate", "pairre", "distmult", "complex", "popularity"]
)
def test_scoring_equal_queries_once_changes_no_count(name: str) -> None:
    model = make(name)
    assert len(torch.unique(TRIPLES[:, :2], dim=0)) < len(TRIPLES), "some tail queries are equal"
    assert_equal(ranks(model, once=True), ranks(model, once=False))


def test_many_answers_of_one_query_need_no_more_memory_than_its_scores() -> None:
    """The targets of a query are compared a few at a time, not all beside the matrix."""
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            sizes.append(out.numel() if isinstance(out, Tensor) else 0)
            return out

    scores, targets = torch.rand(2, 100), torch.arange(80)
    owners = (targets >= 40).long()
    listed = Pairs.from_matrix(targets.view(2, 40))
    known = Pairs.from_sizes(torch.tensor([1, 0]), torch.tensor([7]))
    with Sizes():
        better, tied = kernels.count_in_scores(scores, listed, known)
    assert max(sizes) <= scores.numel()
    expected = (scores[owners] > scores[owners, targets][:, None]).sum(1)
    known_is_better = (scores[0, 7] > scores[0, targets]) & (owners == 0)
    assert torch.equal(better, expected - known_is_better.long())
    assert not tied.any()


def limited(monkeypatch: pytest.MonkeyPatch, model: Model, most: int) -> list[int]:
    """Let ``model`` run out of memory with more than ``most`` queries; return what was tried."""
    tried: list[int] = []
    whole = model.queries

    def queries(tables: dict[str, Tensor], anchors: Tensor, *rest: object) -> Query:
        tried.append(len(anchors))
        if len(anchors) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(tables, anchors, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "queries", queries)
    return tried


def test_the_tensors_of_a_chunk_that_does_not_fit_are_freed_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make("rotate")
    whole, alive, emptied = model.queries, [], []

    def queries(tables: dict[str, Tensor], anchors: Tensor, *rest: object) -> Query:
        intermediate = anchors.clone()
        alive.append(weakref.ref(intermediate))
        if len(anchors) > 50:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(tables, anchors, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "queries", queries)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(alive[-1]()))
    ranks(model)
    assert emptied
    assert all(tensor is None for tensor in emptied)


def test_fewer_queries_are_tried_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("rotate")
    expected = ranks(model)
    monkeypatch.setattr(evaluator, "QUERIES_AT_ONCE", 64)
    tried = limited(monkeypatch, model, most=20)
    done: list[int] = []
    assert_equal(ranks(model, progress=done.append), expected)
    assert tried[:3] == [64, 32, 16]
    assert sum(done) == 2 * len(TRIPLES)


def test_one_query_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("rotate")
    limited(monkeypatch, model, most=0)
    with pytest.raises(torch.OutOfMemoryError):
        ranks(model)
