"""What must hold on a GPU: run with ``pytest -m cuda`` where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from harness import kernels
from harness.catalog import build_model, load_models
from harness.data.load import load_dataset
from harness.evaluation.evaluator import rank
from harness.model import MODELS
from harness.plan.possible import usual_loss
from harness.plan.spec import RunSpec
from harness.training.procedures import StandardProcedure

load_models()
TRAINABLE = [name for name in MODELS if MODELS.get(name).capabilities.trainable]
CORRUPTING = [name for name in TRAINABLE if not MODELS.get(name).reciprocal]
"""Models that learn from corrupted triples."""
WAITING = {
    "imf": "sizes of the groups of queries by relation",
    "momok": "sizes of the groups of queries by relation",
    "otkge": "convergence of the Sinkhorn iterations",
}
"""Model -> what a step has to read from the device (tests/unit/training/test_static_shapes.py)."""
pytestmark = [
    pytest.mark.cuda,
    # Said once by the mode that makes a wait for the host an error.
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]


@pytest.fixture(autouse=True)
def gpu() -> Iterator[torch.device]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    yield torch.device("cuda")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("op", ["dot", "l1", "modulus"])
def test_kernels_agree_with_the_reference_on_values_and_gradients(
    op: kernels.Op, gpu: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(9, 16, generator=generator, dtype=torch.float64)
    table = torch.randn(40, 16, generator=generator, dtype=torch.float64)
    rows = torch.randint(40, (9, 5), generator=generator)
    found = []
    for device, score in (("cpu", kernels.score_pairs.reference), (gpu, kernels.score_pairs)):
        q, t = (x.clone().to(device).requires_grad_() for x in (query, table))
        scores = score(
            kernels.VectorComparison(op, q, t), kernels.Pairs.from_matrix(rows.to(device))
        )
        scores.square().sum().backward()
        assert q.grad is not None
        assert t.grad is not None
        found.append([x.cpu() for x in (scores.detach(), q.grad, t.grad)])
    for expected, actual in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("name", list(MODELS))
def test_ranks_on_the_gpu_are_those_of_the_cpu(name: str, gpu: torch.device) -> None:
    dataset = load_dataset("synthetic", "all")
    graph = dataset.graph
    options = {"dim": 16} if name in TRAINABLE else {}
    ranks = []
    for device in (torch.device("cpu"), gpu):
        model = build_model(name, options, graph.index, dataset.features.modalities())
        protocol = RunSpec.model_validate(
            {"model": {"name": name}, "data": {"dataset": "synthetic"}}
        ).protocol
        found = rank(
            model.to(device), graph.splits["test"], graph.filter_index(), protocol, device=device
        )
        ranks.append(found.ranks("realistic")[0])
    # Sums of floats are ordered differently, so near ties may fall either way.
    assert abs(1 / ranks[0] - 1 / ranks[1]).mean() < 1e-3


@pytest.mark.parametrize("size", [1024, 4])
@pytest.mark.parametrize("name", TRAINABLE)
def test_a_training_step_never_waits_for_the_host(name: str, size: int, gpu: torch.device) -> None:
    """All 300 entities are encoded, or a row for each of 4 x 66 draws."""
    dataset = load_dataset("synthetic", "all")
    index = dataset.graph.index
    model = build_model(name, {"dim": 16}, index, dataset.features.modalities()).to(gpu)
    loss = usual_loss(MODELS.get(name), {})
    spec = RunSpec.model_validate(
        {
            "model": {"name": name, "dim": 16},
            "data": {"dataset": "synthetic"},
            "objective": {"loss": loss},
        }
    )
    procedure = StandardProcedure(model, index, spec, gpu)
    generator = torch.Generator(gpu).manual_seed(0)
    batch = procedure.rows[:size].to(gpu)
    procedure.step(batch, generator)  # allocations of the first step may wait
    if name not in WAITING:
        torch.cuda.set_sync_debug_mode("error")
    procedure.step(batch, generator)


@pytest.mark.parametrize("name", CORRUPTING)
def test_a_step_of_static_shapes_has_the_loss_of_the_usual_one(
    name: str, gpu: torch.device
) -> None:
    dataset = load_dataset("synthetic", "all")
    index = dataset.graph.index
    spec = RunSpec.model_validate({"model": {"name": name}, "data": {"dataset": "synthetic"}})
    batch = index.train[:4].to(gpu)
    losses = []
    for static in (False, True):
        model = build_model(name, {"dim": 16}, index, dataset.features.modalities()).to(gpu)
        procedure = StandardProcedure(model, index, spec, gpu, static_shapes=static)
        generator = torch.Generator(gpu).manual_seed(0)
        losses.append(float(procedure.step(batch, generator).loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
