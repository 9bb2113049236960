"""What every registered model must do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.catalog import create_model, load_models
from harness.data.negatives import CorruptionSampler
from harness.errors import ConfigError
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.index import GraphIndex, KnownAnswers, Modality, Side, Tokens
from harness.model import MODELS, Model
from harness.plan.spec import Protocol, RunSpec
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import fit
from harness.training.procedures import StandardProcedure

load_models()
ALL = list(MODELS)
TRAINABLE = [name for name in ALL if MODELS.get(name).capabilities.trainable]
FUSING = [name for name in ALL if MODELS.get(name).capabilities.reads_features]
N, R = 24, 3
ROTATING = ("complex", "rotate", "mocme", "vbkgc", "adamf")
LEARNING: dict[str, dict[str, Any]] = {"transae": {"hidden": 32, "structure": "all"}}
"""Options with which a model can learn where its features are noise."""
SIDES: tuple[Side, ...] = ("head", "tail")


def make_graph(seed: int = 0) -> GraphIndex:
    """Entities on a circle; relation k leads k + 1 places on: learnable by every scorer."""
    heads = torch.arange(N).repeat(R)
    relations = torch.arange(R).repeat_interleave(N)
    return GraphIndex(N, R, torch.stack([heads, relations, (heads + relations + 1) % N], 1), "d")


def make_modalities(index: GraphIndex) -> dict[str, Modality]:
    """Some entities have both, some one, and the first none; texts are made of tokens."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for name, width in (("text", 10), ("image", 6)):
        present = torch.rand(index.n_entities, generator=generator) < 0.7
        present[0] = False
        matrix = torch.randn(index.n_entities, width, generator=generator) * present[:, None]
        found[name] = Modality(name, matrix, present)
    return found | {"text": with_tokens(found["text"])}


def with_tokens(modality: Modality) -> Modality:
    """Make each entity of up to three tokens: its own, twice, and what some others have too."""
    codebook = torch.cat([modality.matrix, modality.matrix.mean(0, keepdim=True)])
    own = torch.arange(len(modality.present))
    shared = torch.where(own % 3 > 0, len(own), -1)
    tokens = Tokens(codebook, torch.stack([own, own, shared], 1)).of(modality.present)
    return replace(modality, tokens=tokens)


def altered(modality: Modality, **changes: Any) -> Modality:
    """Return the modality with other features; its tokens are made again."""
    made = replace(modality, tokens=None, **changes)
    return made if modality.tokens is None else with_tokens(made)


def loss_of(name: str) -> str:
    """Models that ask for heads by reverse relations learn against all entities."""
    return "one_vs_all" if MODELS.get(name).reciprocal else "logistic"


SMALL: dict[str, dict[str, Any]] = {
    # Widths that are not a third or a quarter of the number of entities.
    "vista": {"dim": 32, "feedforward": 64, "heads": 2, "entity_layers": 1, "decoder_layers": 1,
              "structure_dropout": 0.0, "image_dropout": 0.0, "other_dropout": 0.0},
    "mygo": {"dim": 32, "feedforward": 64, "heads": 2, "decoder_layers": 1, "contrasted": 8,
             "structure_dropout": 0.0, "image_dropout": 0.0, "other_dropout": 0.0,
             "tucker": {"input": 0.0, "matrix": 0.0, "output": 0.0}},
}  # fmt: skip
"""Options of a model for a graph of a few entities, where a small dim is not enough."""


def options_of(name: str) -> dict[str, Any]:
    small = {"dim": 8} if "dim" in MODELS.get(name).Config.model_fields else {}
    return small | SMALL.get(name, {})


def make(name: str, *, seed: int = 0) -> tuple[Model, GraphIndex]:
    index = make_graph()
    return create_model(name, options_of(name), index, make_modalities(index), seed=seed), index


def take_a_step(
    model: Model, index: GraphIndex, static_shapes: bool = False, **training: str
) -> float:
    """Take one training step on the whole graph; return the loss before it."""
    spec = RunSpec.model_validate(
        {
            "model": {"name": "any"},
            "data": {"dataset": "d"},
            "negatives": {"count": 8},
            "objective": {"loss": "one_vs_all" if model.reciprocal else "logistic"},
            "training": training,
        }
    )
    device = torch.device("cpu")
    procedure = StandardProcedure(model, index, spec, device, static_shapes=static_shapes)
    torch.manual_seed(0)
    return float(procedure.step(procedure.rows, torch.Generator().manual_seed(0)).loss)


def queries(index: GraphIndex) -> tuple[Tensor, Tensor]:
    return index.train[::5, 0], index.train[::5, 1]


@pytest.mark.parametrize("name", ALL)
def test_has_a_title_a_formula_a_reference_and_documented_options(name: str) -> None:
    model = MODELS.get(name)
    assert model.capabilities.title
    assert model.capabilities.formula
    assert model.capabilities.reference
    assert model.__doc__
    for key, field in model.Config.model_fields.items():
        assert field.description, f"{name}.{key} has no docstring"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ALL)
def test_scores_have_one_row_per_query_and_one_column_per_entity(name: str, side: Side) -> None:
    model, index = make(name)
    model.eval()
    anchors, relations = queries(index)
    scores = model.score_all(model.encode(), anchors, relations, side)
    assert scores.shape == (len(anchors), N)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_triple_has_one_score_whichever_way_it_is_asked(name: str) -> None:
    model, index = make(name)
    model.eval()
    triples = index.train[::3]
    head, relation, tail = triples.unbind(1)
    with torch.no_grad():
        tables = model.encode()
        of_triples = model.score_triples(triples)
        as_tail = model.score_all(tables, head, relation, "tail").gather(1, tail[:, None])[:, 0]
        as_head = model.score_all(tables, tail, relation, "head").gather(1, head[:, None])[:, 0]
        query = model.queries(tables, tail, relation, "head")
        listed = model.score_gathered(tables, query, torch.arange(len(triples) + 1), head)
    torch.testing.assert_close(as_tail, of_triples, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(as_head, listed, rtol=1e-5, atol=1e-4)
    if not model.reciprocal:
        torch.testing.assert_close(as_head, of_triples, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_the_score_of_a_query_does_not_depend_on_its_batch(name: str) -> None:
    model, index = make(name)
    model.eval()
    anchors, relations = queries(index)
    with torch.no_grad():
        tables = model.encode()
        together = model.score_all(tables, anchors, relations, "tail")
        alone = [
            model.score_all(tables, a[None], r[None], "tail")
            for a, r in zip(anchors, relations, strict=True)
        ]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TRAINABLE)
def test_encoding_some_entities_equals_rows_of_encoding_all(name: str) -> None:
    model, _ = make(name)
    model.eval()
    some = torch.tensor([3, 17, 4, 0])
    with torch.no_grad():
        everything, part = model.encode(), model.encode(some)
    for table, rows in part.items():
        torch.testing.assert_close(rows, everything[table][some], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TRAINABLE)
def test_gradients_reach_every_parameter(name: str) -> None:
    model, index = make(name)
    model.train()
    spec = RunSpec.model_validate(
        {
            "model": {"name": name},
            "data": {"dataset": "d"},
            "negatives": {"count": 8},
            "objective": {"loss": loss_of(name)},
        }
    )
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    before = {key: value.clone() for key, value in model.named_parameters()}
    for _ in range(3):
        procedure.step(procedure.rows, generator)
    held = {id(p) for p in model.auxiliary_parameters()}
    for key, value in model.named_parameters():
        changed = not torch.equal(value, before[key])
        assert changed, f"{key} ({'auxiliary' if id(value) in held else 'main'}) never moved"


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_makes_the_same_model_and_another_seed_another(name: str) -> None:
    (first, _), (second, _), (other, _) = make(name), make(name), make(name, seed=1)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    if name in TRAINABLE:
        assert any(not torch.equal(v, other.state_dict()[k]) for k, v in first.state_dict().items())


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_weights_give_equal_scores(name: str, tmp_path: Path) -> None:
    model, index = make(name)
    fresh, _ = make(name, seed=9)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    fresh.load_state_dict(load_file(tmp_path / "w.safetensors"))
    anchors, relations = queries(index)
    with torch.no_grad():
        model.eval(), fresh.eval()
        a = model.score_all(model.encode(), anchors, relations, "head")
        b = fresh.score_all(fresh.encode(), anchors, relations, "head")
    assert torch.equal(a, b)


@pytest.mark.parametrize("name", ALL)
def test_ranks_equal_brute_force_over_the_score_matrix(name: str) -> None:
    model, index = make(name)
    known = KnownAnswers(index.train, N, R)
    ranks = rank(model, index.train, known, Protocol())
    with torch.no_grad():
        tables = model.encode()
        for side in SIDES:
            counts = ranks.sides[side]
            for i, (h, r, t) in enumerate(index.train.tolist()):
                anchor, target = (h, t) if side == "tail" else (t, h)
                scores = model.score_all(tables, torch.tensor([anchor]), torch.tensor([r]), side)[
                    0
                ].double()
                left_out = {
                    (c if side == "tail" else a)
                    for a, b, c in index.train.tolist()
                    if b == r and (a if side == "tail" else c) == anchor
                }
                rivals = [e for e in range(N) if e not in left_out]
                margin = 1e-4 * (1 + abs(float(scores[target])))
                better = sum(float(scores[e] - scores[target]) > margin for e in rivals)
                close = sum(abs(float(scores[e] - scores[target])) <= margin for e in rivals)
                assert counts.candidates[i] == len(rivals) + 1
                assert better <= counts.better[i] <= better + close
                assert counts.better[i] + counts.tied[i] <= better + close


@pytest.mark.parametrize("name", FUSING)
def test_features_of_entities_without_the_modality_change_nothing(name: str) -> None:
    index = make_graph()
    clean = make_modalities(index)
    dirty = {
        key: replace(m, matrix=torch.where(m.present[:, None], m.matrix, 7.0))
        for key, m in clean.items()
    }
    models = [create_model(name, options_of(name), index, made) for made in (clean, dirty)]
    for _ in range(2):
        with torch.no_grad():
            first, second = (m.eval().score_triples(index.train) for m in models)
        torch.testing.assert_close(first, second)
        losses = [take_a_step(m.train(), index) for m in models]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", FUSING)
def test_an_entity_without_any_modality_is_scored_by_its_structure(name: str) -> None:
    """Where nobody has one, which is no reason to fail, structure alone tells entities apart."""
    index = make_graph()
    nobody = {
        key: altered(m, matrix=torch.zeros_like(m.matrix), present=torch.zeros_like(m.present))
        for key, m in make_modalities(index).items()
    }
    model = create_model(name, options_of(name), index, nobody)
    with torch.no_grad():
        anchors, relations = queries(index)
        scores = model.eval().score_all(model.encode(), anchors, relations, "tail")
    assert torch.isfinite(scores).all()
    assert (scores.diff(dim=1).abs() > 0).all()


@pytest.mark.parametrize("name", FUSING)
def test_features_change_the_scores_of_those_that_have_them(name: str) -> None:
    index = make_graph()
    features = make_modalities(index)
    other = {key: altered(m, matrix=m.matrix.flip(1)) for key, m in features.items()}
    first, second = (create_model(name, options_of(name), index, f) for f in (features, other))
    with torch.no_grad():
        changed = first.eval().score_triples(index.train) != second.eval().score_triples(
            index.train
        )
    for key in MODELS.get(name).capabilities.requires or features:
        has = features[key].present[index.train[:, 0]]
        assert changed[has].all()


@pytest.mark.parametrize("name", FUSING)
def test_a_model_that_cannot_do_without_features_says_so(name: str) -> None:
    capabilities = MODELS.get(name).capabilities
    if capabilities.requires or capabilities.needs_features:
        with pytest.raises(ConfigError, match=f"model '{name}' needs .*; .* offers nothing"):
            create_model(name, options_of(name), make_graph())
    else:
        assert create_model(name, options_of(name), make_graph())


def reordered(tokens: Tokens | None, order: Tensor) -> Tokens | None:
    return None if tokens is None else replace(tokens, ids=tokens.ids[order])


@pytest.mark.parametrize("name", TRAINABLE)
def test_numbering_the_entities_differently_changes_no_score(name: str) -> None:
    model, index = make(name)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))  # new id -> old id
    new = order.argsort()
    triples = torch.stack([new[index.train[:, 0]], index.train[:, 1], new[index.train[:, 2]]], 1)
    renamed = {
        key: Modality(key, m.matrix[order], m.present[order], reordered(m.tokens, order))
        for key, m in make_modalities(index).items()
    }
    other = create_model(name, options_of(name), GraphIndex(N, R, triples, "d"), renamed)
    state = {
        key: value[order] if value.shape[:1] == (N,) else value
        for key, value in model.state_dict().items()
    }
    other.load_state_dict(state)
    with torch.no_grad():
        first = model.eval().score_triples(index.train)
        second = other.eval().score_triples(triples)
    torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FUSING)
def test_trained_weights_go_with_the_features_of_the_test(name: str) -> None:
    """The state holds no features, and what entities lost in between plays no part."""
    trained, index = make(name)
    fewer = {}
    for key, modality in make_modalities(index).items():
        present = modality.present & (torch.arange(N) % 2 == 0)
        tokens = None if modality.tokens is None else modality.tokens.of(present)
        fewer[key] = Modality(key, modality.matrix * present[:, None], present, tokens)
    tested = create_model(name, options_of(name), index, fewer, seed=1)
    tested.load_state_dict(trained.state_dict())
    with torch.no_grad():
        before, after = (m.eval().score_triples(index.train) for m in (trained, tested))
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)
    kept = (index.train[:, [0, 2]] % 2 == 0).all(1)
    torch.testing.assert_close(after[kept], before[kept])


@pytest.mark.parametrize("name", FUSING)
def test_fusion_weights_sum_to_one_and_leave_out_what_is_missing(name: str) -> None:
    model, index = make(name)
    model.eval()
    weights = model.fusion_weights(torch.arange(N))
    if not weights:
        pytest.skip("the default fusion has no weights")
    torch.testing.assert_close(sum(weights.values()), torch.ones(N), rtol=0, atol=1e-5)
    for key, modality in make_modalities(index).items():
        assert (weights[key][~modality.present] == 0).all()


@pytest.mark.parametrize("name", TRAINABLE)
def test_bf16_losses_stay_close_to_fp32(name: str) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        model, index = make(name)
        losses[precision] = take_a_step(model, index, precision=precision)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_step_whose_sizes_depend_on_no_draw_is_the_same_step(name: str) -> None:
    """What accelerators are given; afterwards too, so the gradients were the same."""
    (usual, index), (static, _) = make(name), make(name)
    for _ in range(2):
        losses = take_a_step(usual, index), take_a_step(static, index, static_shapes=True)
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("name", TRAINABLE)
def test_learns_a_graph_with_a_planted_rule(name: str, tmp_path: Path) -> None:
    """Every 6th triple of the circle is held out; chance MRR over 24 entities is about 0.16."""
    index = make_graph()
    held_out = torch.arange(len(index.train)) % 6 == 0
    train, test = index.train[~held_out], index.train[held_out]
    seen = GraphIndex(N, R, train, "d")
    options = {"dim": 16, **SMALL.get(name, {}), **LEARNING.get(name, {})}
    model = create_model(name, options, seen, make_modalities(seen))
    spec = RunSpec.model_validate(
        {
            "model": {"name": name},
            "data": {"dataset": "d"},
            "negatives": {"count": 16},
            "objective": {"loss": loss_of(name)},
            "optimiser": {"lr": 2e-3 if name in ("vista", "mygo") else 0.02},
            "training": {"epochs": 150, "batch_size": 64, "evaluate_every": 150},
        }
    )
    known = KnownAnswers(index.train, N, R)

    def fitted() -> float:
        found = measure(rank(model, train, known, spec.protocol), spec.protocol)
        return next(m.value for m in found if m.metric == "mrr")

    before = fitted()
    procedure = StandardProcedure(model, seen, spec, torch.device("cpu"))
    fit(
        model,
        procedure,
        procedure.rows,
        spec.training,
        CheckpointFolder(tmp_path),
        lambda: {"mrr": fitted()},
        seed=0,
        dataset="d",
    )
    after = fitted()
    assert before < 0.4
    assert after > 0.6
    if name in ROTATING:  # a rule of rotations is theirs to generalise from so few triples
        unseen = measure(rank(model, test, known, spec.protocol), spec.protocol)
        assert next(m.value for m in unseen if m.metric == "mrr") > 0.2


def test_a_model_that_scores_nan_is_refused() -> None:
    from harness.errors import NonFiniteError

    model, index = make("rotate")
    with torch.no_grad():
        model.entity[0, 0] = float("nan")  # type: ignore[union-attr, operator]
    with pytest.raises(NonFiniteError, match="queries"):
        rank(model, index.train, KnownAnswers(index.train, N, R), Protocol())


def test_negatives_of_a_step_are_the_same_for_every_model() -> None:
    """Variants are paired: the sampler knows nothing of the model."""
    index = make_graph()
    sampler = CorruptionSampler.build(index, sampler="uniform", count=4, filter="train")
    drawn = [sampler.sample(index.train, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(drawn[0].candidates, drawn[1].candidates)
