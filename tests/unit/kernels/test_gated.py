"""Cosines of gated vectors, and their gradients."""

from __future__ import annotations

import pytest
import torch

from harness.kernels import Gated, gated_cosines
from harness.kernels.compiled import loops

gated_cosines_on_cpu = gated_cosines.version("numba")
gated_cosines_in_chunks = gated_cosines.version("chunked")


def arguments(sizes=(2, 3), n=403, width=37, dtype=torch.float32, shift=0.0):
    torch.manual_seed(0)
    b = sum(sizes)
    own, others = torch.randn(b, width), torch.randn(n, width)
    logits = 2 * torch.randn(b, width), 2 * torch.randn(len(sizes), n, width)
    found = [own, logits[0], sizes, others, logits[1], torch.randn(width) + shift]
    return [x.to(dtype) if isinstance(x, torch.Tensor) else x for x in found]


def cosines_by(version, given):
    own, own_logits, sizes, others, logits, bias = given
    return version(Gated(own, own_logits), Gated(others, logits), sizes, bias)


def made(version, given, threads=2):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) else x for x in given]
        cosines = cosines_by(version, given)
        torch.manual_seed(1)
        cosines.backward(torch.randn(cosines.shape).to(cosines))
        return [cosines.detach(), given[1].grad, given[4].grad, given[5].grad]
    finally:
        torch.set_num_threads(before)


def test_they_are_those_of_torch_s_cosine() -> None:
    given = own, own_logits, sizes, others, logits, bias = arguments(n=9)
    mine = own * (own_logits + bias).sigmoid()
    theirs = (others * (logits + bias).sigmoid()).repeat_interleave(torch.tensor(sizes), 0)
    expected = torch.cosine_similarity(mine[:, None], theirs, dim=2)
    for version in (gated_cosines, *gated_cosines.versions.values()):
        found = cosines_by(version, given)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


SHAPES = [
    ((5,), 403, 37),
    ((1,), 1, 1),
    ((3, 1), 4, 8),
    ((1, 2, 1), 98, 64),
    ((130,), 6, 5),
    ((1, 70), 200, 9),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0.0, -8.0, -30.0, 30.0])
def test_values_and_gradients_are_those_of_the_definition_in_double_precision(shape, shift) -> None:
    sizes, n, width = shape
    given = arguments(sizes, n, width, shift=shift)
    doubled = [x.double() if isinstance(x, torch.Tensor) else x for x in given]
    expected = made(gated_cosines.reference, doubled)
    for version in (gated_cosines_on_cpu, gated_cosines_in_chunks):
        for found, right in zip(made(version, given), expected, strict=True):
            torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-5)


def test_open_and_closed_gates_are_right_to_single_precision() -> None:
    logits = torch.linspace(-80, 80, 4001)[:, None]
    gated, slopes, lengths = (torch.empty_like(logits) for _ in range(3))
    written = gated.numpy(), slopes.numpy(), lengths[:, 0].numpy()
    ones, no_bias = torch.ones_like(logits).numpy(), torch.zeros(1).numpy()
    loops("gated").gate(ones, logits.numpy(), no_bias, written, 0, len(logits))
    gate = logits.double().sigmoid()
    assert ((gated.double() - gate).abs() <= 3e-7 * gate).all()
    closed = (-logits.double()).sigmoid()
    assert ((slopes.double() - gate * closed).abs() <= 6e-7 * gate * closed).all()


def test_the_definition_has_the_gradients_of_finite_differences() -> None:
    own, own_logits, sizes, others, logits, bias = arguments((1, 2), 3, 4, dtype=torch.float64)
    variables = [x.requires_grad_() for x in (own_logits, logits, bias)]
    torch.autograd.gradcheck(
        lambda a, b, c: cosines_by(gated_cosines.reference, (own, a, sizes, others, b, c)),
        variables,
    )


def test_vectors_themselves_are_constants() -> None:
    for version in (gated_cosines.reference, gated_cosines_on_cpu):
        given = arguments()
        for x in (given[0], given[1], given[3]):
            x.requires_grad_()
        cosines_by(version, given).sum().backward()
        assert given[0].grad is None
        assert given[3].grad is None


@pytest.mark.parametrize(("sizes", "n"), [((0,), 6), ((3,), 0), ((0, 2), 5)])
def test_there_may_be_none(sizes, n) -> None:
    cosines, _, to_logits, _ = made(gated_cosines_on_cpu, arguments(sizes, n, 4))
    assert cosines.shape == (sum(sizes), n)
    assert (to_logits[0] == 0).all()


WRONG = {
    "a short bias": lambda a: (*a[:5], a[5][:3]),
    "logits of one group": lambda a: (*a[:4], a[4][:1], a[5]),
    "fewer logits": lambda a: (*a[:4], a[4][:, :2], a[5]),
    "logits of one": lambda a: (a[0], a[1][:1], *a[2:]),
    "sizes of fewer": lambda a: (*a[:2], (2, 2), *a[3:]),
    "narrow vectors": lambda a: (a[0][:, :4], a[1][:, :4], *a[2:]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("version", [gated_cosines.reference, gated_cosines_on_cpu])
def test_shapes_that_do_not_go_together_are_refused(version, wrong) -> None:
    with pytest.raises(ValueError, match="gated cosines of"):
        cosines_by(version, wrong(arguments()))


def test_a_vector_of_zeros_is_like_none_and_its_gates_learn_nothing() -> None:
    given = arguments()
    given[0][1] = given[3][7] = 0.0
    cosines, to_own, to_others, _ = made(gated_cosines_on_cpu, given)
    assert (cosines[1] == 0).all()
    assert (cosines[:, 7] == 0).all()
    assert (to_own[1] == 0).all()
    assert (to_others[:, 7] == 0).all()


def test_vectors_shorter_than_the_shortest_are_divided_by_that() -> None:
    given = arguments()
    given[0][1] *= 1e-15
    given[3][7] *= 1e-15
    doubled = [x.double() if isinstance(x, torch.Tensor) else x for x in given]
    for found, right in zip(
        made(gated_cosines_on_cpu, given), made(gated_cosines.reference, doubled), strict=True
    ):
        torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-7)


def test_neither_threads_nor_strides_matter() -> None:
    given = arguments((13, 2), 1500, 64)
    expected = made(gated_cosines_on_cpu, given, threads=1)
    turned = [x.mT.contiguous().mT if isinstance(x, torch.Tensor) else x for x in given[:5]]
    for other in (
        made(gated_cosines_on_cpu, given, threads=2),
        made(gated_cosines_on_cpu, [*turned, given[5]]),
    ):
        assert all(torch.equal(a, b) for a, b in zip(other, expected, strict=True))


def test_nan_stays_where_it_is() -> None:
    given = arguments()
    given[4][1, 7, 2] = float("nan")
    found = cosines_by(gated_cosines_on_cpu, given)
    assert found[2:, 7].isnan().all()
    assert found.isnan().sum() == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_half_precision_is_computed_in_single_and_double_in_double(dtype) -> None:
    given = arguments(dtype=dtype)
    found = cosines_by(gated_cosines, given)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found, cosines_by(gated_cosines.reference, given))
