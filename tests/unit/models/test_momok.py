"""MoMoK: gates, experts, fusion and information against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.catalog import build_model, load_models
from harness.index import GraphIndex, Modality
from harness.model import Model
from models.momok import AttentionFusion, GatedExperts, MoMoKConfig

load_models()
TRAIN = torch.tensor([[0, 0, 1], [2, 1, 3], [1, 0, 3]])
INDEX = GraphIndex(4, 2, TRAIN)
PRESENT = torch.tensor([True, True, False, True])
NO_DROPOUT = {"dropout": {"input": 0, "matrix": 0, "output": 0, "fusion": 0}}


def made(**options: Any) -> Model:
    generator = torch.Generator().manual_seed(0)
    text = Modality("text", torch.randn(4, 5, generator=generator), PRESENT)
    model = build_model("momok", {"dim": 3, **NO_DROPOUT, **options}, INDEX, {"text": text})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "experts" in name:  # gates start at zero
                parameter.normal_(generator=generator)
    return model


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def mixture(gated: GatedExperts, x: np.ndarray, sharpness: np.ndarray | float) -> np.ndarray:
    weight, gate = gated.linear.weight.detach().numpy(), gated.gate.detach().numpy()
    assert gated.linear.shift is not None
    shift = gated.linear.shift.detach().numpy()
    gates = softmax(x @ gate / sharpness, 1)
    return sum(gates[:, k, None] * ((x - shift[k]) @ weight[k]) for k in range(len(weight)))


def test_candidates_and_queries_have_gates_of_their_own() -> None:
    model = made().eval()
    x = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    gated = model.get_submodule("experts.text")
    assert isinstance(gated, GatedExperts)
    plain = gated(torch.from_numpy(x), None, None).detach()
    np.testing.assert_allclose(plain, mixture(gated, x, 1.0), atol=1e-5)
    sharpness = torch.tensor([[0.2], [0.5], [0.9]])
    asked = gated(torch.from_numpy(x), sharpness, None).detach()
    np.testing.assert_allclose(asked, mixture(gated, x, sharpness.numpy()), atol=1e-5)


def test_the_relation_decides_how_sharply_a_query_gates() -> None:
    model = made().eval()
    seen = []
    model.get_submodule("decoder.text").register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].detach().numpy())
    )
    tables = model.encode()
    model.queries(tables, TRAIN[:, 0], TRAIN[:, 1], "head")
    before = tables["text before experts"].detach().numpy()
    gated = model.get_submodule("experts.text")
    assert isinstance(gated, GatedExperts)
    rho = model.get_parameter("sharpness").detach().numpy()[TRAIN[:, 1].numpy() + 2]
    expected = mixture(gated, before[TRAIN[:, 0].numpy()], 1 / (1 + np.exp(-rho)))
    np.testing.assert_allclose(seen[0], expected, atol=1e-5)
    np.testing.assert_allclose(tables["text"].detach(), mixture(gated, before, 1.0), atol=1e-5)


def test_gates_are_noisy_in_training_alone() -> None:
    model = made()
    noisy = [model.train().encode()["text"] for _ in range(2)]
    assert not torch.equal(*noisy)
    quiet = [model.eval().encode()["text"] for _ in range(2)]
    assert torch.equal(*quiet)


def test_fused_vectors_are_sums_by_attention() -> None:
    torch.manual_seed(0)
    fusion = AttentionFusion(2, 3, MoMoKConfig.model_validate({"branches": 2, **NO_DROPOUT}))
    vectors = [torch.randn(4, 3), torch.randn(4, 3)]
    hidden = np.stack(
        [
            np.maximum(x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
            for layer, x in zip(fusion.layers, vectors, strict=True)
        ]
    )
    score = fusion.score.weight.detach().numpy()[0]
    expected = np.zeros((4, 3))
    for part in (hidden[:, :, :3], hidden[:, :, 3:]):
        expected += (softmax(part @ score, 0)[:, :, None] * part).sum(0)
    np.testing.assert_allclose(fusion(vectors).detach(), expected, atol=1e-5)


def test_information_is_lowered_by_the_experts_and_read_by_the_estimators() -> None:
    model = made(information=0.5).train()
    ends, relations = TRAIN[:, [0, 2]], TRAIN[:, 1]
    auxiliary = {id(p) for p in model.auxiliary_parameters()}
    first = model.penalty(model.encode(), ends, relations)
    assert first is not None
    assert float(first.detach()) == 0.0, "nothing is known before the first estimate"
    generator = torch.Generator().manual_seed(0)
    loss = model.auxiliary_loss(generator)
    assert loss is not None
    loss.backward()
    assert {id(p) for p in model.parameters() if p.grad is not None} == auxiliary
    model.zero_grad()
    later = model.penalty(model.encode(), ends, relations)
    assert later is not None
    later.backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert "experts.text.linear.weight" in moved
    assert not any("estimators" in name for name in moved)


def test_information_is_added_with_its_weight() -> None:
    penalties = []
    for weight in (0.5, 1.0):
        model = made(information=weight).train()
        model.draws = torch.Generator().manual_seed(0)
        model.auxiliary_loss(torch.Generator().manual_seed(0))
        added = model.penalty(model.encode(), TRAIN[:, [0, 2]], TRAIN[:, 1])
        assert added is not None
        penalties.append(float(added.detach()))
    assert penalties[0] != 0
    assert penalties[1] == pytest.approx(2 * penalties[0], rel=1e-5)


@pytest.mark.parametrize("options", [{"experts": 1}, {"information": 0.0}])
def test_there_may_be_no_information_to_lower(options: dict[str, Any]) -> None:
    model = made(**options).train()
    assert model.penalty(model.encode(), TRAIN[:, [0, 2]], TRAIN[:, 1]) is None
    assert not model.auxiliary_parameters()


def test_dropout_is_drawn_for_fused_entities_before_fused_relations() -> None:
    """Another order would change the numbers of stored runs."""
    model = made()
    order: list[str] = []
    for name in ("fuse_entities", "fuse_relations"):
        fusion = model.get_submodule(name)
        fusion.register_forward_hook(lambda *_, name=name: order.append(name))
    tables = model.encode()
    order.clear()
    model.queries(tables, TRAIN[:, 0], TRAIN[:, 1], "tail")
    assert order == ["fuse_entities", "fuse_relations"]


@pytest.mark.parametrize("training", [False, True])
def test_gates_of_vectors_in_bf16_are_those_of_fp32(training: bool) -> None:
    width = 512
    gated = GatedExperts(3, width).train(training)
    seen: list[torch.Tensor] = []
    gated.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    with torch.no_grad():
        gated.gate.normal_()
        gated.noise.normal_()
    x, sharpness = torch.randn(40, width).bfloat16(), torch.full((40, 1), 0.5)
    gated(x.float(), sharpness, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        gated(x, sharpness, torch.Generator().manual_seed(0))
    exact, under_autocast = seen
    assert torch.allclose(under_autocast, exact, atol=1e-4)


def test_attention_of_hidden_vectors_in_bf16_is_that_of_fp32() -> None:
    width = 512
    fusion = AttentionFusion(3, width, MoMoKConfig(dim=width)).eval()
    seen: list[torch.Tensor] = []
    fusion.score.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        fusion.score.weight.normal_()
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion([torch.randn(40, width) for _ in range(3)])
    hidden = seen[0].float()
    attention = fusion.score(hidden).softmax(0)
    assert torch.allclose(fused, (attention * hidden).sum((0, 1)), atol=1e-4, rtol=1e-4)
