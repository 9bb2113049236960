"""Scores of listed pairs and of all pairs, and their gradients, are those of the reference."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from harness.kernels import Op, Pairs, VectorComparison, comparisons, score_all, score_pairs
from harness.kernels.backends import Backend

OPS: tuple[Op, ...] = ("dot", "l1", "modulus")
FAST: tuple[Backend, ...] = ("numba", "chunked")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}


class Case(NamedTuple):
    query: Tensor
    table: Tensor
    scale: Tensor | None
    pairs: Pairs

    @property
    def leaves(self) -> list[Tensor]:
        return [t for t in (self.query, self.table, self.scale) if t is not None]

    def comparison(self, op: Op) -> VectorComparison:
        return VectorComparison(op, self.query, self.table, self.scale)

    def listed(self, backend: Backend, op: Op) -> Tensor:
        return score_pairs.version(backend)(self.comparison(op), self.pairs)

    def all(self, backend: Backend, op: Op) -> Tensor:
        return score_all.version(backend)(self.comparison(op))


def make_case(
    sizes: list[int], rows: int, width: int, *, scaled: bool, dtype: torch.dtype = torch.float64
) -> Case:
    generator = torch.Generator().manual_seed(rows * 1000 + width)

    def leaf(n: int) -> Tensor:
        values = torch.randn(n, width, generator=generator, dtype=torch.float64)
        return values.to(dtype).requires_grad_()

    candidates = torch.randint(rows, (sum(sizes),), generator=generator)
    query, table = leaf(len(sizes)), leaf(rows)
    pairs = Pairs.from_sizes(torch.tensor(sizes), candidates)
    return Case(query, table, leaf(len(sizes)) if scaled else None, pairs)


def assert_same(actual: Tensor, expected: Tensor, leaves: list[Tensor]) -> None:
    tolerance = TOLERANCE[leaves[0].dtype]
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    outer = torch.randn(expected.shape, dtype=expected.dtype)
    for mine, theirs in zip(
        torch.autograd.grad(actual, leaves, outer),
        torch.autograd.grad(expected, leaves, outer),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


SHAPES = {
    "one pair": ([1], 1, 2),
    "empty groups": ([0, 3, 0, 0, 5, 0], 7, 6),
    "repeated rows": ([9, 9], 2, 10),
    "more rows than pairs": ([2, 1], 50, 34),
    "long groups, odd half": ([70, 1, 33], 41, 130),
}


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_listed_pairs_agree_with_the_reference(shape, op, scaled, backend):
    for dtype in TOLERANCE:
        case = make_case(*shape, scaled=scaled, dtype=dtype)
        assert_same(case.listed(backend, op), case.listed("reference", op), case.leaves)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("queries", "rows", "width"), [(1, 1, 2), (5, 33, 6), (37, 64, 18)])
def test_all_pairs_agree_with_the_reference(queries, rows, width, op, scaled, backend):
    case = make_case([1] * queries, rows, width, scaled=scaled)
    assert_same(case.all(backend, op), case.all("reference", op), case.leaves)


@pytest.mark.parametrize("op", ["dot", "l1"])
def test_any_width_will_do_where_there_is_no_imaginary_half(op):
    for width in (1, 3, 7):
        case = make_case([2, 0, 4], 5, width, scaled=True)
        assert_same(case.listed("numba", op), case.listed("reference", op), case.leaves)
        assert_same(case.all("numba", op), case.all("reference", op), case.leaves)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
def test_gradients_agree_with_finite_differences(op, scaled):
    case = make_case([2, 0, 3], 4, 4, scaled=scaled)

    def of_leaves(*leaves: Tensor) -> Tensor:
        query, table, scale, *_ = (*leaves, None)
        return case._replace(query=query, table=table, scale=scale).listed("numba", op)

    assert torch.autograd.gradcheck(of_leaves, case.leaves)


def test_gradients_of_all_pairs_do_not_depend_on_how_many_queries_are_taken_at_once(monkeypatch):
    case = make_case([1] * 9, 20, 6, scaled=True)
    expected = torch.autograd.grad(case.all("numba", "modulus").sum(), case.leaves)
    monkeypatch.setattr(comparisons, "BLOCK_BYTES", 2 * 8 * len(case.table))
    few = torch.autograd.grad(case.all("numba", "modulus").sum(), case.leaves)
    for mine, theirs in zip(few, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_chunks_on_an_accelerator_do_not_change_the_result(monkeypatch):
    case = make_case([4, 0, 5, 3], 9, 6, scaled=True)
    monkeypatch.setattr(comparisons, "CHUNK_BYTES", 3 * 6 * 8)
    assert_same(case.listed("chunked", "l1"), case.listed("reference", "l1"), case.leaves)
    assert_same(case.all("chunked", "modulus"), case.all("reference", "modulus"), case.leaves)


@pytest.mark.parametrize("backend", ["reference", *FAST])
@pytest.mark.parametrize("op", ["l1", "modulus"])
def test_the_gradient_of_a_zero_difference_is_zero(op, backend):
    query = torch.ones(1, 4, requires_grad=True)
    table = torch.ones(1, 4, requires_grad=True)
    pair = Pairs.one_each(torch.tensor([0]))
    score = score_pairs.version(backend)(VectorComparison(op, query, table), pair)
    assert score.item() == 0
    score.sum().backward()
    assert torch.equal(query.grad, torch.zeros(1, 4))
    assert torch.equal(table.grad, torch.zeros(1, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_float32(dtype):
    case = make_case([3, 2], 6, 8, scaled=True)
    query, table, scale = halves = [x.detach().to(dtype).requires_grad_() for x in case.leaves]
    widened = [half.detach().float() for half in halves]
    score = Case(query, table, scale, case.pairs).listed("numba", "modulus")
    expected = Case(widened[0], widened[1], widened[2], case.pairs).listed("reference", "modulus")
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)
    score.sum().backward()
    assert all(leaf.grad.dtype == dtype for leaf in halves)


def test_only_wanted_gradients_are_computed():
    case = make_case([3, 2], 6, 8, scaled=False)
    frozen = case._replace(table=case.table.detach())
    frozen.listed("numba", "l1").sum().backward()
    assert frozen.query.grad is not None
    assert frozen.table.grad is None


def test_inputs_need_not_be_contiguous():
    case = make_case([3, 2], 6, 8, scaled=False)
    turned = case._replace(
        query=case.query.detach().T.contiguous().T, table=case.table.detach().T.contiguous().T
    )
    assert torch.equal(turned.listed("numba", "l1"), case.listed("numba", "l1").detach())


def test_results_do_not_depend_on_the_number_of_threads():
    case = make_case([200] * 40, 300, 64, scaled=False, dtype=torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            score = case.listed("numba", "modulus")
            results.append([score, *torch.autograd.grad(score.square().sum(), case.leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_row_outside_the_table_is_refused():
    case = make_case([2, 1], 4, 6, scaled=False)
    for bad in (-1, 4):
        pairs = case.pairs._replace(indices=torch.tensor([0, bad, 1]))
        with pytest.raises(IndexError, match=f"row {bad} is not in a table of 4 rows"):
            case._replace(pairs=pairs).listed("numba", "dot")


@pytest.mark.parametrize("indptr", [[0, 2], [0, 2, 4], [1, 2, 3], [0, 4, 3]])
def test_pairs_that_do_not_fit_are_refused(indptr):
    case = make_case([2, 1], 4, 6, scaled=False)
    pairs = case.pairs._replace(indptr=torch.tensor(indptr))
    with pytest.raises(IndexError, match="indptr must"):
        case._replace(pairs=pairs).listed("numba", "dot")


def test_shapes_that_do_not_fit_are_refused():
    case = make_case([2, 1], 4, 6, scaled=False)
    with pytest.raises(ValueError, match="do not fit"):
        case._replace(table=case.table[:, :4]).all("numba", "l1")
    with pytest.raises(ValueError, match="is not like query"):
        case._replace(scale=case.query[:1]).all("numba", "l1")
    with pytest.raises(ValueError, match="width 5 is odd"):
        Case(case.query[:, :5], case.table[:, :5], None, case.pairs).all("numba", "modulus")
