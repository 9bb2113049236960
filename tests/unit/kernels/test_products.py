"""Products in bfloat16 on a processor without them: computed in float32, rounded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode

from harness.catalog import build_model, load_models
from harness.index import GraphIndex, Modality
from harness.kernels import products
from harness.kernels.products import bf16_products
from harness.model import MODELS
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure

load_models()
TRAINABLE = [name for name in MODELS if MODELS.get(name).capabilities.trainable]
CPU = torch.device("cpu")


def drawn(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)))


class Operations(TorchDispatchMode):
    """Names of the operations that multiply matrices of bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.multiplied: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        tensors = [x for x in args if isinstance(x, Tensor) and x.dtype == torch.bfloat16]
        name = func.overloadpacket.__name__
        if tensors and any(
            part in name for part in ("mm", "mv", "dot", "linear", "attention", "conv")
        ):
            self.multiplied.add(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def _without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "multiplies_bf16", lambda: False)


PRODUCTS: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
    "matmul": (torch.matmul, [drawn(5, 40), drawn(40, 3)]),
    "matmul of transposed": (lambda a, b: a.T @ b, [drawn(40, 5), drawn(40, 3)]),
    "matmul of batches": (torch.matmul, [drawn(2, 5, 40), drawn(2, 40, 3)]),
    "linear": (linear, [drawn(5, 40), drawn(3, 40)]),
    "linear with bias": (linear, [drawn(5, 40), drawn(3, 40), drawn(3)]),
    "baddbmm": (torch.baddbmm, [drawn(2, 5, 3), drawn(2, 5, 40), drawn(2, 40, 3)]),
    "einsum": (lambda a, b: torch.einsum("nk,mk->nm", a, b), [drawn(5, 40), drawn(3, 40)]),
}


@pytest.mark.usefixtures("_without_bf16")
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_and_its_gradients_are_those_of_float32_rounded_once(name: str) -> None:
    multiply, arguments = PRODUCTS[name]
    rounded = [x.bfloat16().requires_grad_() for x in arguments]
    exact = [x.detach().float().requires_grad_() for x in rounded]
    seen = Operations()
    with seen, bf16_products(CPU):
        found = multiply(*rounded)
        gradients = torch.autograd.grad(found.sum(), rounded)
    assert not seen.multiplied
    expected = multiply(*exact)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16(), atol=1e-6, rtol=2**-7)
    for x, y in zip(gradients, torch.autograd.grad(expected.sum(), exact), strict=True):
        torch.testing.assert_close(x, y.bfloat16(), atol=1e-6, rtol=2**-7)


@pytest.mark.usefixtures("_without_bf16")
def test_products_in_float32_stay_as_they_are() -> None:
    a, b = drawn(30, 40), drawn(40, 20)
    with bf16_products(CPU):
        assert torch.equal(a @ b, torch.matmul(a, b))
        assert (a @ b).dtype == torch.float32
        assert (a.double() @ b.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("device", "able"), [("cpu", True), ("cpu", None), ("cuda", False)], ids=str
)
def test_elsewhere_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, device: str, able: bool | None
) -> None:
    monkeypatch.setattr(products, "multiplies_bf16", lambda: able)
    assert isinstance(bf16_products(torch.device(device)), nullcontext)


def procedure(name: str, **training: Any) -> tuple[StandardProcedure, Tensor]:
    """Return a procedure for a small graph in bf16, and its train triples."""
    draw = torch.Generator().manual_seed(1)
    n, r = 60, 3
    train = torch.stack([torch.randint(size, (80,), generator=draw) for size in (n, r, n)], 1)
    present = torch.rand(n, generator=draw) < 0.7
    features = {
        kind: Modality(kind, torch.randn(n, 5, generator=draw) * present[:, None], present)
        for kind in ("text", "image")
    }
    index = GraphIndex(n, r, train, "digest")
    spec = RunSpec.model_validate(
        {
            "model": {"name": name},
            "data": {"dataset": "d"},
            "training": {"precision": "bf16", **training},
            "objective": {"loss": "one_vs_all"} if MODELS.get(name).reciprocal else {},
        }
    )
    model = build_model(name, {"dim": 4}, index, features)
    return StandardProcedure(model, index, spec, CPU), train


@pytest.mark.usefixtures("_without_bf16")
@pytest.mark.parametrize("name", TRAINABLE)
def test_a_training_step_multiplies_nothing_in_bf16(name: str) -> None:
    training, train = procedure(name)
    training.start_epoch(0)
    seen = Operations()
    with seen:
        report = training.step(train[:5], torch.Generator().manual_seed(0))
    assert not seen.multiplied
    assert report.loss.isfinite()


def test_the_guard_sees_products_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "multiplies_bf16", lambda: True)
    training, train = procedure("mocme")
    training.start_epoch(0)
    seen = Operations()
    with seen:
        training.step(train[:5], torch.Generator().manual_seed(0))
    assert "addmm" in seen.multiplied or "mm" in seen.multiplied


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # torch's own
@pytest.mark.usefixtures("_without_bf16")
def test_compiled_programs_keep_their_products() -> None:
    assert isinstance(procedure("mocme", compile=True)[0].products, nullcontext)
