"""Strategies of negatives: what they draw, what they learn, and that runs resume with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.catalog import build_model, load_models
from harness.config.override import Setting
from harness.errors import ConfigError
from harness.index import GraphIndex, Modality, Pairs, Side
from harness.model import MODELS, Capabilities, Model, ModelConfig, Query, Tables, Term
from harness.plan.expand import expand
from harness.plan.settings import build_spec
from harness.plan.spec import RunSpec
from harness.plan.suite import read_suite
from harness.procedure import STRATEGIES, Negatives
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import fit
from harness.training.procedures import StandardProcedure
from harness.training.sampled import SampledLoss
from tests.toys import ring

load_models()
N, R, D, COUNT = 24, 2, 4, 6


def graph() -> GraphIndex:
    return ring(N, R)


class TwoTables(Model):
    """Minus the distances of structure and picture of head and tail, in all four combinations."""

    Config = ModelConfig
    capabilities = Capabilities(title="Two", reference="", formula="")
    free_encoding = True

    def __init__(self) -> None:
        super().__init__(ModelConfig(), graph(), {})
        generator = torch.Generator().manual_seed(0)
        self.structure, self.picture = (
            torch.nn.Parameter(torch.randn(N, D, generator=generator)) for _ in range(2)
        )

    def encode(self, entities: Tensor | None = None) -> Tables:
        tables = {"structure": self.structure, "picture": self.picture}
        return {k: v if entities is None else v[entities] for k, v in tables.items()}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        names = ("structure", "picture")
        terms = (Term("l1", tables[a][anchors], b, anchor=a) for a in names for b in names)
        return Query(tuple(terms))


def spec_of(strategy: str = "", **options: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "rotate", "dim": D},
            "data": {"dataset": "x"},
            "negatives": {"count": COUNT, "strategy": {"name": strategy, **options}},
            "optimiser": {"lr": 1e-2},
            "training": {"epochs": 4, "batch_size": 16, "evaluate_every": 1},
        }
    )


def loss_of(model: Model, spec: RunSpec, epoch: int = 0) -> SampledLoss:
    made = SampledLoss(model, graph(), spec, torch.device("cpu"))
    made.start_epoch(epoch)
    return made


def told(loss: SampledLoss) -> tuple[Tensor, Any, Tensor]:
    """Return positives, negatives and their scores of one batch."""
    loss(graph().train[:16], torch.Generator().manual_seed(0))
    assert loss._last_batch is not None
    return loss._last_batch


# --- MANS and twins -----------------------------------------------------------------------


def expected(model: TwoTables, batch: Tensor, negatives: Any, apart: Tensor) -> Tensor:
    """Return the scores of negatives whose structure is ``apart``'s entity."""
    scores = torch.empty(apart.shape)
    with torch.no_grad():
        for i, (head, _, tail) in enumerate(batch.tolist()):
            for j in range(apart.shape[1]):
                anchor = head if negatives.replaces_tail[i, j] else tail
                own = model.structure[apart[i, j]], model.picture[negatives.candidates[i, j]]
                asked = model.structure[anchor], model.picture[anchor]
                scores[i, j] = -sum((a - b).abs().sum() for a in asked for b in own)
    return scores


def test_a_visual_negative_keeps_the_structure_of_the_positive() -> None:
    model = TwoTables()
    batch, negatives, scores = told(loss_of(model, spec_of("mans", mode="visual")))
    own = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
    assert torch.allclose(scores, expected(model, batch, negatives, own), atol=1e-5)


def test_a_share_of_hybrid_negatives_is_visual() -> None:
    model = TwoTables()
    loss = loss_of(model, spec_of("mans", mode="hybrid", share=0.25))
    visual = whole = 0
    for _ in range(30):
        batch, negatives, _ = told(loss)
        own = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
        stands = negatives.substitutes["structure"]
        visual += int((stands == own).sum())
        whole += int((stands == negatives.candidates).sum())
    assert visual + whole == 30 * 16 * COUNT
    assert visual / (visual + whole) == pytest.approx(0.25, abs=0.03)


def test_two_stages_are_visual_and_then_whole() -> None:
    model, spec = TwoTables(), spec_of("mans", mode="two_stage", share=0.5)
    for epoch, visual in enumerate((True, True, False, False)):
        batch, negatives, _ = told(loss_of(model, spec, epoch))
        own = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
        expected = own if visual else negatives.candidates
        assert torch.equal(negatives.substitutes["structure"], expected)


def test_adaptive_negatives_are_visual_where_the_paper_says() -> None:
    model = TwoTables()
    batch, negatives, scores = told(loss_of(model, spec_of("mans", mode="adaptive")))
    own = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
    whole = expected(model, batch, negatives, negatives.candidates)
    visual = expected(model, batch, negatives, own)
    mixed, same = torch.zeros_like(whole), torch.zeros_like(whole)
    with torch.no_grad():
        for i, (head, _, tail) in enumerate(batch.tolist()):
            for j, other in enumerate(negatives.candidates[i].tolist()):
                anchor = head if negatives.replaces_tail[i, j] else tail
                s, m = model.structure, model.picture
                same[i, j] = sum((x[anchor] - x[other]).abs().sum() for x in (s, m))
                mixed[i, j] = (s[anchor] - m[other]).abs().sum() + (
                    m[anchor] - s[other]
                ).abs().sum()
    assert torch.allclose(scores, torch.where(mixed < same, visual, whole), atol=1e-5)
    assert 0.1 < (mixed < same).float().mean() < 0.9


class Summed(TwoTables):
    """And of the sum of both, as TBKGC."""

    def encode(self, entities: Tensor | None = None) -> Tables:
        tables = super().encode(entities)
        return {**tables, "joint": tables["structure"] + tables["picture"]}

    def queries(self, tables: Tables, anchors: Tensor, relations: Tensor, side: Side) -> Query:
        own = super().queries(tables, anchors, relations, side).terms
        return Query((*own, Term("l1", tables["joint"][anchors], "joint", anchor="joint")))


def test_a_term_of_both_changes_no_choice_of_an_adaptive_strategy() -> None:
    chosen = []
    for model in (TwoTables(), Summed()):
        loss = loss_of(model, spec_of("mans", mode="adaptive"))
        assert loss.strategy is not None
        batch, generator = graph().train[:16], torch.Generator().manual_seed(0)
        negatives = loss.strategy.choose(batch, loss.sampler.sample(batch, generator))
        pairs = Pairs.from_matrix(torch.cat([batch[:, 2:], negatives.candidates], 1))
        query = model.queries(model.encode(), batch[:, 0], batch[:, 1], "tail")
        parts = loss._by_term(model.encode(), query, pairs, negatives)
        chosen.append(loss.strategy.compare(batch, negatives, parts))
    assert torch.equal(*chosen)
    assert 0.1 < chosen[0].float().mean() < 0.9


@pytest.mark.parametrize("name", ["ikrl", "tbkgc", "vbkgc", "qeb"])
def test_an_adaptive_strategy_takes_every_model_that_says_what_it_compares(name: str) -> None:
    model = build_model(name, {"dim": D}, graph(), features(), seed=0)
    told(loss_of(model, spec_of("mans", mode="adaptive")))


@pytest.mark.parametrize("name", ["ikrl", "tbkgc", "vbkgc", "qeb", "mmkrl"])
def test_tables_of_the_structure_alone_are_those_that_a_model_names(name: str) -> None:
    model = build_model(name, {"dim": D}, graph(), features(), seed=0).eval()
    given = features().items()
    other = {what: Modality(what, one.matrix.flip(0) + 1, one.present) for what, one in given}
    again = build_model(name, {"dim": D}, graph(), other, seed=0).eval()
    before, after = model.encode(), again.encode()
    same = {table for table in before if torch.equal(before[table], after[table])}
    assert same == set(model.structure_tables)
    for strategy in ("mans", "twins"):
        _, negatives, _ = told(loss_of(model.train(), spec_of(strategy)))
        assert set(negatives.substitutes) == same


def test_twins_are_two_entities() -> None:
    model = TwoTables()
    batch, negatives, scores = told(loss_of(model, spec_of("twins")))
    apart = negatives.substitutes["structure"]
    assert (apart != negatives.candidates).float().mean() > 0.8
    assert torch.allclose(scores, expected(model, batch, negatives, apart), atol=1e-5)


@pytest.mark.parametrize("strategy", ["mans", "twins"])
def test_a_model_of_one_vector_gets_plain_negatives(strategy: str) -> None:
    model = build_model("rotate", {"dim": D}, graph(), {}, seed=0)
    batch, negatives, scores = told(loss_of(model, spec_of(strategy)))
    head, relation, tail = batch.unbind(1)
    for j in range(COUNT):
        replaced, other = negatives.replaces_tail[:, j], negatives.candidates[:, j]
        triples = torch.stack(
            [torch.where(replaced, head, other), relation, torch.where(replaced, other, tail)], 1
        )
        assert torch.allclose(scores[:, j], model.score_triples(triples), atol=1e-5)


def test_an_adaptive_strategy_says_what_model_it_needs() -> None:
    model = build_model("rotate", {"dim": D}, graph(), {}, seed=0)
    with pytest.raises(ConfigError, match="RotatE does not compare structure and modalities"):
        told(loss_of(model, spec_of("mans", mode="adaptive")))


def test_released_hybrid_negatives_are_visual_where_they_come_first() -> None:
    model = TwoTables()
    loss = loss_of(model, spec_of("mans", variant="released", mode="hybrid", share=0.3))
    batch, negatives, _ = told(loss)
    own = torch.where(negatives.replaces_tail, batch[:, 2:], batch[:, :1])
    # The code's flat order: the first negative of each of 16 positives, then the second ones, ...
    flat = [(row, column) for column in range(COUNT) for row in range(16)]
    visual = flat[: int(0.3 * 16 * COUNT)]
    stands = torch.stack(
        [
            (own if place in visual else negatives.candidates)[place]
            for place in ((row, column) for row in range(16) for column in range(COUNT))
        ]
    )
    assert torch.equal(negatives.substitutes["structure"].flatten(), stands)


def test_released_adaptive_negatives_are_as_many_as_satisfy_the_inequality_and_come_first() -> None:
    chosen = []
    for variant in ("paper", "released"):
        model = TwoTables()
        loss = loss_of(model, spec_of("mans", variant=variant, mode="adaptive"))
        keep = loss.strategy.compare  # type: ignore[union-attr]
        seen: list[Tensor] = []

        def watched(*given: Any, keep: Any = keep, seen: list[Tensor] = seen) -> Tensor:
            seen.append(keep(*given))
            return seen[-1]

        loss.strategy.compare = watched  # type: ignore[union-attr, method-assign, assignment]
        told(loss)
        chosen += seen
    paper, released = chosen
    count = int(paper.sum())
    assert 0 < count < paper.numel()
    expected = [place < count for place in range(paper.numel())]
    assert released.T.flatten().tolist() == expected
    assert not torch.equal(paper, released)


def test_released_stages_change_at_half_of_the_epochs_whatever_the_share() -> None:
    shares = []
    for epoch in range(4):
        options = {"variant": "released", "mode": "two_stage", "share": 0.9}
        strategy: Any = loss_of(TwoTables(), spec_of("mans", **options), epoch).strategy
        shares.append(strategy.share)
    assert shares == [1.0, 1.0, 0.0, 0.0]


def test_a_share_that_released_stages_ignore_makes_no_other_run() -> None:
    kind = STRATEGIES.get("mans").Config
    staged = kind.model_validate({"variant": "released", "mode": "two_stage", "share": 0.9})
    assert staged.model_dump(exclude_defaults=True) == {"variant": "released", "mode": "two_stage"}
    other = kind.model_validate({"mode": "two_stage", "share": 0.9})
    assert other.model_dump(exclude_defaults=True)["share"] == 0.9


# --- KBGAN --------------------------------------------------------------------------------


def kbgan(**options: Any) -> tuple[StandardProcedure, Any]:
    model = build_model("rotate", {"dim": D}, graph(), {}, seed=0)
    spec = spec_of("kbgan", dim=8, lr=5e-2, **options)
    procedure = StandardProcedure(model, graph(), spec, torch.device("cpu"))
    return procedure, procedure.loss.strategy  # type: ignore[attr-defined]


def step(procedure: StandardProcedure, epoch: int, steps: int) -> None:
    procedure.start_epoch(epoch)
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(steps):
        procedure.step(graph().train, generator)


def test_the_generator_learns_to_tell_the_positive_from_its_pool() -> None:
    procedure, strategy = kbgan(pretrain=0.5)
    step(procedure, 0, 60)
    positives = graph().train
    drawn = procedure.loss.sampler.sample(positives, torch.Generator())  # type: ignore[attr-defined]
    true, pool = strategy._logits(positives, drawn)
    assert (true[:, None] > pool).float().mean() > 0.95


def test_picks_that_the_model_scores_high_become_likelier() -> None:
    procedure, strategy = kbgan(pretrain=0.0, temperature=1.0)
    model = procedure.model
    positives, fixed = graph().train, torch.Generator()

    def reward() -> float:
        drawn = procedure.loss.sampler.sample(positives, fixed.manual_seed(7))  # type: ignore[attr-defined]
        with torch.no_grad():
            logits = strategy._logits(positives, drawn)[1]
            head, relation, tail = (x[:, None].expand_as(drawn.candidates) for x in positives.T)
            replaced = drawn.replaces_tail
            triples = torch.stack(
                [
                    torch.where(replaced, head, drawn.candidates),
                    relation,
                    torch.where(replaced, drawn.candidates, tail),
                ],
                2,
            )
            scores = model.score_triples(triples.view(-1, 3)).view(logits.shape)
            return float((logits.softmax(1) * scores).sum(1).mean())

    before = reward()
    weights = [p.detach().clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(1)
    for epoch in range(8):
        procedure.start_epoch(epoch)
        for _ in range(10):
            procedure.loss(positives, generator)  # the model itself stands still
            procedure.loss.after_step()
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert reward() > before + 0.1


def log_chances(strategy: Any, batch: Tensor, drawn: Any, picked: Any) -> Tensor:
    """Return log p(pick), [B, n], of a generator DistMult, entity by entity."""
    entity, relation = strategy.generator.entity, strategy.generator.relation
    rows = []
    for (head, r, tail), pool, picks, tails in zip(
        batch.tolist(),
        drawn.candidates.tolist(),
        picked.candidates.tolist(),
        drawn.tails.tolist(),
        strict=True,
    ):
        known = entity[head if tails else tail] * relation[r]
        mass = sum((known @ entity[c] / strategy.config.temperature).exp() for c in pool)
        chances = [(known @ entity[c] / strategy.config.temperature).exp() / mass for c in picks]
        rows.append(torch.stack(chances).log())
    return torch.stack(rows)


def test_the_generator_follows_rewards_less_the_mean_of_the_epoch_before() -> None:
    procedure, strategy = kbgan(pretrain=0.0, pool=9, temperature=0.5)
    batch, generator = graph().train[:8], torch.Generator().manual_seed(3)
    parameters = list(strategy.generator.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(0.0, 0.7, generator=generator)
    rewards = [torch.randn(8, COUNT, generator=generator) - 5 * (k + 1) for k in range(4)]
    baseline = 0.0  # of the first epoch
    for epoch, seen in enumerate((rewards[:2], rewards[2:3], rewards[3:])):
        procedure.start_epoch(epoch)
        for scores in seen:
            drawn = procedure.loss.sampler.sample(batch, generator)  # type: ignore[attr-defined]
            picked = strategy.choose(batch, drawn)
            advantage = (scores - baseline) / scores.std(correction=0)
            lowered = -(advantage * log_chances(strategy, batch, drawn, picked)).sum()
            expected = torch.autograd.grad(lowered, parameters)
            strategy.learn(batch, picked, scores)
            for parameter, gradient in zip(parameters, expected, strict=True):
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)
        baseline = float(torch.stack(seen).mean())


def test_released_rewards_are_not_scaled_and_the_first_baseline_is_nothing() -> None:
    procedure, strategy = kbgan(pretrain=0.5, pool=9, variant="released")
    batch, generator = graph().train[:8], torch.Generator().manual_seed(3)
    parameters = list(strategy.generator.parameters())
    rewards = [torch.randn(8, COUNT, generator=generator) - 5 for _ in range(2)]
    baselines = []
    for epoch, scores in enumerate([*rewards, *rewards]):
        procedure.start_epoch(epoch)
        drawn = procedure.loss.sampler.sample(batch, generator)  # type: ignore[attr-defined]
        picked = strategy.choose(batch, drawn)
        if epoch >= 2:
            baseline = 0.0 if epoch == 2 else float(rewards[0].mean())
            baselines.append(baseline)
            advantage = scores - baseline
            lowered = -(advantage * log_chances(strategy, batch, drawn, picked)).sum()
            expected = torch.autograd.grad(lowered, parameters)
            strategy.learn(batch, picked, scores)
            for parameter, gradient in zip(parameters, expected, strict=True):
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)
        else:
            strategy.learn(batch, picked, scores)
    assert len(baselines) == 2


def test_a_released_generator_tells_the_positive_from_one_less_than_its_pool() -> None:
    procedure, strategy = kbgan(pretrain=0.5, pool=9, variant="released")
    procedure.start_epoch(0)
    batch = graph().train[:8]
    drawn = procedure.loss.sampler.sample(batch, torch.Generator())  # type: ignore[attr-defined]
    true, pool = strategy._logits(batch, drawn)
    logits = torch.cat([true[:, None], pool[:, :8]], 1)
    expected = torch.nn.functional.cross_entropy(
        logits, torch.zeros(8, dtype=torch.long), reduction="sum"
    )
    lowered: list[Tensor] = []
    strategy.learner.step = lowered.append
    strategy.choose(batch, drawn)
    assert float(lowered[0].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("generator", ["distmult", "complex"])
def test_a_released_generator_starts_with_the_normal_values_of_the_code(generator: str) -> None:
    _, strategy = kbgan(variant="released", generator=generator)
    spread = strategy.generator.entity.detach().std()
    assert float(spread) == pytest.approx(1 / (8 / 0.2**2) ** (1 / 6), rel=0.2)
    with pytest.raises(ConfigError, match="has no option scale"):
        kbgan(variant="released", generator="pairre")


def test_a_released_generator_has_a_new_optimiser_when_the_models_meet() -> None:
    procedure, strategy = kbgan(pretrain=0.5, variant="released")
    step(procedure, 0, 2)
    before = strategy.learner
    procedure.start_epoch(1)
    assert strategy.learner is before
    procedure.start_epoch(2)
    assert strategy.learner is not before
    assert not strategy.learner.optimiser.state


def test_the_weight_decay_of_the_generator_is_that_of_adam() -> None:
    learned = []
    for decay in (0.0, 0.3):
        procedure, strategy = kbgan(pretrain=0.5, weight_decay=decay)
        reference = [p.detach().clone().requires_grad_() for p in strategy.generator.parameters()]
        adam = torch.optim.Adam(reference, lr=5e-2, weight_decay=decay)
        learn = strategy.learner.step

        def watched(
            loss: Tensor, strategy: Any = strategy, reference: Any = reference, learn: Any = learn
        ) -> None:
            parameters = list(strategy.generator.parameters())
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            for parameter, gradient in zip(reference, gradients, strict=True):
                parameter.grad = gradient
            learn(loss)

        strategy.learner.step = watched
        for _ in range(3):
            step(procedure, 0, 1)
            adam.step()
        for ours, right in zip(strategy.generator.parameters(), reference, strict=True):
            torch.testing.assert_close(ours, right)
        learned.append(reference[0].detach())
    assert not torch.equal(*learned)


def test_picks_follow_the_generator_also_where_they_are_more_than_its_pool() -> None:
    procedure, strategy = kbgan(pretrain=0.0, pool=3)
    procedure.start_epoch(0)
    drawn = procedure.loss.sampler.sample(graph().train, torch.Generator())  # type: ignore[attr-defined]
    with torch.no_grad():
        strategy.generator.entity.mul_(30)
        likeliest = strategy._logits(graph().train, drawn)[1].argmax(1)
    picked = strategy.choose(graph().train, drawn).candidates
    best = drawn.candidates.gather(1, likeliest[:, None])
    assert picked.shape == (N * R, COUNT)
    assert (picked == best).float().mean() > 0.5
    assert set(picked[0].tolist()) <= set(drawn.candidates[0, :3].tolist())


def test_a_batch_of_one_positive_and_one_negative_leaves_the_generator_finite() -> None:
    procedure, strategy = kbgan(pretrain=0.0)
    strategy.context = dataclasses.replace(strategy.context, count=1)
    procedure.start_epoch(0)
    procedure.step(graph().train[:1], torch.Generator().manual_seed(0))
    assert all(bool(p.isfinite().all()) for p in strategy.generator.parameters())


@pytest.mark.parametrize("generator", ["lookup", "mocme"])
def test_a_generator_reads_no_features_and_learns(generator: str) -> None:
    with pytest.raises(ConfigError, match="is no model of structure alone"):
        kbgan(generator=generator)


def test_picks_are_of_the_pool_and_of_one_side() -> None:
    procedure, strategy = kbgan(pretrain=0.0, pool=9)
    procedure.start_epoch(0)
    drawn = procedure.loss.sampler.sample(graph().train, torch.Generator())  # type: ignore[attr-defined]
    assert drawn.candidates.shape == (N * R, 9)
    picked = strategy.choose(graph().train, drawn)
    assert picked.candidates.shape == (N * R, COUNT)
    assert set(picked.tails.tolist()) == {0, COUNT}
    for pool, picks in zip(drawn.candidates.tolist(), picked.candidates.tolist(), strict=True):
        assert set(picks) <= set(pool)


# --- MMRNS --------------------------------------------------------------------------------


def features() -> dict[str, Modality]:
    """A text that the even entities share, another that the odd ones share, and a random image."""
    generator = torch.Generator().manual_seed(2)
    text = torch.eye(2)[torch.arange(N) % 2]
    present = torch.ones(N, dtype=torch.bool)
    present[20:] = False
    image = torch.randn(N, 5, generator=generator) * present[:, None]
    return {
        "text": Modality("text", text, torch.ones(N, dtype=torch.bool)),
        "image": Modality("image", image, present),
    }


def mmrns(*, precision: str = "fp32", **options: Any) -> tuple[StandardProcedure, Any]:
    model = build_model("rotate", {"dim": D}, graph(), {}, seed=0)
    spec = spec_of("mmrns", **{"pool": 4 * N, **options})
    training = spec.training.model_copy(update={"precision": precision})
    spec = spec.model_copy(update={"training": training})
    procedure = StandardProcedure(model, graph(), spec, torch.device("cpu"), modalities=features())
    procedure.start_epoch(0)
    return procedure, procedure.loss.strategy  # type: ignore[attr-defined]


def test_negatives_resemble_the_answer_the_more_the_longer_it_trains() -> None:
    procedure, strategy = mmrns(temperature=0.2)
    positives = graph().train
    shares = []
    for steps in (0, 10**6):
        strategy.steps, alike, drawn = steps, 0, 0
        for _ in range(5):
            sides = procedure.loss.sampler.sample(positives, torch.Generator())  # type: ignore[attr-defined]
            negatives = strategy.choose(positives, sides)
            answer = torch.where(negatives.tails > 0, positives[:, 2], positives[:, 0])
            alike += int(((negatives.candidates - answer[:, None]) % 2 == 0).sum())
            drawn += negatives.candidates.numel()
        shares.append(alike / drawn)
    assert 0.5 < shares[0] < shares[1]


def drawn(strategy: Any, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the pool that were drawn for tails [B, COUNT], and who is known."""
    tails = Negatives(torch.zeros(len(batch), 1, dtype=torch.long), torch.ones(len(batch)).long())
    strategy.choose(batch, tails)
    _, true, picks = strategy._drawn
    return picks, true


def test_the_first_that_is_drawn_has_the_probability_of_its_weight() -> None:
    _, strategy = mmrns(temperature=2.0)
    batch = graph().train[:1].repeat(6000, 1)
    cosines = 4 * torch.randn(2, N, generator=torch.Generator().manual_seed(5))
    strategy._cosines = lambda answer, *_: [c.expand(len(answer), -1) for c in cosines]
    picks, true = drawn(strategy, batch)
    weights = (cosines / 2.0).softmax(1).sum(0) * ~true[0]
    shares = torch.bincount(picks[:, 0], minlength=N) / len(batch)
    torch.testing.assert_close(shares, weights / weights.sum(), rtol=0, atol=0.025)


def test_where_too_few_are_free_the_likeliest_of_them_stand_in() -> None:
    _, strategy = mmrns()
    free = {3, 8}
    tails = torch.tensor([t for t in range(N) if t not in free])
    full = torch.stack([torch.zeros_like(tails), torch.zeros_like(tails), tails], 1)
    strategy.train_filter = GraphIndex(N, R, full, "d").train_filter
    picks, true = drawn(strategy, full[:1].repeat(50, 1))
    assert true.sum(1).eq(N - len(free)).all()
    assert not true.gather(1, picks).any()
    assert all(len(set(row)) == len(free) for row in picks.tolist())


def test_structural_cosines_are_of_vectors_as_the_relation_of_each_query_sees_them() -> None:
    _, strategy = mmrns()
    net = strategy.attention
    with torch.no_grad():
        net.gate.bias.normal_()
    answer, relation = torch.tensor([4, 9, 2, 7, 4]), torch.tensor([1, 0, 1, 0, 0])
    pool = torch.arange(N).flip(0)

    def seen(entities: Tensor, r: Tensor) -> Tensor:
        x = strategy._structure(entities)
        layer = torch.nn.functional.leaky_relu(
            net.of_entity(x) + net.of_relation(net.relation[r]), 0.1
        )
        return x * net.gate(layer).sigmoid()

    expected = torch.cat(
        [
            torch.cosine_similarity(seen(a[None], r), seen(pool, r))[None]
            for a, r in zip(answer, relation, strict=True)
        ]
    )
    found = strategy._cosines(answer, relation, pool)[-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    parameters = [net.gate.weight, net.gate.bias, net.relation, net.of_relation.weight]
    parameters += [*net.of_entity.parameters()]
    slope = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    for ours, right in zip(
        torch.autograd.grad(found, parameters, slope),
        torch.autograd.grad(expected, parameters, slope),
        strict=True,
    ):
        torch.testing.assert_close(ours, right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_cosines_do_not_depend_on_the_relations_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    _, strategy = mmrns()
    given = torch.tensor([4, 9, 2]), torch.tensor([1, 0, 1]), torch.arange(N)
    expected = strategy._cosines(*given)[-1]
    monkeypatch.setattr("models.mmrns.GATES_AT_ONCE", at_once)
    torch.testing.assert_close(strategy._cosines(*given)[-1], expected)


def test_cosines_in_bfloat16_are_near_those_in_float32() -> None:
    batch = graph().train[:5]
    tails = Negatives(torch.zeros(5, 1, dtype=torch.long), torch.ones(5).long())
    cosines = []
    for precision in ("fp32", "bf16"):
        _, strategy = mmrns(precision=precision)
        strategy.choose(batch, tails)
        cosines.append(strategy._drawn[0])
    for exact, rounded in zip(*cosines, strict=True):
        assert rounded.dtype == torch.float32
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


def test_who_lacks_a_modality_is_compared_without_it() -> None:
    _, strategy = mmrns()
    answer, pool = torch.tensor([0, 21]), torch.arange(N)
    image = strategy._cosines(answer, torch.tensor([0, 1]), pool)[0]
    assert (image[:, 20:] == 0).all()
    assert (image[1] == 0).all()
    assert (image[0, :20] != 0).all()


def test_released_vectors_of_a_modality_are_those_of_the_code() -> None:
    _, strategy = mmrns(variant="released")
    net = strategy.attention
    with torch.no_grad():
        net.norms[0].weight.normal_()
        net.norms[0].bias.normal_()
    assert len(net.norms) == 1
    entities = torch.tensor([3, 21, 7])  # 21 has no image: zeros
    for positive in (True, False):
        found = net.modalities(entities, positive=positive)
        for place, (vectors, has) in enumerate(found):
            matrix = list(features().values())[1 - place].matrix  # sorted by name
            x = matrix[entities] @ net.first[place].weight.T + net.first[place].bias
            x = torch.nn.functional.leaky_relu(x, 0.1)
            normed = torch.nn.functional.layer_norm(
                x, (50,), net.norms[0].weight, net.norms[0].bias
            )
            total = normed + (x if positive and net.names[place] == "image" else normed)
            made = net.last[place](total)
            right = made / made.norm(dim=1, keepdim=True)
            torch.testing.assert_close(vectors, right, rtol=1e-4, atol=1e-5)
            assert has.all()


def test_released_attention_sees_the_relations_of_the_model_and_starts_as_the_code() -> None:
    procedure, strategy = mmrns(variant="released", hidden=400)
    net, relation = strategy.attention, procedure.model.relation
    with torch.no_grad():
        relation.normal_()  # it follows the model
    ids = torch.tensor([1, 0])
    torch.testing.assert_close(net.relation_terms(ids), relation[ids] @ net.of_relation.weight.T)
    assert "relation" not in dict(net.named_parameters())
    joint = math.sqrt(2 / (2 * D + D + 400))
    for layer, spread in ((net.of_entity, joint), (net.of_relation, joint), (net.gate, None)):
        rows, columns = layer.weight.shape
        right = math.sqrt(2 / (rows + columns)) if spread is None else spread
        assert float(layer.weight.detach().std()) == pytest.approx(right, rel=0.1)
    net.relation_terms(ids).sum().backward()
    assert relation.grad is None


def test_the_released_attention_needs_a_table_of_relations() -> None:
    spec = spec_of("mmrns", pool=4 * N, variant="released")
    with pytest.raises(ConfigError, match="no table of relation vectors"):
        loss_of(TwoTables(), spec)


def test_the_structure_of_a_model_of_parts_is_its_first() -> None:
    model = build_model("native", {"dim": D}, graph(), features(), seed=0)
    spec = spec_of("mmrns", pool=4 * N)
    procedure = StandardProcedure(model, graph(), spec, torch.device("cpu"), modalities=features())
    strategy = procedure.loss.strategy  # type: ignore[attr-defined]
    assert torch.equal(strategy._structure(torch.arange(N)), model.state_dict()["entity"])
    assert model.training


def test_more_negatives_than_half_a_pool_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes at most half of its pool of 8"):
        mmrns(pool=8)


def test_no_known_answer_is_drawn_and_a_place_of_the_pool_once() -> None:
    procedure, strategy = mmrns()
    positives = graph().train
    sides = procedure.loss.sampler.sample(positives, torch.Generator())  # type: ignore[attr-defined]
    negatives = strategy.choose(positives, sides)
    known = {tuple(row) for row in positives.tolist()}
    for (h, r, t), row, k in zip(
        positives.tolist(), negatives.candidates.tolist(), negatives.tails.tolist(), strict=True
    ):
        assert not any(((h, r, c) if k else (c, r, t)) in known for c in row)
    _, _, picks = strategy._drawn
    assert all(len(set(row)) == len(row) for row in picks.tolist())


def test_drawn_negatives_weigh_in_the_contrast_by_what_the_model_thinks_of_them() -> None:
    procedure, strategy = mmrns(adversarial=0.7, weight=0.3)
    batch, generator = graph().train[:16], torch.Generator().manual_seed(3)
    sides = procedure.loss.sampler.sample(batch, generator)  # type: ignore[attr-defined]
    negatives = strategy.choose(batch, sides)
    cosines, true, picks = strategy._drawn
    assert true.any()
    # High where the structures are alike: what the weights are then shows in the sums.
    scores = 4 * cosines[-1].detach().gather(1, picks)

    weights = np.full(true.shape, 1 / true.shape[1])
    for row, drawn, s in zip(weights, picks.tolist(), scores.double().numpy(), strict=True):
        row[drawn] *= np.exp(0.7 * s) / np.exp(0.7 * s).sum()
    expected = 0.0
    for cosine in cosines:
        mass = weights * np.exp(cosine.detach().double().numpy())
        expected -= 0.3 / 3 * np.log(mass[true.numpy()].sum() / mass[~true.numpy()].sum())

    lowered: list[Tensor] = []
    strategy.learner.step = lowered.append
    strategy.learn(batch, negatives, scores)
    assert [float(loss.detach()) for loss in lowered] == pytest.approx([expected], rel=1e-5)


def test_the_attention_learns_that_true_answers_are_alike() -> None:
    procedure, strategy = mmrns(lr=1e-2, weight=1.0)
    positives, losses = graph().train, []
    for _ in range(40):
        procedure.loss(positives, torch.Generator().manual_seed(0))
        seen, true, _ = strategy._drawn
        cosines = [cosine.detach() for cosine in seen]
        losses.append(sum(float((c.exp() * ~true).sum() / (c.exp() * true).sum()) for c in cosines))
        procedure.loss.after_step()
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


def test_a_structural_model_keeps_the_features_that_its_strategy_looks_at(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ndatasets: [{dataset: synthetic, features: all}]\nrows:\n  - rotate\n"
        "  - {model: rotate, label: MMRNS, set: {negatives.strategy: {name: mmrns}}}\n"
    )
    plan = expand(read_suite(path))
    kept = {run.label: run.spec.data.features for run in plan.runs}
    assert kept == {"RotatE": "none", "MMRNS": "all"}


# --- runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("kbgan", {"pretrain": 0.5}),
        ("kbgan", {"pretrain": 0.5, "variant": "released", "weight_decay": 0.1}),
        ("kbgan", {"pretrain": 0.75, "variant": "released"}),  # stopped where the models meet
        ("mans", {}),
        ("mans", {"variant": "released"}),
        ("mmrns", {"pool": 64}),
        ("mmrns", {"pool": 64, "variant": "released"}),
    ],
)
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    tmp_path: Path, strategy: str, options: Mapping[str, Any]
) -> None:
    def run(folder: Path, *epochs: int) -> Model:
        for last in epochs:
            spec = spec_of(strategy, **options)
            model = build_model("rotate", {"dim": D}, graph(), {}, seed=0)
            procedure = StandardProcedure(
                model, graph(), spec, torch.device("cpu"), modalities=features()
            )
            training = spec.training.model_copy(update={"epochs": last})
            fit(
                model, procedure, training, CheckpointFolder(folder),
                lambda: {"mrr": 0.0}, seed=0, dataset="d",
            )  # fmt: skip
        return model

    whole, parts = run(tmp_path / "whole", 4), run(tmp_path / "parts", 3, 4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def built(**values: object) -> RunSpec:
    layers = [Setting(tuple(k.split(".")), v, f"x.yaml:1: {k}", True) for k, v in values.items()]
    return build_spec(layers, name="rotate", model=MODELS.get("rotate"), dataset="x", seed=0)


def test_options_of_strategies_are_checked_and_defaults_make_no_other_run() -> None:
    name = {"negatives.strategy.name": "kbgan"}
    assert built(**name, **{"negatives.strategy.pool": 20}) == built(**name)
    assert built(**name, **{"negatives.strategy.pool": 30}) != built(**name)
    again = RunSpec.model_validate(built(**name).model_dump(mode="json"))
    assert again.negatives.strategy.name == "kbgan"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"negatives.strategy.name": "kbgna"}, "unknown strategy 'kbgna'; did you mean 'kbgan'"),
        (
            {"negatives.strategy.name": "kbgan", "negatives.strategy.pol": 3},
            "strategy 'kbgan': unknown key; did you mean 'pool'",
        ),
        ({"negatives.strategy.pool": 3}, "options go with negatives.strategy.name"),
        ({"negatives.strategy": "kbgan"}, "needs a mapping with a name"),
    ],
)
def test_what_is_wrong_with_a_strategy_is_said_with_its_line(
    values: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        built(**values)
    assert str(caught.value).startswith("x.yaml:1: negatives.strategy")


def test_strategies_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.models import show

    for name in STRATEGIES:
        show(name)
        text = capsys.readouterr().out
        assert f"{name}: a negative sampling strategy" in text
        if name != "twins":
            assert "variant = \"paper\"  one of ['paper', 'released']" in text
    with pytest.raises(ConfigError, match="did you mean 'kbgan'"):
        show("kbgam")
