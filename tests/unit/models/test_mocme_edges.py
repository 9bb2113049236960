"""MoCME where there is next to nothing: one shared entity, no information, no modality at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.index import GraphIndex, Modality
from models._fusion import SparseRows
from models.mocme import MoCME
from models.mocme.config import MoCMEConfig
from models.mocme.estimators import bounded
from models.mocme.fusion import Inputs, build_fusion
from models.mocme.information import ComplementarityWeights
from models.mocme.information_config import Information
from tests.unit.models.conftest import ESTIMATORS

ALL, ONE = torch.ones(2, 8, dtype=torch.bool), torch.arange(8) == 3


def weights_of(estimator: str, granularity: str) -> ComplementarityWeights:
    torch.manual_seed(0)
    options = {"estimator": estimator, "granularity": granularity, "min_overlap": 2, "batch": 8}
    options |= {"plugin": {"bins": 2, "bias_correct": False}, "clamp": (-9, 9)}
    return ComplementarityWeights(
        2,
        4,
        Information.model_validate(options),
        temperature=1.0,
        n_rows=8,
        overlap=torch.full((2, 2), 8),
        n_entities=8,
    )


@pytest.mark.parametrize("others", [torch.zeros(8, dtype=torch.bool), ONE], ids=["none", "one"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fewer_than_two_entities_with_both_views_tell_nothing_of_a_pair(
    estimator: str, others: Tensor
) -> None:
    weights = weights_of(estimator, "batch")
    views = torch.randn(2, 8, 4, requires_grad=True)
    measured = weights.estimator(views, torch.stack([ALL[0], others]))
    assert measured.matrix.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert not measured.estimated.any()
    assert float(measured.loss.detach()) == float(measured.mean.detach()) == 0.0
    (measured.loss + measured.mean + measured.matrix.sum()).backward()
    assert not views.grad.any()
    assert not any(p.grad.any() for p in weights.parameters())


@pytest.mark.parametrize("granularity", ["batch", "pointwise"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_batch_without_a_pair_leaves_the_averages_of_the_pair_alone(
    estimator: str, granularity: str
) -> None:
    weights, views = weights_of(estimator, granularity), torch.randn(2, 8, 4)
    views[1] = views[0] + 0.1 * views[1]
    for _ in range(3):
        weights.observe(views, ALL, torch.arange(8))
    before = {name: value.clone() for name, value in weights.state_dict().items()}
    assert weights.information[0, 1] != 0
    weights.observe(views, torch.stack([ALL[0], ONE]), torch.arange(8))
    for name, value in weights.state_dict().items():
        assert torch.equal(value, before[name]) == (name != "steps"), name


def test_a_pair_of_few_batches_has_the_mean_of_its_own_estimates() -> None:
    weights, views = weights_of("cosine", "pointwise"), torch.randn(1, 8, 4).expand(2, -1, -1)
    for batch in range(50):
        present = ALL if batch % 10 == 9 else torch.stack([ALL[0], ONE])
        weights.observe(views, present, torch.arange(8))
    assert float(weights.information[0, 1]) == pytest.approx(1.0, abs=1e-5)
    assert weights.pointwise[:, 0, 1].tolist() == pytest.approx([1.0] * 8, abs=1e-5)
    assert weights.counts[0, 1] == weights.visits[3, 0, 1] == 5


@pytest.mark.parametrize("n_views", [2, 7])
def test_pairs_of_every_batch_are_averaged_to_the_bit_as_with_one_count(n_views: int) -> None:
    torch.manual_seed(0)
    weights = ComplementarityWeights(
        n_views,
        4,
        Information(estimator="cosine", ema=0.999, min_overlap=2),
        temperature=1.0,
        n_rows=8,
        overlap=torch.full((n_views, n_views), 8),
        n_entities=8,
    )
    assert weights.estimator is not None
    everyone = torch.ones(n_views, 8, dtype=torch.bool)
    average, count = torch.zeros(n_views, n_views), torch.zeros((), dtype=torch.long)
    for _ in range(500):
        views = torch.randn(n_views, 8, 4)
        count += 1
        gain = (1 - 0.999) / (1 - 0.999 ** count.float())
        average += gain * (weights.estimator(views, everyone).matrix - average)
        weights.observe(views, everyone, torch.arange(8))
    assert torch.equal(weights.information, average)


def test_weights_of_a_checkpoint_with_one_count_for_all_pairs_are_restored() -> None:
    weights, views = weights_of("cosine", "pointwise"), torch.randn(2, 8, 4)
    for _ in range(3):
        weights.observe(views, ALL, torch.arange(8))
    earlier = dict(weights.state_dict())
    del earlier["counts"]
    earlier["visits"] = torch.full((8,), 3)
    other = weights_of("cosine", "pointwise")
    other.load_state_dict(earlier)
    for made in (weights, other):
        made.observe(2 * views.flip(1), ALL, torch.arange(8))
    assert torch.equal(other.information, weights.information)
    assert torch.equal(other.pointwise, weights.pointwise)


def test_of_an_estimate_beyond_its_bounds_only_the_way_back_has_a_gradient() -> None:
    estimates = torch.tensor([-1.0, -1.0, 0.5, 0.5, 3.0, 3.0], requires_grad=True)
    held = bounded(estimates, 0.0, 2.0)
    assert held.tolist() == [0.0, 0.0, 0.5, 0.5, 2.0, 2.0]
    # Descent goes against the gradient: up, down, up, down, up, down.
    held.backward(torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0]))
    assert estimates.grad.tolist() == [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]


def test_the_weights_teach_views_that_seem_to_share_less_than_nothing() -> None:
    """On so few entities the plug-in finds less than its bias, so all is held at 0."""
    present = torch.ones(40, dtype=torch.bool)
    features = {"text": Modality("text", torch.randn(40, 3), present)}
    index = GraphIndex(40, 1, torch.tensor([[0, 0, 1]]), "toy")
    found: list[Any] = []
    for gradient in ("stop", "flow"):
        torch.manual_seed(0)
        mi = {"weight_grad": gradient, "batch": 16, "warmup_steps": 0, "min_overlap": 2}
        model = MoCME(MoCMEConfig.model_validate({"dim": 4, "mi": mi}), index, features)
        model.auxiliary_loss(torch.Generator().manual_seed(0))
        assert not model.branches[0].weights.information.any()
        model.encode()["entity"].square().sum().backward()
        found.append(model.branches[0].backbone.weight1.grad)
    assert not torch.allclose(found[0], found[1])


def test_a_product_of_no_modality_adds_nothing_to_the_structure() -> None:
    present = torch.arange(6) < 4
    text = Modality("text", torch.randn(6, 3) * present[:, None], present)
    options = {"dim": 4, "structure": {"as_modality": False}, "fusion": {"kind": "product"}}
    index = GraphIndex(6, 1, torch.tensor([[0, 0, 1]]), "toy")
    model = MoCME(MoCMEConfig.model_validate(options), index, {"text": text}).eval()
    table = model.encode()["entity"]
    assert torch.equal(table[4:], model.entity[4:])
    assert not torch.equal(table[:4], model.entity[:4])


@pytest.mark.parametrize("kind", ["attention", "self_attention", "gate", "mean"])
def test_an_absent_modality_is_as_if_there_were_none(kind: str) -> None:
    torch.manual_seed(0)
    config = MoCMEConfig.model_validate({"dim": 4, "fusion": {"kind": kind}})
    first, second = torch.randn(5, 8), torch.randn(5, 8)
    available = torch.tensor([[True, False]] * 3 + [[True, True]] * 2)
    structure = torch.randn(5, 8)
    both = build_fusion(config, 2, None, 1.0)
    fused = both(
        Inputs([SparseRows(first, None), SparseRows(second, None)], available, structure)
    ).joint
    alone = build_fusion(config, 1, None, 1.0)
    alone.load_state_dict(both.state_dict(), strict=False)
    expected = alone(Inputs([SparseRows(first, None)], available[:, :1], structure)).joint
    torch.testing.assert_close(fused[:3], expected[:3])
    assert not torch.allclose(fused[3:], expected[3:])
