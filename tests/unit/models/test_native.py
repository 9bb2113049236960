"""NativE: the score is the paper's formula; who lacks a modality; its adversarial training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.catalog import build_model, load_models
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality
from harness.model import Model
from harness.plan.spec import RunSpec
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import fit
from harness.training.procedures import StandardProcedure
from tests.toys import ring

load_models()
N, R, D = 12, 3, 4
KNOWN = {"image": (5, slice(0, 8)), "text": (3, slice(4, 12))}
"""Width of each modality, and the entities that have it: 0 to 3 an image alone, 8 to 11 a text."""


def graph() -> GraphIndex:
    return ring(N, R)


def modalities() -> dict[str, Modality]:
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, (width, owners) in KNOWN.items():
        present = torch.zeros(N, dtype=torch.bool)
        present[owners] = True
        matrix = torch.randn(N, width, generator=generator) * present[:, None]
        found[name] = Modality(name, matrix, present)
    return found


def native(**options: Any) -> Model:
    model = build_model("native", {"dim": D, **options}, graph(), modalities(), seed=0)
    with torch.no_grad():  # gates that differ visibly
        if options.get("gate", True):
            model.gate.copy_(torch.tensor([[-2.0], [0.5], [3.0]]))  # type: ignore[union-attr,operator]
    return model


def arrays(model: Model) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in model.state_dict().items()}


def vector(w: dict[str, np.ndarray], entity: int, relation: int, *, gate: bool) -> np.ndarray:
    """Return v_e(r) as the paper writes it."""
    vectors = [w["entity"][entity]]
    for place, name in enumerate(sorted(KNOWN)):
        modality = modalities()[name]
        if modality.present[entity]:
            x = modality.matrix[entity].double().numpy()
            hidden = np.maximum(w[f"maps.{place}.0.weight"] @ x + w[f"maps.{place}.0.bias"], 0)
            vectors.append(w[f"maps.{place}.2.weight"] @ hidden + w[f"maps.{place}.2.bias"])
    logits = np.array([w["attention"] @ np.tanh(v) for v in vectors])
    if gate:
        logits = logits * (1 + np.exp(-w["gate"][relation, 0]))  # over a sigmoid
    weights = np.exp(logits) / np.exp(logits).sum()
    return weights @ np.stack(vectors)


def score(w: dict[str, np.ndarray], triple: tuple[int, int, int], *, gate: bool = True) -> float:
    head, relation, tail = triple
    bound = (4.0 + 2.0) / D
    phase = w["relation"][relation] * math.pi / bound
    h, t = (vector(w, e, relation, gate=gate) for e in (head, tail))
    rotated = (h[:D] + 1j * h[D:]) * np.exp(1j * phase)
    return 4.0 - float(np.abs(rotated - (t[:D] + 1j * t[D:])).sum())


TRIPLES = [(0, 0, 5), (5, 1, 9), (9, 2, 0), (6, 2, 7), (3, 1, 11)]


@pytest.mark.parametrize("gate", [True, False])
def test_the_score_is_the_formula(gate: bool) -> None:
    model = native(gate=gate).eval()
    weights = arrays(model)
    expected = [score(weights, triple, gate=gate) for triple in TRIPLES]
    triples = torch.tensor(TRIPLES)
    assert model.score_triples(triples).tolist() == pytest.approx(expected, abs=1e-4)
    heads, relations, tails = triples.unbind(1)
    compared = model.compare(
        model.modality_embeddings(heads), relations, model.modality_embeddings(tails)
    )
    assert compared.tolist() == pytest.approx(expected, abs=1e-4)


def mean_squares(w: dict[str, np.ndarray], batch: np.ndarray) -> float:
    """Return the mean of three mean squares: of heads, of tails and of phases in radians."""
    heads, relations, tails = batch.T
    phases = w["relation"][relations] * math.pi / ((4.0 + 2.0) / D)
    parts = (w["entity"][heads], w["entity"][tails], phases)
    return float(np.mean([(part**2).mean() for part in parts]))


def test_the_penalty_is_the_mean_square_of_structure_and_relations() -> None:
    model = native(regularise=0.5)
    batch = torch.tensor(TRIPLES)
    with torch.no_grad():
        added = model.penalty(model.encode(), batch[:, ::2], batch[:, 1])
    assert added is not None
    assert float(added) == pytest.approx(0.5 * mean_squares(arrays(model), batch.numpy()), rel=1e-5)
    unweighed = native(regularise=0.0)
    assert unweighed.penalty(unweighed.encode(), batch[:, ::2], batch[:, 1]) is None


def test_weights_are_those_of_who_has_what() -> None:
    weights = native().fusion_weights(torch.arange(N))
    assert list(weights) == ["structure", "image", "text"]
    assert torch.allclose(torch.stack(list(weights.values())).sum(0), torch.ones(N))
    for name, (_, owners) in KNOWN.items():
        present = torch.zeros(N, dtype=torch.bool)
        present[owners] = True
        assert ((weights[name] > 0) == present).all()


def test_without_a_mask_those_who_lack_a_modality_share_a_vector() -> None:
    vectors, present = native(missing="zero").modality_embeddings(None)
    assert present.all()
    assert torch.allclose(vectors[8:, 1], vectors[8, 1].expand(4, -1))
    masked, present = native().modality_embeddings(None)
    assert not present[8:, 1].any()
    assert torch.allclose(masked[:8, 1], vectors[:8, 1])


# --- adversarial training -----------------------------------------------------------------


def spec_of(kind: str, mu: float = 0.1, **training: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "native", "dim": D},
            "data": {"dataset": "x"},
            "adversary": {"kind": kind, "mu": mu, "hidden": 8, "noise": 4, "lr": 1e-2},
            "training": {"epochs": 3, "batch_size": 16, "evaluate_every": 1, **training},
        }
    )


def procedure(model: Model, spec: RunSpec) -> StandardProcedure:
    made = StandardProcedure(model, graph(), spec, torch.device("cpu"))
    made.start_epoch(0)
    return made


@pytest.mark.parametrize(
    ("name", "kind"), [("native", "wasserstein"), ("native", "logistic"), ("adamf", "logistic")]
)
def test_the_generator_raises_the_scores_of_what_it_fabricates(name: str, kind: str) -> None:
    model = build_model(name, {"dim": D}, graph(), modalities(), seed=0)
    adversary = procedure(model, spec_of(kind)).adversary
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = graph().train[:16]

    def fooled() -> float:
        with torch.no_grad():
            ends = model.modality_embeddings(batch[:, 0]), model.modality_embeddings(batch[:, 2])
            fakes = adversary._fakes(*ends)
            return float(sum(model.compare(h, batch[:, 1], t).mean() for h, t in fakes))

    first = fooled()
    for _ in range(30):
        adversary.step(batch)
    assert fooled() > first + 0.5
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "kind"), [("native", "wasserstein"), ("native", "logistic"), ("adamf", "logistic")]
)
def test_in_bf16_products_are_rounded_and_losses_are_not(name: str, kind: str) -> None:
    products: dict[str, set[torch.dtype]] = {"fp32": set(), "bf16": set()}

    def loss(precision: str) -> Tensor:
        model = build_model(name, {"dim": D}, graph(), modalities(), seed=0)
        adversary = procedure(model, spec_of(kind, mu=1.0, precision=precision)).adversary
        for network in adversary.generator:
            network.register_forward_hook(lambda *hooked: products[precision].add(hooked[2].dtype))
        adversary.step(graph().train[:16])
        return adversary.loss(graph().train[:16]).detach()

    exact, rounded = loss("fp32"), loss("bf16")
    assert products == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}
    assert rounded.dtype == torch.float32
    assert rounded != rounded.bfloat16()
    assert rounded != exact
    assert torch.allclose(rounded, exact, rtol=0.02, atol=0.02)


def test_a_model_compares_the_parts_of_triples_as_it_scores_them() -> None:
    model = build_model("adamf", {"dim": D}, graph(), modalities(), seed=0)
    heads, relations, tails = graph().train.unbind(1)
    with torch.no_grad():
        compared = model.compare(
            model.modality_embeddings(heads), relations, model.modality_embeddings(tails)
        )
        assert torch.allclose(compared, model.score_triples(graph().train), atol=1e-5)


@pytest.mark.parametrize("kind", ["wasserstein", "logistic"])
def test_the_models_loss_prefers_true_modalities(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = native()
    adversary = procedure(model, spec_of(kind, mu=1.0)).adversary
    scores: list[Tensor] = []
    compare = model.compare

    def recorded(*ends: Any) -> Tensor:
        scores.append(compare(*ends))
        scores[-1].retain_grad()
        return scores[-1]

    monkeypatch.setattr(model, "compare", recorded)
    adversary.loss(graph().train[:16]).backward()
    true, *fakes = [score.grad for score in scores]
    assert len(fakes) == 3
    assert true is not None
    assert (true < 0).all()
    assert all(fake is not None and (fake > 0).all() for fake in fakes)


def test_the_penalty_that_is_left_out_is_a_constant() -> None:
    head = torch.randn(16, 2 * D, requires_grad=True)
    tail = torch.randn(16, 2 * D)
    real, imaginary = (head - tail).chunk(2, 1)
    (slope,) = torch.autograd.grad((real**2 + imaginary**2).sqrt().sum(), head)
    assert torch.allclose(slope.norm(dim=1), torch.tensor(float(D)).sqrt())


def test_without_an_adversary_nothing_else_is_drawn() -> None:
    def trained(spec: RunSpec) -> Tensor:
        model = native()
        made, generator = procedure(model, spec), torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        made.step(graph().train[:16], generator)
        return model.entity.detach().clone()  # type: ignore[return-value,operator]

    assert torch.equal(trained(spec_of("none")), trained(spec_of("wasserstein", mu=0.0)))
    assert not torch.equal(trained(spec_of("none")), trained(spec_of("wasserstein")))


def test_a_resumed_run_is_the_run_that_was_not_stopped(tmp_path: Path) -> None:
    def run(folder: Path, *epochs: int) -> Model:
        for last in epochs:
            model, spec = native(), spec_of("wasserstein", epochs=last)
            made = StandardProcedure(model, graph(), spec, torch.device("cpu"))
            fit(
                model, made, spec.training, CheckpointFolder(folder),
                lambda: {"mrr": 0.0}, seed=0, dataset="d",
            )  # fmt: skip
        return model

    whole, parts = run(tmp_path / "whole", 3), run(tmp_path / "parts", 1, 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_a_model_without_modalities_of_its_own_is_refused() -> None:
    model = build_model("rotate", {"dim": D}, graph(), {}, seed=0)
    with pytest.raises(ConfigError, match="RotatE has no vectors of modalities to fabricate"):
        StandardProcedure(model, graph(), spec_of("wasserstein"), torch.device("cpu"))
