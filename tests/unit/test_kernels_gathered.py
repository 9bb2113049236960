"""Scores of listed pairs and of all pairs, and their gradients, are those of the reference."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from harness.kernels import cpu, cuda, reference

OPS = ("dot", "l1", "modulus")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}


class Case(NamedTuple):
    query: Tensor
    table: Tensor
    scale: Tensor | None
    offsets: Tensor
    candidates: Tensor

    @property
    def leaves(self) -> list[Tensor]:
        return [t for t in (self.query, self.table, self.scale) if t is not None]


def make_case(
    sizes: list[int], rows: int, width: int, *, scaled: bool, dtype: torch.dtype = torch.float64
) -> Case:
    generator = torch.Generator().manual_seed(rows * 1000 + width)

    def leaf(n: int) -> Tensor:
        values = torch.randn(n, width, generator=generator, dtype=torch.float64)
        return values.to(dtype).requires_grad_()

    offsets = torch.tensor([0, *sizes]).cumsum(0)
    candidates = torch.randint(rows, (sum(sizes),), generator=generator)
    query, table = leaf(len(sizes)), leaf(rows)
    return Case(query, table, leaf(len(sizes)) if scaled else None, offsets, candidates)


def gathered(kernels: ModuleType, op: str, case: Case) -> Tensor:
    scores: Tensor = kernels.gathered(
        op, case.query, case.table, case.offsets, case.candidates, case.scale
    )
    return scores


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


@pytest.mark.parametrize("implementation", [cpu, cuda])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_listed_pairs_agree_with_the_reference(shape, op, scaled, implementation):
    for dtype in TOLERANCE:
        case = make_case(*shape, scaled=scaled, dtype=dtype)
        assert_same(gathered(implementation, op, case), gathered(reference, op, case), case.leaves)


@pytest.mark.parametrize("implementation", [cpu, cuda])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("queries", "rows", "width"), [(1, 1, 2), (5, 33, 6), (37, 64, 18)])
def test_all_pairs_agree_with_the_reference(queries, rows, width, op, scaled, implementation):
    case = make_case([1] * queries, rows, width, scaled=scaled)
    arguments = (op, case.query, case.table, case.scale)
    assert_same(implementation.pairwise(*arguments), reference.pairwise(*arguments), case.leaves)


@pytest.mark.parametrize("op", ["dot", "l1"])
def test_any_width_will_do_where_there_is_no_imaginary_half(op):
    for width in (1, 3, 7):
        case = make_case([2, 0, 4], 5, width, scaled=True)
        assert_same(gathered(cpu, op, case), gathered(reference, op, case), case.leaves)
        arguments = (op, case.query, case.table, case.scale)
        assert_same(cpu.pairwise(*arguments), reference.pairwise(*arguments), case.leaves)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("op", OPS)
def test_gradients_agree_with_finite_differences(op, scaled):
    case = make_case([2, 0, 3], 4, 4, scaled=scaled)

    def of_leaves(*leaves: Tensor) -> Tensor:
        query, table, scale, *_ = (*leaves, None)
        return gathered(cpu, op, case._replace(query=query, table=table, scale=scale))

    assert torch.autograd.gradcheck(of_leaves, case.leaves)


def test_gradients_of_all_pairs_do_not_depend_on_how_many_queries_are_taken_at_once(monkeypatch):
    case = make_case([1] * 9, 20, 6, scaled=True)
    expected = torch.autograd.grad(
        cpu.pairwise("modulus", case.query, case.table, case.scale).sum(), case.leaves
    )
    monkeypatch.setattr(cpu, "BLOCK_BYTES", 2 * 8 * len(case.table))
    few = torch.autograd.grad(
        cpu.pairwise("modulus", case.query, case.table, case.scale).sum(), case.leaves
    )
    for mine, theirs in zip(few, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_chunks_on_an_accelerator_do_not_change_the_result(monkeypatch):
    case = make_case([4, 0, 5, 3], 9, 6, scaled=True)
    monkeypatch.setattr(cuda, "BUDGET", 3 * 6 * 8)
    assert_same(gathered(cuda, "l1", case), gathered(reference, "l1", case), case.leaves)
    arguments = ("modulus", case.query, case.table, case.scale)
    assert_same(cuda.pairwise(*arguments), reference.pairwise(*arguments), case.leaves)


@pytest.mark.parametrize("implementation", [reference, cpu, cuda])
@pytest.mark.parametrize("op", ["l1", "modulus"])
def test_the_gradient_of_a_zero_difference_is_zero(op, implementation):
    query = torch.ones(1, 4, requires_grad=True)
    table = torch.ones(1, 4, requires_grad=True)
    pair = torch.tensor([0, 1]), torch.tensor([0])
    score = implementation.gathered(op, query, table, *pair)
    assert score.item() == 0
    score.sum().backward()
    assert torch.equal(query.grad, torch.zeros(1, 4))
    assert torch.equal(table.grad, torch.zeros(1, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_float32(dtype):
    case = make_case([3, 2], 6, 8, scaled=True)
    names = ("query", "table", "scale")
    halves = [leaf.detach().to(dtype).requires_grad_() for leaf in case.leaves]
    score = gathered(cpu, "modulus", case._replace(**dict(zip(names, halves, strict=True))))
    widened = {name: h.detach().float() for name, h in zip(names, halves, strict=True)}
    expected = gathered(reference, "modulus", case._replace(**widened))
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)
    score.sum().backward()
    assert all(leaf.grad.dtype == dtype for leaf in halves)


def test_only_wanted_gradients_are_computed():
    case = make_case([3, 2], 6, 8, scaled=False)
    frozen = case._replace(table=case.table.detach())
    gathered(cpu, "l1", frozen).sum().backward()
    assert frozen.query.grad is not None
    assert frozen.table.grad is None


def test_inputs_need_not_be_contiguous():
    case = make_case([3, 2], 6, 8, scaled=False)
    turned = case._replace(
        query=case.query.detach().T.contiguous().T, table=case.table.detach().T.contiguous().T
    )
    assert torch.equal(gathered(cpu, "l1", turned), gathered(cpu, "l1", case).detach())


def test_results_do_not_depend_on_the_number_of_threads():
    case = make_case([200] * 40, 300, 64, scaled=False, dtype=torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            score = gathered(cpu, "modulus", case)
            results.append([score, *torch.autograd.grad(score.square().sum(), case.leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_row_outside_the_table_is_refused():
    case = make_case([2, 1], 4, 6, scaled=False)
    for bad in (-1, 4):
        candidates = torch.tensor([0, bad, 1])
        with pytest.raises(IndexError, match=f"row {bad} is not in a table of 4 rows"):
            gathered(cpu, "dot", case._replace(candidates=candidates))


@pytest.mark.parametrize("offsets", [[0, 2], [0, 2, 4], [1, 2, 3], [0, 4, 3]])
def test_offsets_that_do_not_fit_are_refused(offsets):
    case = make_case([2, 1], 4, 6, scaled=False)
    with pytest.raises(IndexError, match="offsets must"):
        gathered(cpu, "dot", case._replace(offsets=torch.tensor(offsets)))


def test_shapes_that_do_not_fit_are_refused():
    case = make_case([2, 1], 4, 6, scaled=False)
    with pytest.raises(ValueError, match="do not fit"):
        cpu.pairwise("l1", case.query, case.table[:, :4])
    with pytest.raises(ValueError, match="is not like query"):
        cpu.pairwise("l1", case.query, case.table, case.query[:1])
    with pytest.raises(ValueError, match="width 5 is odd"):
        cpu.pairwise("modulus", case.query[:, :5], case.table[:, :5])
