"""MoCME: its formulas, its estimators, its parts, and what each must leave alone."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.config.yaml_source import read_yaml
from harness.index import GraphIndex, Modality
from harness.plan.spec import RunSpec
from harness.plan.suite import find_suite, read_suite
from harness.training.procedures import StandardProcedure
from models._fusion import SparseRows, masked_softmax
from models.mocme import MoCME
from models.mocme.backbones import (
    Backbone,
    Identity,
    LinearExperts,
    MLPExperts,
    build_backbone,
)
from models.mocme.branches import Embedded, FeatureBranch
from models.mocme.config import INFORMED, FusionOptions, MoCMEConfig
from models.mocme.estimators import build_estimator
from models.mocme.fusion import Attention, Fused, Inputs
from models.mocme.information import ComplementarityWeights
from models.mocme.information_config import Information
from models.rotate import RotatE
from tests.unit.models.conftest import ESTIMATORS

N, R, SEEN = 120, 4, 100
PRESETS = Path(__file__).parents[3] / "suites" / "shared" / "mocme_presets.yaml"
CONTROLS = ["uniform", "random", "learned"]
KINDS = ["complementarity", "mean", "concat", "product", "gate", "attention", "self_attention"]


def graph() -> GraphIndex:
    generator = torch.Generator().manual_seed(1)
    ends = torch.randint(SEEN, (400, 2), generator=generator)
    relations = torch.randint(R, (400,), generator=generator)
    triples = torch.stack([ends[:, 0], relations, ends[:, 1]], 1)
    first = torch.arange(SEEN)
    every = torch.stack([first, torch.zeros_like(first), first.flip(0)], 1)
    return GraphIndex(N, R, torch.cat([triples, every]), "toy")


def modalities() -> dict[str, Modality]:
    generator = torch.Generator().manual_seed(2)
    found = {}
    for name, width, coverage in (("text", 10, 0.9), ("image", 6, 0.4)):
        present = torch.rand(N, generator=generator) < coverage
        matrix = torch.randn(N, width, generator=generator) * present[:, None]
        found[name] = Modality(name, matrix, present)
    return found


def make(features: dict[str, Modality] | None = None, *, seed: int = 0, **options: Any) -> MoCME:
    torch.manual_seed(seed)
    options = {"dim": 8, **options}
    return MoCME(
        MoCMEConfig.model_validate(options), graph(), modalities() if features is None else features
    )


def quick(**options: Any) -> dict[str, Any]:
    """Options of an estimator that matters at once on a toy."""
    return {"warmup_steps": 0, "min_overlap": 2, "batch": 64, **options}


def rare_image(owners: int) -> dict[str, Modality]:
    """Text for everyone, an image for the first few."""
    few = torch.arange(N) < owners
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(N, 6, generator=generator) * few[:, None]
    return {
        "text": Modality("text", torch.randn(N, 5, generator=generator), few | ~few),
        "image": Modality("image", images, few),
    }


def train(model: MoCME, steps: int = 5) -> None:
    auxiliary = list(model.auxiliary_parameters())
    held_back = {id(p) for p in auxiliary}
    own = torch.optim.Adam([p for p in model.parameters() if id(p) not in held_back], 1e-2)
    other = torch.optim.Adam(auxiliary, 1e-2) if auxiliary else None
    generator = torch.Generator().manual_seed(3)
    model.train()
    for _ in range(steps):
        loss = torch.nn.functional.softplus(-model.score_triples(graph().train[:50])).mean()
        penalty = model.penalty({}, graph().train[:0], graph().train[:0, 1])
        loss = loss if penalty is None else loss + penalty
        own.zero_grad()
        loss.backward()
        own.step()
        auxiliary_loss = model.auxiliary_loss(generator)
        if other is not None and auxiliary_loss is not None:
            other.zero_grad()
            auxiliary_loss.backward()
            other.step()
    model.eval()


# --- formulas -----------------------------------------------------------------------------


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def test_fused_vectors_are_those_of_equations_3_and_4() -> None:
    every = torch.ones(N, dtype=torch.bool)
    model = make({"text": Modality("text", torch.randn(N, 5), every)}, dim=2, mi=quick()).eval()
    information = {"structure": {(0, 1): 0.3, (0, 2): 0.9, (1, 2): 0.1}, "text": {(0, 2): 1.5}}
    for branch in model._branches:
        for (i, j), nats in information[branch.name].items():
            branch.weights.information[[i, j], [j, i]] = nats
        branch.weights.steps += 1
    assert model.inter is not None
    model.inter.information[[0, 1], [1, 0]] = 0.7
    model.inter.steps += 1

    entity, fused = 17, {}
    projection = model.branches[1].projection
    embedded = {
        "structure": model.entity[entity],
        "text": projection(model.branches[1].features[entity]),
    }
    for branch in model._branches:
        experts = branch.backbone
        views = []
        for i in range(3):
            hidden = experts.weight1[i] @ embedded[branch.name] + experts.bias1[i]
            views.append((hidden.relu() @ experts.weight2[i] + experts.bias2[i]).detach().numpy())
        shared = np.zeros((3, 3))
        for (i, j), nats in information[branch.name].items():
            shared[i, j] = shared[j, i] = nats
        omega = softmax(-shared.sum(1))  # Eq. 3
        fused[branch.name] = sum(w * v for w, v in zip(omega, views, strict=True))
    omega = softmax(np.array([-0.7, -0.7]))  # Eq. 4 of two modalities: always equal
    joint = omega[0] * fused["structure"] + omega[1] * fused["text"]
    assert model.encode()["entity"][entity].detach().numpy() == pytest.approx(joint, abs=1e-6)


def test_modality_weights_follow_equation_4_among_what_an_entity_has() -> None:
    weights = ComplementarityWeights(
        3,
        4,
        Information.model_validate(quick()),
        temperature=2.0,
        n_rows=64,
        overlap=torch.full((3, 3), 64),
        n_entities=N,
    )
    shared = torch.tensor([[0.0, 1.0, 0.2], [1.0, 0.0, 0.5], [0.2, 0.5, 0.0]])
    weights.information.copy_(shared)
    weights.steps += 1
    available = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 0, 0]]).bool()
    found = weights(available)
    assert found[0].tolist() == pytest.approx(softmax(np.array([-1.2, -1.5, -0.7]) / 2), abs=1e-6)
    # Two left: each shares the same with the other, whatever that is.
    assert found[1].tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert found[2].tolist() == [1.0, 0.0, 0.0]


def equation_4(information: Tensor, available: list[bool], *, rescale: bool = False) -> list[float]:
    """Weights of one entity by plain loops over the modalities that it has."""
    present = [m for m, has in enumerate(available) if has]
    exponentials = {}
    for m in present:
        shared = sum(float(information[m, other]) for other in present if other != m)
        if rescale and len(present) > 1:
            shared *= (len(available) - 1) / (len(present) - 1)
        exponentials[m] = math.exp(-shared)
    total = sum(exponentials.values())
    return [exponentials.get(m, 0.0) / total for m in range(len(available))]


FOUR_MODALITIES = torch.tensor(
    [[0.0, 9.0, 0.44, 1.369], [9.0, 0.0, 0.7, 2.0], [0.44, 0.7, 0.0, 0.1], [1.369, 2.0, 0.1, 0.0]]
)
"""Information in nats; that of the second modality must not count where it is absent."""


@pytest.mark.parametrize("granularity", ["batch", "pointwise"])
@pytest.mark.parametrize(
    ("rescale", "expected"),
    [(False, [0.168, 0.0, 0.597, 0.236]), (True, [0.107, 0.0, 0.716, 0.178])],
)
def test_an_absent_modality_is_left_out_and_the_information_of_the_others_is_not_rescaled(
    rescale: bool, expected: list[float], granularity: str
) -> None:
    options = quick(granularity=granularity)
    model = make(
        four_modalities(), mi=options, fusion={"rescale_information": rescale}, experts={"K": 1}
    ).eval()
    weights = model.inter
    assert weights is not None
    weights.steps += 1
    weights.information.copy_(FOUR_MODALITIES)
    if granularity == "pointwise":
        weights.pointwise.copy_(FOUR_MODALITIES.expand(N, 4, 4))
    found = torch.stack(list(model.fusion_weights(torch.arange(N)).values()), 1)
    patterns = set()
    for available, row in zip(model.available.tolist(), found.tolist(), strict=True):
        reference = equation_4(FOUR_MODALITIES, available, rescale=rescale)
        assert row == pytest.approx(reference, abs=1e-6)
        if available == [True, False, True, True]:
            assert row == pytest.approx(expected, abs=5e-4)
        patterns.add(tuple(available))
    assert len(patterns) == 8  # the structure is always there


def four_modalities() -> dict[str, Modality]:
    """The structure and three modalities of which entities have every combination."""
    made = {}
    for bit, name in enumerate(("audio", "image", "text")):
        present = (torch.arange(N) >> bit) % 2 == 1
        made[name] = Modality(name, torch.ones(N, 5) * present[:, None], present)
    return made


def test_without_modalities_and_experts_it_is_rotate() -> None:
    index, triples = graph(), graph().train[:40]
    torch.manual_seed(4)
    rotate = RotatE(RotatE.Config.model_validate({"dim": 8}), index, {})
    model = make(
        {},
        seed=4,
        structure={"through_experts": False, "init": "rotate"},
        experts={"K": 1},
    )
    assert torch.allclose(model.score_triples(triples), rotate.score_triples(triples), atol=1e-6)
    for side in ("head", "tail"):
        mine, theirs = (
            m.score_all(m.encode(), triples[:, 0], triples[:, 1], side) for m in (model, rotate)
        )
        assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("norm", ["modulus_sum", "l2"])
def test_the_score_is_the_margin_less_the_norm_it_names(norm: str) -> None:
    model = make(score={"norm": norm, "margin": 3.0}).eval()
    triples = graph().train[:20]
    vectors, scores = model.encode()["entity"], model.score_triples(triples)
    assert torch.allclose(scores, 3.0 - distance(vectors, triples, phases(model), norm), atol=1e-5)
    head, relation, tail = triples.unbind(1)
    tails = model.score_all(model.encode(), head, relation, "tail")
    assert torch.allclose(tails.gather(1, tail[:, None])[:, 0], scores, atol=1e-5)
    # A head query measures |h - t e^(-i phase)|, which is the same.
    heads = model.score_all(model.encode(), tail, relation, "head")
    assert torch.allclose(heads.gather(1, head[:, None])[:, 0], scores, atol=1e-5)
    scores.sum().backward()
    assert torch.isfinite(model.relation.grad).all()
    assert model.relation.grad.any()


def phases(model: MoCME) -> Tensor:
    return model.relation * model.phase_per_unit


def distance(vectors: Tensor, triples: Tensor, phase: Tensor, norm: str) -> Tensor:
    """Eq. 5 in complex numbers: |h e^(i phase) - t| in one of two norms."""
    points = torch.complex(*vectors.chunk(2, 1))
    head, relation, tail = triples.unbind(1)
    rotation = torch.polar(torch.ones_like(phase), phase)
    moduli = (points[head] * rotation[relation] - points[tail]).abs()
    if norm == "l2":
        return moduli.square().sum(1).sqrt()
    return moduli.sum(1)


@pytest.mark.parametrize("options", [{}, {"structure": {"as_modality": False}}])
@pytest.mark.parametrize("kind", ["complementarity", "mean", "attention"])
def test_relations_of_their_own_compare_modality_by_modality(
    kind: str, options: dict[str, Any]
) -> None:
    own = {"fusion": {"kind": kind}, "score": {"per_modality_relation": True}, **options}
    model, triples = make(**own).eval(), graph().train[:20]
    tables = model.encode()
    assert set(tables) == {"structure", "text", "image"}
    blocks = phases(model).chunk(3, 1)
    total = torch.zeros(len(triples))
    for name, phase in zip(("structure", "image", "text"), blocks, strict=True):
        total = total + distance(tables[name], triples, phase, "modulus_sum")
    scores = model.score_triples(triples)
    assert torch.allclose(scores, model.config.score.margin - total, atol=1e-5)
    # The compared vectors are what the joint vector is the sum of; who lacks one compares zeros.
    assert torch.allclose(
        torch.stack(list(tables.values())).sum(0), model._fuse(None).joint, atol=1e-5
    )
    lacking = ~modalities()["image"].present
    assert not tables["image"][lacking].any()
    scores.sum().backward()
    assert all(block.any() for block in model.relation.grad.chunk(3, 1))


def test_a_single_modality_with_a_relation_of_its_own_is_the_joint_model() -> None:
    triples = graph().train[:20]
    plain, own = make({}), make({}, score={"per_modality_relation": True})
    assert torch.equal(plain.score_triples(triples), own.score_triples(triples))


def test_own_relations_survive_a_checkpoint() -> None:
    options: dict[str, Any] = {"score": {"per_modality_relation": True, "relation_phase": "xavier"}}
    model, other = make(**options), make(seed=9, **options)
    train(model)
    other.load_state_dict(model.state_dict())
    triples = graph().train[:20]
    assert torch.equal(model.score_triples(triples), other.eval().score_triples(triples))


def test_variants_start_from_the_same_entity_table() -> None:
    tables = [make(fusion={"kind": kind}).entity for kind in KINDS]
    tables += [make({}).entity, make(backbone="linear").entity]
    assert all(torch.equal(table, tables[0]) for table in tables)


# --- experts ------------------------------------------------------------------------------


def backbones() -> list[Backbone]:
    torch.manual_seed(0)
    made = [MLPExperts(3, 8, 5), LinearExperts(3, 8, shift=True), LinearExperts(3, 8, shift=False)]
    for parameter in (p for b in made for p in b.parameters()):
        torch.nn.init.normal_(parameter)  # biases and shifts too
    return list(made)


@pytest.mark.parametrize("per_entity", [False, True])
@pytest.mark.parametrize("backbone", backbones(), ids=["mlp", "linear_shift", "linear"])
def test_merged_experts_equal_the_weighted_sum_of_views(
    backbone: Backbone, per_entity: bool
) -> None:
    vectors = torch.randn(6, 8)
    weights = torch.rand(6, 3) if per_entity else torch.rand(3)
    expected = (weights.expand(6, 3).T[..., None] * backbone.views(vectors)).sum(0)
    assert torch.allclose(backbone(vectors, weights), expected, atol=1e-4)


@pytest.mark.parametrize("per_entity", [False, True])
@pytest.mark.parametrize("backbone", [*backbones(), Identity()], ids=lambda b: type(b).__name__)
def test_a_last_map_of_the_projection_is_merged_exactly(
    backbone: Backbone, per_entity: bool
) -> None:
    last, vectors = torch.nn.Linear(8, 8), torch.randn(6, 8)
    weights = torch.rand(6, backbone.n_views) if per_entity else torch.rand(backbone.n_views)
    expected = backbone(last(vectors), weights)
    merged = backbone(vectors, weights, last)
    assert torch.allclose(merged, expected, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(
            backbone(vectors, weights, last).float(), expected, rtol=0.1, atol=0.5
        )
    parameters = [*last.parameters(), *backbone.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(merged.square().sum(), parameters, allow_unused=True),
        torch.autograd.grad(expected.square().sum(), parameters, allow_unused=True),
        strict=True,
    ):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def additive(backbone: Backbone) -> bool:
    """An affine map f has f(a + b) = f(a) + f(b) - f(0)."""
    a, b, weights = torch.randn(9, 8), torch.randn(9, 8), torch.tensor([0.2, 0.5, 0.3])
    f = backbone(torch.cat([a + b, a, b, torch.zeros(9, 8)]), weights).chunk(4)
    return torch.allclose(f[0], f[1] + f[2] - f[3], atol=1e-4)


def test_linear_experts_collapse_to_one_matrix_and_others_do_not() -> None:
    mlp, shifted, linear = backbones()
    assert additive(shifted)
    assert additive(linear)
    assert not additive(mlp)


def test_the_literal_linear_model_is_one_matrix_per_modality() -> None:
    """Any K experts with shared weights can be swapped for one: the mixture adds nothing."""
    model, one = make(**preset_options("literal_linear")), make(backbone="linear")
    train(model)
    with torch.no_grad():
        for branch, single in zip(model._branches, one._branches, strict=True):
            omega, experts = branch.weights(), branch.backbone
            single.backbone.weight[0] = torch.einsum("k,kio->io", omega, experts.weight)
            shift = torch.einsum("k,ki,kio->o", omega, experts.shift, experts.weight)
            vectors = torch.randn(7, 16)
            merged = single.backbone(vectors, torch.ones(1)) - shift
            assert torch.allclose(branch.backbone(vectors, omega), merged, atol=1e-5)


# --- estimators ---------------------------------------------------------------------------


def gaussian_information(kind: str, rho: float, steps: int, rows: int = 256) -> float:
    """Estimate I of a pair of 8-d Gaussians with correlation rho in each coordinate."""
    torch.manual_seed(0)
    estimator = build_estimator(2, 8, Information(estimator=kind, batch=rows), rows)
    optimiser = torch.optim.Adam(estimator.parameters(), 3e-3)
    values, present = [], torch.ones(2, rows, dtype=torch.bool)
    for _ in range(steps):
        x = torch.randn(rows, 8)
        y = rho * x + math.sqrt(1 - rho**2) * torch.randn(rows, 8)
        measured = estimator(torch.stack([x, y]), present)
        optimiser.zero_grad()
        measured.loss.backward()
        optimiser.step()
        values.append(float(measured.matrix[0, 1].detach()))
    return sum(values[-60:]) / 60


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_gradients_of_an_estimator_are_the_same_each_time(kind: str) -> None:
    """To the bit: threads must not add up what several pairs give one view in any order."""
    torch.manual_seed(0)
    rows = 1024
    estimator = build_estimator(4, 64, Information.model_validate({"estimator": kind}), rows)
    start = deepcopy(estimator.state_dict())
    present = torch.rand(4, rows) < 0.8
    views = torch.randn(4, rows, 64, requires_grad=True)
    inputs = [views, *estimator.parameters()]
    first: list[Tensor] = []
    for _ in range(4):
        estimator.load_state_dict(start)
        measured = estimator(views, present)
        total = measured.loss + measured.matrix.sum()
        found = [g for g in torch.autograd.grad(total, inputs, allow_unused=True) if g is not None]
        first = first or found
        assert all(map(torch.equal, first, found))


def gaussian_truth(rho: float) -> float:
    return -4 * math.log(1 - rho**2)


@pytest.mark.parametrize(("kind", "steps"), [("mine_sep", 220), ("mine_cat", 600)])
@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_mine_measures_gaussian_information(kind: str, steps: int, rho: float) -> None:
    assert gaussian_information(kind, rho, steps) == pytest.approx(gaussian_truth(rho), rel=0.1)


@pytest.mark.parametrize("kind", ["mine_sep", "mine_cat", "infonce", "plugin", "club"])
def test_independent_views_share_nothing(kind: str) -> None:
    assert gaussian_information(kind, 0.0, 120) == pytest.approx(0.0, abs=0.05)


def test_the_plug_in_grows_with_correlation_and_stays_below_its_bound() -> None:
    found = [gaussian_information("plugin", rho, 200, rows=1024) for rho in (0.0, 0.6, 0.9)]
    assert found[0] < found[1] < found[2] <= math.log(16)
    # It quantises: a lower bound by data processing.
    assert found[1] < gaussian_truth(0.6)


def test_mine_on_heads_grows_with_correlation_and_stays_below_the_views() -> None:
    found = [gaussian_information("mine_on_heads", rho, 250) for rho in (0.0, 0.6)]
    assert found[0] == pytest.approx(0.0, abs=0.05)
    assert found[0] + 0.2 < found[1] < gaussian_truth(0.6)


def test_club_is_an_upper_bound_and_as_momok_fits_it_is_not() -> None:
    truth = gaussian_truth(0.6)
    assert gaussian_information("club", 0.6, 150) > truth
    assert gaussian_information("club_momok", 0.6, 150) < truth


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_information_is_symmetric_with_a_zero_diagonal_and_permutes_with_views(kind: str) -> None:
    torch.manual_seed(0)
    estimator = build_estimator(
        3, 6, Information(estimator=kind, granularity="pointwise"), 64
    ).eval()
    measured = estimator(torch.randn(3, 64, 6), torch.ones(3, 64, dtype=torch.bool))
    assert torch.equal(measured.matrix, measured.matrix.T)
    assert measured.matrix.diagonal().tolist() == [0.0] * 3
    assert torch.equal(measured.rows, measured.rows.transpose(1, 2))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_absent_rows_do_not_count(kind: str) -> None:
    torch.manual_seed(0)
    estimator = build_estimator(
        2, 6, Information(estimator=kind, granularity="pointwise"), 64
    ).eval()
    views, present = torch.randn(2, 64, 6), torch.ones(2, 64, dtype=torch.bool)
    present[1, 40:] = False
    before = estimator(views, present)
    views[1, 40:] = 1e3
    after = estimator(views, present)
    assert torch.allclose(before.matrix, after.matrix, atol=1e-5)
    assert torch.allclose(before.loss, after.loss, atol=1e-4)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_pair_that_no_entity_has_is_finite(kind: str) -> None:
    estimator = build_estimator(2, 6, Information(estimator=kind, granularity="pointwise"), 64)
    views = torch.randn(2, 64, 6, requires_grad=True)
    present = torch.zeros(2, 64, dtype=torch.bool)
    present[0] = True
    measured = estimator(views, present)
    assert torch.isfinite(measured.matrix).all()
    assert torch.isfinite(measured.rows).all()
    if measured.loss.requires_grad:
        measured.loss.backward()
        assert torch.isfinite(views.grad).all()


@pytest.mark.parametrize("kind", ["cosine", "plugin"])
def test_equal_experts_get_equal_weights(kind: str) -> None:
    model = make(mi=quick(estimator=kind))
    with torch.no_grad():
        for parameter in model.branches[0].backbone.parameters():
            parameter[1:] = parameter[:1]
        if kind == "plugin":
            for parameter in model.branches[0].weights.estimator.parameters():
                parameter[1:] = parameter[:1]
    model.auxiliary_loss(torch.Generator().manual_seed(0))
    assert model.branches[0].weights().tolist() == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_permuting_the_experts_permutes_their_weights() -> None:
    order, found = [2, 0, 1], []
    for permuted in (False, True):
        model = make(mi=quick(estimator="cosine", temperature={"intra": 0.05}))
        if permuted:
            with torch.no_grad():
                for parameter in model.branches[0].backbone.parameters():
                    parameter.copy_(parameter[order].clone())
        model.auxiliary_loss(torch.Generator().manual_seed(0))
        found.append(model.branches[0].weights())
    assert found[0].max() > 1.05 / 3
    assert torch.allclose(found[0][order], found[1], atol=1e-6)


# --- weights ------------------------------------------------------------------------------


def test_weights_are_uniform_until_the_estimators_have_warmed_up() -> None:
    model = make(mi=quick(warmup_steps=3, estimator="cosine", temperature={"intra": 0.01}))
    entropies = []
    for _ in range(5):
        entropies.append(model.diagnostics()["entropy_a/text"])
        model.auxiliary_loss(torch.Generator().manual_seed(0))
    assert entropies[:4] == pytest.approx([math.log2(3)] * 4)
    assert entropies[4] < math.log2(3) - 1e-3


def test_averages_are_bias_corrected_exponential_means() -> None:
    weights = ComplementarityWeights(
        2,
        4,
        Information(estimator="cosine", ema=0.9, min_overlap=2),
        temperature=1.0,
        n_rows=8,
        overlap=torch.full((2, 2), 8),
        n_entities=8,
    )
    torch.manual_seed(0)
    total, norm, everyone = 0.0, 0.0, torch.ones(2, 8, dtype=torch.bool)
    for _ in range(4):
        views = torch.randn(2, 8, 4)
        assert weights.estimator is not None
        value = float(weights.estimator(views, everyone).matrix[0, 1])
        total, norm = 0.9 * total + 0.1 * value, 0.9 * norm + 0.1
        weights.observe(views, everyone, torch.arange(8))
        assert float(weights.information[0, 1]) == pytest.approx(total / norm, rel=1e-5)


def test_modalities_that_few_entities_share_count_as_sharing_nothing() -> None:
    model = make(mi=quick(min_overlap=90, estimator="cosine"))
    model.auxiliary_loss(torch.Generator().manual_seed(0))
    assert model.inter is not None
    measured, used = model.inter.information, model.inter._scaled(model.inter.information)
    structure, image, text = range(3)
    assert measured[text, image] > 0
    assert used[text, image] == 0
    assert used[structure, text] == measured[structure, text] > 0


@pytest.mark.parametrize("granularity", ["batch", "pointwise"])
@pytest.mark.parametrize("estimator", ESTIMATORS + CONTROLS)
def test_evaluation_moves_nothing(estimator: str, granularity: str) -> None:
    model = make(mi=quick(estimator=estimator, granularity=granularity))
    train(model, 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.encode()
    model.diagnostics()
    model.fusion_weights(torch.arange(5))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("granularity", ["batch", "pointwise"])
def test_a_restored_model_gives_the_same_scores(granularity: str) -> None:
    options: dict[str, Any] = {"mi": quick(granularity=granularity, estimator="infonce")}
    model, other = make(**options), make(seed=9, **options)
    train(model)
    other.load_state_dict(model.state_dict())
    other.eval()
    assert torch.equal(model.score_triples(graph().train), other.score_triples(graph().train))
    assert model.diagnostics() == other.diagnostics()


def test_frozen_features_are_not_part_of_the_state() -> None:
    state = make().state_dict()
    assert not any("features" in key for key in state)
    assert len({value.data_ptr() for value in state.values()}) == len(state)


def test_batch_weights_are_one_per_view_and_pointwise_weights_one_per_entity() -> None:
    batch = make(mi=quick(estimator="infonce"))
    pointwise = make(mi=quick(estimator="infonce", granularity="pointwise"))
    train(batch)
    train(pointwise)
    assert batch.branches[0].weights().shape == (3,)
    rows = pointwise.branches[0].weights()
    assert rows.shape == (N, 3)
    assert rows.std(0).max() > 1e-4


def test_weights_of_views_are_reported_over_the_entities_with_the_modality() -> None:
    model = make(rare_image(30), mi=quick(estimator="infonce", granularity="pointwise"))
    train(model)
    branch = next(branch for branch in model.branches if branch.name == "image")
    weights, numbers = branch.weights()[:30], model.diagnostics()
    for view, share in enumerate(weights.mean(0).tolist()):
        assert numbers[f"omega_a/image/{view}"] == pytest.approx(share, rel=1e-6)
    entropy = float(-(weights * weights.log2()).sum(1).mean())
    assert numbers["entropy_a/image"] == pytest.approx(entropy, rel=1e-5)


def test_pointwise_information_moves_only_for_the_entities_of_the_batch() -> None:
    model = make(mi=quick(granularity="pointwise", batch=10))
    model.auxiliary_loss(torch.Generator().manual_seed(0))
    visits = model.branches[0].weights.visits
    assert visits.amax((1, 2)).sum() == visits[:, 0, 1].sum() == 10
    assert not model.branches[0].weights.pointwise[visits == 0].any()


def test_estimators_train_apart_from_the_model() -> None:
    model = make()
    auxiliary = {id(p) for p in model.auxiliary_parameters()}
    model.score_triples(graph().train[:20]).sum().backward()
    own = [p for p in model.parameters() if id(p) not in auxiliary]
    assert all(p.grad is not None for p in own)
    assert all(p.grad is None for p in model.auxiliary_parameters())
    gradients = [p.grad.clone() for p in own]
    loss = model.auxiliary_loss(torch.Generator().manual_seed(0))
    assert loss is not None
    loss.backward()
    assert all(p.grad is not None for p in model.auxiliary_parameters())
    assert all(torch.equal(p.grad, g) for p, g in zip(own, gradients, strict=True))


def test_gradient_reaches_experts_through_the_weights_only_when_it_may_flow() -> None:
    found: list[Any] = []
    for flow in ("stop", "flow"):
        model = make(mi=quick(estimator="cosine", weight_grad=flow))
        model.auxiliary_loss(torch.Generator().manual_seed(0))
        scores = model.score_triples(graph().train[:20])
        scores.sum().backward()
        found.append((scores.detach(), model.branches[0].backbone.weight1.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.allclose(found[0][1], found[1][1])


@pytest.mark.parametrize("estimator", ["plugin", "mine_cat", "club"])
def test_a_flowing_estimate_leaves_the_estimator_alone(estimator: str) -> None:
    model = make(mi=quick(estimator=estimator, weight_grad="flow"))
    model.auxiliary_loss(torch.Generator().manual_seed(0))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    model.score_triples(graph().train[:20]).sum().backward()
    assert all(p.grad is None for p in model.auxiliary_parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_joint_estimators_train_with_the_model_and_shape_its_views() -> None:
    model = make(mi=quick(train="joint", joint_weight=2.0)).train()
    assert list(model.auxiliary_parameters()) == []
    assert model.auxiliary_loss(torch.Generator().manual_seed(0)) is None
    assert not model.branches[0].weights.steps
    penalty = model.penalty({}, graph().train[:0], graph().train[:0, 1])
    assert penalty is not None
    assert model.branches[0].weights.steps == model.inter.steps == 1
    penalty.backward()
    assert all(p.grad.any() for p in model.branches[0].weights.estimator.parameters())
    assert model.branches[0].backbone.weight1.grad.any()
    assert model.branches[1].projection[0].weight.grad.any()
    assert model.entity.grad.any()


def test_the_joint_loss_is_the_separate_one_times_its_weight() -> None:
    """With all entities in a batch the order in which they are drawn does not matter."""
    separate = make(mi=quick(batch=N)).auxiliary_loss(torch.Generator().manual_seed(0))
    joint = make(mi=quick(batch=N, train="joint", joint_weight=3.0)).train()
    penalty = joint.penalty({}, graph().train[:0], graph().train[:0, 1])
    assert float(penalty.detach()) == pytest.approx(3 * float(separate.detach()), rel=1e-4)


@pytest.mark.parametrize("estimator", ["club_momok", "plugin"])
def test_minimised_information_is_added_and_trains_the_views_alone(estimator: str) -> None:
    mi = quick(estimator=estimator, minimise_weight=0.5, batch=N, clamp=(0.0, 1e-6))
    model = make(mi=mi).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    nothing = graph().train[:0], graph().train[:0, 1]
    assert float(model.penalty({}, *nothing).detach()) == 0.0, "not before the warm-up is over"
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    model.auxiliary_loss(torch.Generator().manual_seed(0))

    sample = model._sample(torch.arange(N))
    pairs = [
        float(branch.weights.estimator(views, present.expand(3, -1)).mean.detach())
        for branch, views, present in zip(
            model._branches, sample.views, sample.present, strict=True
        )
    ]
    penalty = model.penalty({}, *nothing)
    assert float(penalty.detach()) == pytest.approx(0.5 * sum(pairs) / 3, abs=2e-2)
    penalty.backward()
    # The clamp of the weights' information does not stop this gradient.
    assert model.branches[0].backbone.weight1.grad.any()
    assert all(p.grad is None for p in model.auxiliary_parameters())
    assert model.eval().penalty({}, *nothing) is None


def test_minimising_the_information_lowers_it() -> None:
    found = []
    for weight in (0.0, 1.0):
        model = make(mi=quick(estimator="cosine", ema=0.0, minimise_weight=weight, batch=N))
        train(model, 30)
        found.append(float(model.branches[0].weights.information.sum()))
    assert found[1] < 0.8 * found[0]


def test_a_balanced_draw_shows_a_rare_modality_more_often() -> None:
    shares = {}
    for draw in ("uniform", "balanced"):
        model = make(rare_image(8), mi=quick(draw=draw, batch=24))
        generator = torch.Generator().manual_seed(0)
        batches = [model._batch(generator) for _ in range(40)]
        assert all(len(set(batch.tolist())) == 24 for batch in batches)
        shares[draw] = float((torch.stack(batches) < 8).float().mean())
        assert len(torch.stack(batches).unique()) == N
    assert shares["uniform"] == pytest.approx(8 / N, abs=0.02)
    assert shares["balanced"] > 3 * shares["uniform"]


def test_a_balanced_draw_depends_on_its_generator_alone() -> None:
    model = make(rare_image(8), mi=quick(draw="balanced"))
    first, second = (model._batch(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    train(model, 2)
    assert "rate" not in model.state_dict()


def test_joint_training_goes_on_from_a_checkpoint_bit_by_bit() -> None:
    """All that the procedure and the model keep is in their states."""
    spec = RunSpec.model_validate(
        {
            "model": {"name": "mocme"},
            "data": {"dataset": "toy"},
            "negatives": {"count": 4},
            "objective": {"weighting": "egns", "egns": {"smooth": 0.1, "gradient": "flow"}},
        }
    )

    def build() -> tuple[MoCME, StandardProcedure]:
        model = make(
            mi=quick(
                train="joint", estimator="mine_on_heads", minimise_weight=0.1, draw="balanced"
            ),
            score={"per_modality_relation": True, "norm": "l2"},
        )
        return model.train(), StandardProcedure(model, graph(), spec, torch.device("cpu"))

    def epoch(procedure: StandardProcedure, number: int) -> None:
        torch.manual_seed(number)
        procedure.start_epoch(number)
        generator = torch.Generator().manual_seed(number)
        for batch in graph().train.split(250):
            procedure.step(batch, generator)

    model, procedure = build()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    epoch(procedure, 0)
    saved = deepcopy((model.state_dict(), procedure.state_dict()))
    epoch(procedure, 1)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
    assert {"entity", "relation", "branches.0.weights.estimator.heads.weight1"} <= moved

    again, resumed = build()
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    epoch(resumed, 1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize(
    "variant",
    [
        {"weight_grad": "flow"},
        {"train": "joint"},
        {"minimise_weight": 0.1},
        {"estimator": "uniform"},
    ],
    ids=str,
)
def test_variants_that_draw_entities_are_paired_with_those_that_do_not(
    variant: dict[str, Any],
) -> None:
    """After a step the numbers of dropout are where they are without the variant."""
    spec = RunSpec.model_validate({"model": {"name": "mocme"}, "data": {"dataset": "toy"}})
    dropped = []
    for options in ({}, variant):
        model = make(mi=quick(**options), experts={"dropout": 0.5}).train()
        procedure = StandardProcedure(model, graph(), spec, torch.device("cpu"))
        torch.manual_seed(1)
        procedure.start_epoch(0)
        for _ in range(2):
            procedure.step(graph().train[:20], torch.Generator().manual_seed(0))
        dropped.append(torch.rand(4))
    assert torch.equal(*dropped)


def test_draws_of_a_model_derive_from_the_epoch() -> None:
    model = make(mi=quick(train="joint"))
    spec = RunSpec.model_validate({"model": {"name": "mocme"}, "data": {"dataset": "toy"}})
    procedure = StandardProcedure(model, graph(), spec, torch.device("cpu"))
    batches = []
    for epoch in (0, 1, 0):
        procedure.start_epoch(epoch)
        batches.append(model._batch(model.draws))
    assert torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[1])


def test_controls_look_at_no_information() -> None:
    for control in CONTROLS:
        model = make(mi=quick(estimator=control))
        assert list(model.auxiliary_parameters()) == []
        assert model.auxiliary_loss(torch.Generator()) is None
    assert make(mi=quick(estimator="uniform")).diagnostics()["entropy_a/text"] == pytest.approx(
        math.log2(3)
    )
    assert make(mi=quick(estimator="random")).diagnostics()["entropy_a/text"] < math.log2(3)
    learned = make(mi=quick(estimator="learned"))
    train(learned)
    assert learned.diagnostics()["entropy_a/text"] < math.log2(3)


def test_diagnostics_name_every_weight_and_its_entropy() -> None:
    numbers = make().diagnostics()
    for name in ("structure", "text", "image"):
        assert sum(numbers[f"omega_a/{name}/{i}"] for i in range(3)) == pytest.approx(1)
        assert 0 < numbers[f"omega_b/{name}"] < 1
    assert 0 < numbers["entropy_b"] <= math.log2(3)
    assert "information_b/structure/text" in numbers


def test_diagnostics_count_the_parameters_of_the_backbones() -> None:
    # width 16, three modalities; two matrices and two biases per expert
    assert make().diagnostics()["backbone_parameters"] == 3 * 3 * 2 * (16 * 16 + 16)
    linear = make(backbone="linear").diagnostics()
    assert linear["backbone_parameters"] == 3 * 16 * 16


@pytest.mark.parametrize(("dataset", "dim"), [("atlas", 32), ("mkg-w", 64), ("db15k", 256)])
def test_rows_of_the_backbone_suite_are_as_large_as_they_say(dataset: str, dim: int) -> None:
    suite = read_suite(find_suite("backbone"))
    hidden = {
        override.when.label[0]: override.set["model.experts.hidden"]
        for override in suite.overrides
        if override.when.dataset == (dataset,) and override.when.label
    }

    def size(backbone: str, hidden: int | None) -> int:
        config = MoCMEConfig.model_validate(
            {"dim": dim, "backbone": backbone, "experts": {"hidden": hidden}}
        )
        return sum(p.numel() for p in build_backbone(config).parameters())

    # the suite's hidden widths are twice the dimension, as is the default
    linear, cmoe = size("linear", None), size("cmoe", 2 * dim)
    assert size("mlp", hidden["MLP as large as linear"]) == pytest.approx(linear, rel=0.012)
    assert size("cmoe", hidden["CMoE as large as linear"]) == pytest.approx(linear, rel=0.012)
    assert size("mlp", hidden["MLP as large as CMoE"]) == pytest.approx(cmoe, rel=0.001)


# --- fusions ------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["inter", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_encoding_some_entities_equals_rows_of_encoding_all(kind: str, scope: str) -> None:
    model = make(fusion={"kind": kind, "scope": scope}).eval()
    some = torch.tensor([3, 119, 7, 40, 101])
    every = model.encode()["entity"]
    assert every.shape == (N, 16)
    assert torch.allclose(every[some], model.encode(some)["entity"], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_entity_lacks_has_no_share_and_no_gradient(kind: str) -> None:
    model = make(fusion={"kind": kind})
    lacking = (~modalities()["image"].present).nonzero()[:8, 0]
    shares = model.fusion_weights(lacking)
    if shares:
        assert shares["image"].tolist() == [0.0] * 8
        assert sum(shares.values()).tolist() == pytest.approx([1.0] * 8)
    model.encode()["entity"][lacking].sum().backward()
    for parameter in model.branches[1].projection.parameters():
        assert not parameter.grad.any()
    for parameter in model.branches[2].projection.parameters():
        assert parameter.grad.any()


def test_mean_is_the_mean_of_what_is_there() -> None:
    model = make(fusion={"kind": "mean"}, experts={"weights": "mean"}).eval()
    has = modalities()
    both = int((has["text"].present & has["image"].present).nonzero()[0, 0])
    text_only = int((has["text"].present & ~has["image"].present).nonzero()[0, 0])
    ids, third = torch.tensor([both, text_only]), torch.full((3,), 1 / 3)
    structure, image, text = (
        branch.backbone(branch.embed_all(model.entity[ids], ids), third)
        for branch in model._branches
    )
    joint = model.encode(ids)["entity"]
    assert torch.allclose(joint[0], (structure + text + image)[0] / 3, atol=1e-6)
    assert torch.allclose(joint[1], (structure + text)[1] / 2, atol=1e-6)


def test_read_literally_a_missing_modality_takes_part_as_a_constant() -> None:
    model = make(fusion={"missing": "literal"}).eval()
    lacking = (~modalities()["image"].present).nonzero()[:2, 0]
    assert model.fusion_weights(lacking)["image"].tolist() == pytest.approx([1 / 3] * 2)


def test_structure_can_be_added_to_what_the_modalities_fuse_to() -> None:
    model = make(structure={"as_modality": False}).eval()
    has = modalities()
    alone = (~has["text"].present & ~has["image"].present).nonzero()[:, 0]
    assert len(alone)
    assert torch.equal(model.encode(alone)["entity"], model.entity[alone])
    assert set(model.fusion_weights(alone)) == {"text", "image"}


def test_unseen_entities_hide_their_structure_only_when_they_have_something_else() -> None:
    model = make(structure={"mask_unseen": True})
    has = modalities()
    other = has["text"].present | has["image"].present
    unseen = torch.arange(N) >= SEEN
    assert torch.equal(model.available[:, 0], ~unseen | ~other)
    cold = (unseen & other).nonzero()[:, 0]
    model.encode()["entity"][cold].sum().backward()
    assert not model.entity.grad.any()
    assert make().available[:, 0].all()


@pytest.mark.parametrize("scope", ["inter", "both"])
@pytest.mark.parametrize("kind", get_args(FusionOptions.model_fields["kind"].annotation))
def test_what_dropout_hides_has_no_influence_and_is_not_embedded(
    kind: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scope == "both" and kind in INFORMED:
        pytest.skip("weights by information are of modalities")
    entities = torch.arange(6)
    model = make(fusion={"kind": kind, "scope": scope}, modality_dropout={"others": 0.5}).train()
    embed = FeatureBranch.embed
    embedded: list[int] = []

    def results() -> tuple[Tensor, list[Tensor | None]]:
        torch.manual_seed(3)
        joint = model.encode(entities)["entity"]
        gradients = torch.autograd.grad(
            joint.square().sum(), list(model.parameters()), allow_unused=True
        )
        return joint, [g if g is not None and g.any() else None for g in gradients]

    def count(
        self: FeatureBranch, structure: Tensor, ids: Tensor | None, visible: Tensor | None
    ) -> Embedded:
        result = embed(self, structure, ids, visible if chosen else None)
        embedded.append(len(result.vectors))
        return result

    monkeypatch.setattr(FeatureBranch, "embed", count)
    chosen = True
    joint, gradients = results()
    few, chosen = sum(embedded), False
    expected, expected_gradients = results()
    assert few < sum(embedded) - few
    torch.testing.assert_close(joint, expected)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)


def test_modality_dropout_hides_in_training_only_and_never_everything() -> None:
    model = make({}, modality_dropout={"structure": 0.9, "others": 0.9})
    assert torch.equal(model.encode()["entity"], model.eval().encode()["entity"])
    model = make(modality_dropout={"structure": 0.5, "others": 0.5})
    first, second = model.encode()["entity"], model.encode()["entity"]
    assert not torch.equal(first, second)
    assert first.abs().sum(1).min() > 0
    model.eval()
    assert torch.equal(model.encode()["entity"], model.encode()["entity"])


# --- options ------------------------------------------------------------------------------


def rows() -> list[dict[str, Any]]:
    data = read_yaml(PRESETS).data
    assert isinstance(data, list)
    return data


def preset_options(name: str) -> dict[str, Any]:
    [row] = [row for row in rows() if row["label"] == f"MoCME {name}"]
    options: dict[str, Any] = row["set"].get("model", {})
    return options


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["label"])
def test_every_preset_is_valid_and_learns(row: dict[str, Any]) -> None:
    settings = dict(row["set"])
    options = settings.pop("model", {})
    spec = RunSpec.model_validate(
        {"model": {"name": "mocme", **options}, "data": {"dataset": "x"}, **settings}
    )
    model = make(**{**spec.model.options, "dim": 8})
    before = float(model.eval().score_triples(graph().train[:50]).mean().detach())
    train(model, 8)
    assert float(model.score_triples(graph().train[:50]).mean().detach()) > before


def test_defaults_are_the_published_ones() -> None:
    config = MoCMEConfig()
    assert (config.dim, config.experts.K, config.experts.kind) == (256, 3, "mlp")
    assert (config.mi.estimator, config.mi.ema, config.mi.rows) == ("plugin", 0.99, 2048)
    assert not config.structure.mask_unseen
    assert config.modality_dropout.structure == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mi": {"normalise": "logC", "estimator": "club"}}, "needs estimator 'plugin'"),
        ({"mi": {"weight_grad": "flow", "granularity": "pointwise"}}, "granularity 'batch'"),
        ({"mi": {"train": "joint", "estimator": "uniform"}}, "control 'uniform'"),
        ({"mi": {"minimise_weight": 0.1, "estimator": "learned"}}, "control 'learned'"),
        ({"mi": {"minimise_weight": 0.1}, "experts": {"K": 1}}, "experts.K > 1"),
        ({"mi": {"minimise_weight": 0.1}, "backbone": "mlp"}, "backbone 'cmoe'"),
        (
            {"score": {"per_modality_relation": True}, "fusion": {"kind": "gate"}},
            "weighted sum, not 'gate'",
        ),
        ({"fusion": {"kind": "magic"}}, "complementarity"),
        ({"score": {"norm": "l1"}}, "modulus_sum"),
        ({"experts": {"dropuot": 0.1}}, "dropuot"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MoCMEConfig.model_validate(options)


# --- precision and devices ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_gives_nearly_the_same_fp32_table(kind: str) -> None:
    model = make(fusion={"kind": kind}).eval()
    exact = model.encode()["entity"]
    with torch.autocast("cpu", torch.bfloat16):
        table = model.encode()["entity"]
        model.auxiliary_loss(torch.Generator().manual_seed(0))
    assert table.dtype == torch.float32
    assert torch.allclose(table, exact, atol=float(exact.detach().abs().max()) * 0.05)


def test_attention_weights_of_vectors_in_bf16_are_those_of_fp32() -> None:
    width = 512
    attention = Attention(width)
    with torch.no_grad():
        attention.query.mul_(20)  # large logits, where bf16 products are far off
    vectors = [torch.randn(40, width).bfloat16() for _ in range(3)]
    available = torch.ones(40, 3, dtype=torch.bool)

    def weights(dtype: torch.dtype) -> Tensor:
        embeddings = [SparseRows(x.to(dtype), None) for x in vectors]
        fused: Fused = attention(Inputs(embeddings, available, torch.zeros(40, width)))
        assert fused.weights is not None
        return fused.weights

    exact = weights(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(weights(torch.bfloat16), exact, atol=1e-4)


def test_attention_in_fp32_is_to_the_bit_the_plain_product() -> None:
    attention, vectors = Attention(64), [torch.randn(40, 64) for _ in range(3)]
    available = torch.ones(40, 3, dtype=torch.bool)
    fused: Fused = attention(
        Inputs([SparseRows(x, None) for x in vectors], available, torch.zeros(40, 64))
    )
    logits = torch.stack([x.tanh() @ attention.query for x in vectors], 1)
    assert fused.weights is not None
    assert torch.equal(fused.weights, masked_softmax(logits, available))


@pytest.mark.cuda
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_step_never_waits_for_the_device(estimator: str) -> None:
    model = make(mi=quick(estimator=estimator), modality_dropout={"structure": 0.3}).to("cuda")
    generator = torch.Generator("cuda")
    triples = graph().train.to("cuda")

    def step() -> Tensor | None:
        model.encode()["entity"][triples[:, 0]].sum().backward()
        loss = model.auxiliary_loss(generator)
        if loss is not None:
            loss.backward()
        return loss

    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
