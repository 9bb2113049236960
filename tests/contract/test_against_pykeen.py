"""Scores, ranks and metrics equal those of PyKEEN (extra ``[peers]``).

PyKEEN has no margin inside a score, so ours is taken off. Its RotatE takes the Euclidean norm over
all components of the difference (``negative_norm(h - t, p=2)``, whatever ``p`` is), ours the sum of
the components' moduli, as the authors' code does: the two are equal for one component, and ours
is the sum of PyKEEN's scores of each component alone.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import pipeline
from harness.catalog import build_model
from harness.evaluation.evaluator import rank
from harness.evaluation.measure import measure
from harness.evaluation.ranks import Ties
from harness.index import FilterIndex, GraphIndex, Side
from harness.model import Model, ModelConfig, Tables
from harness.plan.spec import Protocol, RunSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pykeen", reason="PyKEEN is not installed: pip install -e '.[peers]'")
    import pykeen.models
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.evaluation.rank_based_evaluator import RankBasedMetricKey
    from pykeen.nn.modules import RotatEInteraction
    from pykeen.triples import CoreTriplesFactory

N, R, DIM = 23, 4, 6
SIDES: tuple[Side, ...] = ("head", "tail")
TIES: tuple[Ties, ...] = ("realistic", "optimistic", "pessimistic")
METRICS = {
    "mrr": "inverse_harmonic_mean_rank",
    "mr": "arithmetic_mean_rank",
    "hits@1": "hits_at_1",
    "hits@3": "hits_at_3",
    "hits@10": "hits_at_10",
    "amri": "adjusted_arithmetic_mean_rank_index",
}


def random_triples(n: int, seed: int, entities: int = N) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(high, (n,), generator=generator) for high in (entities, R, entities)]
    return torch.stack(columns, 1)


INDEX = GraphIndex(N, R, random_triples(60, 0), "d")


# --- scores -------------------------------------------------------------------------------


def ours(name: str, **options: Any) -> Model:
    """A model with vectors that are not small: the initial ones hide what a norm does."""
    model = build_model(name, {"dim": DIM, **options}, INDEX)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def as_complex(x: Tensor) -> Tensor:
    return torch.complex(*x.chunk(2, -1))


def theirs(name: str, model: Any, dim: int = DIM) -> nn.Module:
    """PyKEEN's model with our weights."""
    factory = CoreTriplesFactory(INDEX.train, num_entities=N, num_relations=R)
    # Entities are constrained to unit length after each of PyKEEN's steps, never in its scores;
    # PairRE normalises in the score (``entity_normalizer``), and that is what ours does.
    classes = {
        "transe": (pykeen.models.TransE, {"scoring_fct_norm": 1}),
        "distmult": (pykeen.models.DistMult, {}),
        "complex": (pykeen.models.ComplEx, {}),
        "rotate": (pykeen.models.RotatE, {}),
        "pairre": (pykeen.models.PairRE, {"p": 1}),
    }
    make, options = classes[name]
    peer = make(triples_factory=factory, embedding_dim=dim, **options)
    relations = {
        "complex": lambda: [as_complex(model.relation)],
        "rotate": lambda: [torch.polar(torch.ones(R, dim), model.relation * model.phase_per_unit)],
        "pairre": lambda: model.relation.chunk(2, -1),
    }.get(name, lambda: [model.relation])()
    entity = as_complex(model.entity) if name in ("complex", "rotate") else model.entity
    copy_weights(peer.entity_representations[0], entity)
    for representation, values in zip(peer.relation_representations, relations, strict=True):
        copy_weights(representation, values)
    return peer.eval()


def copy_weights(embedding: Any, values: Tensor) -> None:
    """Complex numbers are stored as pairs (real, imaginary) in the last axis."""
    values = torch.view_as_real(values) if values.is_complex() else values
    with torch.no_grad():
        embedding._embeddings.weight.copy_(values.reshape(embedding._embeddings.weight.shape))


def assert_scores_equal(model: Model, peer: Any, margin: float) -> None:
    triples = random_triples(40, 2)
    head, relation, tail = triples.unbind(1)
    with torch.no_grad():
        tables = model.encode()
        of_triples = model.score_triples(triples) - margin
        of_tails = model.score_all(tables, head, relation, "tail") - margin
        of_heads = model.score_all(tables, tail, relation, "head") - margin
        near: dict[str, Any] = {"rtol": 0, "atol": 1e-4}
        torch.testing.assert_close(of_triples, peer.score_hrt(triples)[:, 0], **near)
        torch.testing.assert_close(of_tails, peer.score_t(triples[:, :2]), **near)
        torch.testing.assert_close(of_heads, peer.score_h(triples[:, 1:]), **near)
    assert of_tails.std() > 0.1


@pytest.mark.parametrize("name", ["transe", "distmult", "complex", "pairre"])
def test_scores_equal_those_of_pykeens_model(name: str) -> None:
    model: Any = ours(name)
    assert_scores_equal(model, theirs(name, model), getattr(model.config, "margin", 0.0))


def test_rotate_of_one_component_equals_pykeens_model() -> None:
    model: Any = ours("rotate", dim=1)
    assert_scores_equal(model, theirs("rotate", model, dim=1), model.config.margin)


class RotatEPerComponent(nn.Module):
    """The sum over components of PyKEEN's interaction of each component alone."""

    def __init__(self, peer: Any) -> None:
        super().__init__()
        self.interaction = RotatEInteraction()
        self.entity = peer.entity_representations[0]()
        self.relation = peer.relation_representations[0]()

    def score(self, h: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return self.interaction(h[..., None], r[..., None], t[..., None]).sum(-1)

    def score_hrt(self, triples: Tensor) -> Tensor:
        h, r, t = triples.unbind(1)
        return self.score(self.entity[h], self.relation[r], self.entity[t])[:, None]

    def score_t(self, queries: Tensor) -> Tensor:
        h, r = queries.unbind(1)
        return self.score(self.entity[h][:, None], self.relation[r][:, None], self.entity)

    def score_h(self, queries: Tensor) -> Tensor:
        r, t = queries.unbind(1)
        return self.score(self.entity, self.relation[r][:, None], self.entity[t][:, None])


def test_rotate_is_the_sum_over_components_of_pykeens_scores() -> None:
    model: Any = ours("rotate")
    peer = RotatEPerComponent(theirs("rotate", model))
    assert_scores_equal(model, peer, model.config.margin)


# --- ranks and metrics --------------------------------------------------------------------


class ScoreTable(Model):
    """A model that knows its scores by heart: side -> [N, R, N]."""

    def __init__(self, scores: dict[Side, Tensor], index: GraphIndex) -> None:
        super().__init__(ModelConfig(), index, {})
        self.scores = scores

    def encode(self, entities: Tensor | None = None) -> Tables:
        return {}

    def score_all(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Tensor:
        return self.scores[side][anchors, relations]


class Lent(nn.Module):
    """Our scores, as PyKEEN's evaluator asks a model for them."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.tables = model, model.encode()
        self.num_entities, self.device = model.n_entities, torch.device("cpu")

    def predict(self, hrt_batch: Tensor, target: Side, **options: Any) -> Tensor:
        h, r, t = hrt_batch.unbind(1)
        with torch.no_grad():
            scores = self.model.score_all(self.tables, h if target == "tail" else t, r, target)
        return scores.clone()  # the evaluator writes its filter into them


class Recorder(RankBasedEvaluator):  # type: ignore[misc]
    """Keeps the ranks of all queries, which the evaluator forgets once it has averaged them."""

    def __init__(self) -> None:
        super().__init__(filtered=True, clear_on_finalize=False)

    def of(self, side: Side, ties: str) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate(self.ranks[side, ties]), np.concatenate(self.num_candidates[side])


def assert_evaluations_agree(model: Model, test: Tensor, others: list[Tensor]) -> None:
    """PyKEEN filters with the test triples and whatever is given beside them.

    Like ours it concatenates the ranks of both sides before it averages ("both" is not the mean of
    two means, which matters for AMRI: the expected ranks of the sides differ), and it takes the
    expected rank from the candidates that the filter leaves.
    """
    evaluator = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluator.evaluate(
            Lent(model),
            test,
            batch_size=7,  # without it, PyKEEN probes the memory of a GPU
            use_tqdm=False,
            additional_filter_triples=others,
        )
    known = FilterIndex(torch.cat([test, *others]), model.n_entities, model.n_relations)
    for ties in TIES:
        protocol = Protocol(ties=ties)
        ranks = rank(model, test, known, protocol)
        for side in SIDES:
            values, candidates = ranks.ranks(ties, side)
            their_ranks, their_candidates = evaluator.of(side, ties)
            np.testing.assert_array_equal(values, their_ranks)
            np.testing.assert_array_equal(candidates, their_candidates)
        for m in measure(ranks, protocol):
            value = found.data[RankBasedMetricKey(m.side, ties, METRICS[m.metric])]
            # PyKEEN averages in fp32.
            assert m.value == pytest.approx(value, rel=1e-6, abs=1e-6), (m.side, ties, m.metric)


@pytest.mark.parametrize("levels", [1, 2, 5, 100_000])
@pytest.mark.parametrize("seed", range(3))
def test_evaluators_agree_on_random_scores(levels: int, seed: int) -> None:
    """Few levels of scores make many ties, one makes nothing else."""
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[Side, Tensor] = {
        side: torch.randint(levels, (N, R, N), generator=generator).float() for side in SIDES
    }
    model = ScoreTable(drawn, INDEX)
    test, valid = random_triples(50, 10 + seed), random_triples(40, 20 + seed)
    assert_evaluations_agree(model, test, [INDEX.train, valid])


@pytest.mark.parametrize("name", ["rotate", "distmult", "popularity"])
def test_evaluators_agree_on_a_trained_model(name: str, tmp_path: Path) -> None:
    spec = RunSpec.model_validate(
        {
            "model": {"name": name} | ({} if name == "popularity" else {"dim": 8}),
            "data": {"dataset": "synthetic:entities=80,train=1200,valid=100,test=120"},
            "negatives": {"count": 8},
            "optimiser": {"lr": 0.02},
            "training": {"epochs": 4, "batch_size": 256, "evaluate_every": 4},
        }
    )
    record = pipeline.execute("aaaa", spec, pipeline.Workplace(tmp_path, "cpu"))
    model, dataset = pipeline.load_trained(record, tmp_path, torch.device("cpu"))
    if name != "popularity":
        model.double()  # the kernels and the score matrix then order all scores alike
    splits = dataset.graph.splits
    assert_evaluations_agree(model, splits["test"], [splits["train"], splits["valid"]])
