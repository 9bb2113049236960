"""A step whose sizes depend on no draw: the same step, and the host never waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.catalog import build_model
from harness.eager import Adam
from harness.index import GraphIndex, Modality
from harness.kernels import backends
from harness.model import Model
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure
from harness.training.sampled import SampledLoss

N, R, FEW = 90, 3, 6
DRAW = torch.Generator().manual_seed(1)
TRAIN = torch.stack([torch.randint(n, (200,), generator=DRAW) for n in (N, R, N)], 1)
INDEX = GraphIndex(N, R, TRAIN, "digest")
KINDS = ["complementarity", "mean", "concat", "product", "gate", "attention", "self_attention"]
VARIANTS: dict[str, dict[str, Any]] = {
    **{kind: {"fusion": {"kind": kind}} for kind in KINDS},
    **{f"{kind}, all views": {"fusion": {"kind": kind, "scope": "both"}} for kind in KINDS[1:]},
    **{
        f"{kind}, absent as zero": {"fusion": {"kind": kind, "missing": "literal"}}
        for kind in ("complementarity", "product", "gate", "attention")
    },
    "structure apart": {"structure": {"as_modality": False, "mask_unseen": True}},
    "relations apart": {"score": {"per_modality_relation": True}},
    "per entity": {"mi": {"granularity": "pointwise", "warmup_steps": 0, "min_overlap": 2}},
    "flow": {"mi": {"weight_grad": "flow", "warmup_steps": 0, "min_overlap": 2}},
    "linear": {"backbone": "linear"},
}
WAITING = {
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "_local_scalar_dense",
}
"""Operations whose result the host has to know before it can go on."""


class NoWaiting(TorchDispatchMode):
    """Raises where the host would wait for the device."""

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = operation.overloadpacket.__name__
        boolean = any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for index in (args[1] if name in ("index", "index_put_") else ())
        )
        assert name not in WAITING, f"{name} waits for the device"
        assert not boolean, f"{name} by a mask waits for the device"
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def _kernels_of_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "backend_name", lambda device: "chunked")


def modalities() -> dict[str, Modality]:
    generator = torch.Generator().manual_seed(2)
    found = {}
    for name, width, coverage in (("text", 7, 0.8), ("image", 5, 0.3)):
        present = torch.rand(N, generator=generator) < coverage
        matrix = torch.randn(N, width, generator=generator) * present[:, None]
        found[name] = Modality(name, matrix, present)
    return found


def start(
    options: Mapping[str, Any], *, static: bool, model: str = "mocme", **negatives: Any
) -> tuple[Model, StandardProcedure]:
    drawn = {"count": 2, **negatives}
    spec = RunSpec.model_validate(
        {"model": {"name": model}, "data": {"dataset": "d"}, "negatives": drawn}
    )
    network = build_model(model, {"dim": 4, **options}, INDEX, modalities(), seed=3)
    procedure = StandardProcedure(network, INDEX, spec, torch.device("cpu"), static_shapes=static)
    return network.train(), procedure


def two_steps(options: Mapping[str, Any], *, static: bool) -> tuple[list[float], dict[str, Tensor]]:
    """Return the losses of two steps, and the gradients of the first."""
    network, procedure = start(options, static=static)
    procedure.start_epoch(0)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    found = [float(procedure.step(TRAIN[:FEW], generator).loss)]
    gradients = {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
    found.append(float(procedure.step(TRAIN[FEW : 2 * FEW], generator).loss))
    return found, gradients


def encoded(network: Model, step: Callable[[], object]) -> list[Tensor | None]:
    """Return the entities that a step asks a model to encode."""
    asked: list[Tensor | None] = []
    encode = network.encode

    def remember(entities: Tensor | None = None) -> Any:
        asked.append(entities)
        return encode(entities)

    network.encode = remember  # type: ignore[method-assign]
    step()
    return asked


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_is_the_same_whether_its_shapes_are_static_or_not(name: str) -> None:
    usual, usual_gradients = two_steps(VARIANTS[name], static=False)
    static, gradients = two_steps(VARIANTS[name], static=True)
    assert static == pytest.approx(usual, rel=1e-4)  # Adam magnifies what rounding does
    assert gradients.keys() == usual_gradients.keys()
    for key, expected in usual_gradients.items():
        torch.testing.assert_close(gradients[key], expected, rtol=1e-3, atol=1e-6)


def step_without_waiting(network: Model, procedure: StandardProcedure, batch: int) -> None:
    auxiliary = list(network.auxiliary_parameters())
    if auxiliary:  # plain Adam reads its step counter, which is never on the device
        procedure.auxiliary = Adam(auxiliary, fused=True)
    generator = torch.Generator().manual_seed(0)
    with NoWaiting():
        procedure.step(TRAIN[:batch], generator)


@pytest.mark.usefixtures("_kernels_of_accelerators")
@pytest.mark.parametrize("batch", [FEW, len(TRAIN)])
@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_in_a_step_of_static_shapes_waits_for_the_device(name: str, batch: int) -> None:
    step_without_waiting(*start(VARIANTS[name], static=True), batch)


@pytest.mark.usefixtures("_kernels_of_accelerators")
@pytest.mark.parametrize(
    "negatives",
    [{"sampler": "bernoulli"}, {"sampler": "shared", "share": 4}, {"filter": "none"}],
    ids=str,
)
def test_no_sampler_waits_for_the_device(negatives: dict[str, Any]) -> None:
    step_without_waiting(*start({}, static=True, **negatives), FEW)


@pytest.mark.usefixtures("_kernels_of_accelerators")
def test_the_usual_step_of_few_draws_does_wait() -> None:
    _, procedure = start({}, static=False)
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        procedure.step(TRAIN[:FEW], torch.Generator().manual_seed(0))


def test_one_row_is_encoded_per_draw_while_draws_are_fewer_than_entities() -> None:
    for batch, per_draw in ((22, True), (23, False)):  # 4 draws each: 88 and 92 of 90 entities
        network, procedure = start({}, static=True)
        generator = torch.Generator().manual_seed(0)
        [asked] = encoded(network, lambda: procedure.step(TRAIN[:batch], generator))  # noqa: B023
        assert (asked is not None) == per_draw
        assert asked is None or len(asked) == 4 * batch


def test_a_step_encodes_the_distinct_entities_of_positives_that_share_negatives() -> None:
    shared: dict[str, Any] = {"sampler": "shared", "share": 60}
    batch = TRAIN[:60]  # 60 positives with 2 negatives each: 240 of the 90 entities
    generator = torch.Generator().manual_seed(0)
    network, procedure = start({}, static=False, **shared)
    [few] = encoded(network, lambda: procedure.step(batch, generator))
    assert few is not None
    assert set(batch[:, ::2].flatten().tolist()) < set(few.tolist())
    assert few.tolist() == sorted(set(few.tolist()))
    network, procedure = start({}, static=False)
    assert encoded(network, lambda: procedure.step(batch, generator)) == [None]


@pytest.mark.parametrize(
    ("batch", "negatives", "static"),
    [
        pytest.param(60, {"share": 1}, False, id="nothing shared"),
        pytest.param(60, {"share": 60}, True, id="static shapes"),
        pytest.param(60, {"share": 60, "count": 120}, False, id="more than 2N, shared"),
        pytest.param(60, {"share": 60, "strategy": {"name": "kbgan"}}, False, id="a strategy"),
    ],
)
def test_a_step_of_many_different_draws_encodes_all(
    batch: int, negatives: dict[str, Any], static: bool
) -> None:
    network, procedure = start({}, static=static, sampler="shared", **negatives)
    generator = torch.Generator().manual_seed(0)
    assert encoded(network, lambda: procedure.step(TRAIN[:batch], generator)) == [None]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_is_the_same_whether_all_or_distinct_entities_are_encoded(name: str) -> None:
    found = []
    for share in (60, 1):
        network, procedure = start(VARIANTS[name], static=False, sampler="shared", share=60)
        loss = procedure.loss
        assert isinstance(loss, SampledLoss)
        assert loss.share == 60
        loss.share = share  # the same draws; 1: so many are expected that all are encoded
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        value = float(procedure.step(TRAIN[:60], generator).loss)
        gradients = {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
        found.append((value, gradients))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for key, expected in found[1][1].items():
        torch.testing.assert_close(found[0][1][key], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["rotate", "pairre"])
def test_models_of_structure_alone_do_not_care(name: str) -> None:
    found = []
    for static in (False, True):
        _, procedure = start({}, static=static, model=name)
        generator = torch.Generator().manual_seed(0)
        found.append(float(procedure.step(TRAIN[:FEW], generator).loss))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_what_modality_dropout_hides_of_an_entity_is_hidden_wherever_it_occurs() -> None:
    network, _ = start({"modality_dropout": {"structure": 0.5, "others": 0.5}}, static=True)
    for entity in range(5):
        rows = network.encode(torch.full((20,), entity))["entity"]
        torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    first, second = (network.encode(torch.arange(N))["entity"] for _ in range(2))
    assert not torch.allclose(first, second)
