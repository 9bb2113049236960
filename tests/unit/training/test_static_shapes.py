"""A step whose sizes depend on no draw: the same step, and the host never waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from traceback import extract_stack
from typing import Any, Self
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from harness.catalog import build_model, load_models
from harness.eager import Adam
from harness.index import GraphIndex, Modality
from harness.kernels import backends
from harness.model import MODELS, Model
from harness.plan.possible import usual_loss
from harness.plan.spec import RunSpec
from harness.procedure import STRATEGIES
from harness.training.procedures import StandardProcedure
from harness.training.sampled import SampledLoss

load_models()
THIS_FILE = Path(__file__).resolve()
REPOSITORY = THIS_FILE.parents[3]
TRAINABLE = [name for name in MODELS if MODELS.get(name).capabilities.trainable]
KNOWN_WAITS = {
    # Per side the distinct relations and their counts, which decide the shapes of their products;
    # and the distinct entities in the penalty.
    "imf": 5,
    "momok": 5,
    # A test of convergence per Sinkhorn iteration, in each of two modalities.
    "otkge": 2,
    # Known answers in the pool, by a filter of variable length, and groups of equal relations.
    "mmrns": 11,
}
"""Model or strategy -> waits of a step, unavoidable without other numbers; the others have none."""
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
    "bincount",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "_local_scalar_dense",
}
"""Operations whose result the host has to know before it can go on."""


COPYING = ("tolist", "cpu", "numpy", "item", "new_tensor")
"""Methods of tensors that copy between host and device without such an operation on the CPU."""


class Waits(TorchDispatchMode):
    """Records where the host would wait for the device, as "operation in file:line"."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        for owner, name in [(Tensor, name) for name in COPYING] + [(torch, "tensor")]:
            recorded = self._recorded(name, getattr(owner, name))
            self._patches.enter_context(patch.object(owner, name, recorded))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = operation.overloadpacket.__name__
        is_by_mask = any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for index in (args[1] if name in ("index", "index_put_") else ())
        )
        is_of_unknown_size = name == "repeat_interleave" and not (kwargs or {}).get("output_size")
        if name in WAITING or is_by_mask or is_of_unknown_size:
            self._add(name)
        return operation(*args, **(kwargs or {}))

    def _recorded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            self._add(name)
            with _disable_current_modes():  # item() is an operation too
                return function(*args, **kwargs)

        return record

    def _add(self, name: str) -> None:
        files = [(Path(frame.filename), frame.lineno) for frame in extract_stack()]
        ours = [(f.name, n) for f, n in files if f.is_relative_to(REPOSITORY) and f != THIS_FILE]
        file, line = ours[-1] if ours else ("", 0)
        self.places.append(f"{name} in {file}:{line}")


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
    options: Mapping[str, Any],
    *,
    static: bool,
    model: str = "mocme",
    objective: Mapping[str, Any] | None = None,
    **negatives: Any,
) -> tuple[Model, StandardProcedure]:
    drawn = {"count": 2, **negatives}
    spec = RunSpec.model_validate(
        {
            "model": {"name": model},
            "data": {"dataset": "d"},
            "negatives": drawn,
            "objective": objective or {},
        }
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


def waits_of_step(network: Model, procedure: StandardProcedure, batch: int) -> list[str]:
    auxiliary = list(network.auxiliary_parameters())
    if auxiliary:  # plain Adam reads its step counter, which is never on the device
        procedure.auxiliary = Adam(auxiliary, fused=True)
    generator = torch.Generator().manual_seed(0)
    with Waits() as waits:
        procedure.step(procedure.rows[:batch], generator)
    return waits.places


@pytest.mark.usefixtures("_kernels_of_accelerators")
@pytest.mark.parametrize("batch", [FEW, len(TRAIN)])
@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_in_a_step_of_static_shapes_waits_for_the_device(name: str, batch: int) -> None:
    assert waits_of_step(*start(VARIANTS[name], static=True), batch) == []


@pytest.mark.usefixtures("_kernels_of_accelerators")
@pytest.mark.parametrize(
    "negatives",
    [{"sampler": "bernoulli"}, {"sampler": "shared", "share": 4}, {"filter": "none"}],
    ids=str,
)
def test_no_sampler_waits_for_the_device(negatives: dict[str, Any]) -> None:
    assert waits_of_step(*start({}, static=True, **negatives), FEW) == []


@pytest.mark.usefixtures("_kernels_of_accelerators")
def test_the_usual_step_of_few_draws_does_wait() -> None:
    assert waits_of_step(*start({}, static=False), FEW)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x.sum().item(),
        lambda x: x.new_tensor(1.0),
        lambda x: torch.tensor([1.0]),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.long().bincount(),
        lambda x: x.repeat_interleave(x.long()),
    ],
)
def test_a_wait_is_seen(wait: Callable[[Tensor], object]) -> None:
    with Waits() as waits:
        wait(torch.ones(3))
    assert len(waits.places) == 1


@pytest.mark.usefixtures("_kernels_of_accelerators")
@pytest.mark.parametrize("name", TRAINABLE)
def test_steps_of_a_model_wait_no_more_than_they_must(name: str) -> None:
    kind = MODELS.get(name)
    options = {"dim": 4, **kind.contract.options}
    objective = {"loss": usual_loss(kind, options)}
    network, procedure = start(options, static=True, model=name, objective=objective)
    places = waits_of_step(network, procedure, FEW)
    assert len(places) == KNOWN_WAITS.get(name, 0), places


@pytest.mark.usefixtures("_kernels_of_accelerators")
@pytest.mark.parametrize("name", STRATEGIES)
def test_negatives_of_a_strategy_wait_no_more_than_they_must(name: str) -> None:
    network, procedure = start({}, static=True, strategy={"name": name})
    procedure.start_epoch(0)
    places = waits_of_step(network, procedure, FEW)
    # The strategy's Adam counts its steps on the host.
    places = [place for place in places if "procedure.py" not in place]
    assert len(places) == KNOWN_WAITS.get(name, 0), places


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
