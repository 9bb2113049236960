"""OTKGE: transport plans against their definition, and the fused vectors against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.catalog import build_model, load_models
from harness.index import GraphIndex, Modality
from harness.model import Model
from models.otkge import transport

load_models()
TRAIN = torch.tensor([[0, 0, 1], [2, 1, 3]])
TEXT = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [8.0, 6.0]])
IMAGE = torch.tensor([[7.0, 7.0, 7.0], [1.0, 2.0, 2.0], [0.0, 0.0, 3.0], [2.0, 1.0, 2.0]])
LACKS = torch.tensor([False, True, True, True])
EVERYONE = torch.ones(4, dtype=torch.bool)


def costs(seed: int = 0) -> Tensor:
    return 30 * torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(seed))


def plain_sinkhorn(cost: np.ndarray, epsilon: float) -> np.ndarray:
    kernel = np.exp(-cost / epsilon)
    u = np.ones(len(kernel))
    for _ in range(2000):
        v = (1 / kernel.shape[1]) / (u @ kernel)
        u = (1 / kernel.shape[0]) / (kernel @ v)
    return u[:, None] * kernel * v


def test_plans_are_those_of_sinkhorns_scaling() -> None:
    plans = transport(costs(), 10.0, iterations=1000, tolerance=1e-12)
    for plan, cost in zip(plans, costs(), strict=True):
        np.testing.assert_allclose(plan, plain_sinkhorn(cost.double().numpy(), 10.0), atol=1e-6)


def test_marginals_are_uniform() -> None:
    plans = transport(costs(), 1.0, iterations=1000, tolerance=1e-10)
    torch.testing.assert_close(plans.sum(1), torch.full((3, 7), 1 / 7))
    torch.testing.assert_close(plans.sum(2), torch.full((3, 5), 1 / 5), rtol=0, atol=1e-5)


def test_a_kernel_that_would_underflow_has_a_plan() -> None:
    cost = 1e5 * (1 - torch.eye(4))[None]
    assert float((-cost / 0.1).exp().sum()) == 4.0  # nothing left beside the diagonal
    torch.testing.assert_close(
        transport(cost + 1e6, 0.1, iterations=50, tolerance=0.0), torch.eye(4)[None] / 4
    )


def test_iterations_end_at_the_tolerance() -> None:
    def error(tolerance: float) -> float:
        plans = transport(costs(), 1.0, iterations=1000, tolerance=tolerance)
        return float((plans.sum(2) - 1 / 5).square().sum(1).max())

    assert 1e-6 < error(1e-3) < 1e-3
    assert error(1e-9) < 1e-9


def made(**options: Any) -> Model:
    modalities = {
        "text": Modality("text", TEXT, EVERYONE),
        "image": Modality("image", IMAGE, LACKS),
    }
    model = build_model("otkge", {"dim": 2, **options}, GraphIndex(4, 2, TRAIN), modalities)
    with torch.no_grad():
        for parameter in model.parameters():
            generator = torch.Generator().manual_seed(2)
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


@pytest.mark.parametrize(("variant", "factor"), [("paper", 4), ("released", 400)])
def test_vectors_are_the_weighted_sum_of_what_is_transported(variant: str, factor: int) -> None:
    model = made(variant=variant, transport={"entities": 2, "tolerance": 0.0})
    weights = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    z = (1 - 0.9) * weights["entity"]
    for name, features, present, first in (
        ("image", IMAGE, LACKS, [1, 2]),  # entity 0 has none
        ("text", TEXT, EVERYONE, [0, 1]),
    ):
        x = features.double().numpy()
        x = np.where(present.numpy()[:, None], x / np.linalg.norm(x, axis=1, keepdims=True), 0.0)
        plans = [
            plain_sinkhorn(100 * (x[e][:, None] - weights["entity"][e]) ** 2, 10.0) for e in first
        ]
        mapping = factor * np.mean(plans, axis=0) + weights[f"residual.{name}"]
        z += {"image": 0.1, "text": 0.8}[name] * x @ mapping
    with torch.no_grad():
        np.testing.assert_allclose(model.encode()["entity"], z, rtol=1e-4, atol=1e-4)


def test_no_gradient_goes_through_the_plan() -> None:
    model = made()
    model.encode()["entity"].sum().backward()
    gradient = model.get_parameter("entity").grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full_like(gradient, 0.1))


def test_without_features_it_is_complex() -> None:
    model = build_model("otkge", {"dim": 2}, GraphIndex(4, 2, TRAIN), {})
    assert torch.equal(model.encode()["entity"], model.get_parameter("entity"))


def test_shares_divide_what_the_modalities_have() -> None:
    model = made(modalities=0.6, shares={"image": 1, "text": 2})
    assert model.weights == pytest.approx({"image": 0.2, "text": 0.4})


def test_a_modality_may_have_any_name() -> None:
    features = {"schema": Modality("schema", TEXT, EVERYONE)}
    model = build_model("otkge", {"dim": 2, "modalities": 0.6}, GraphIndex(4, 2, TRAIN), features)
    assert model.weights == {"schema": 0.6}
