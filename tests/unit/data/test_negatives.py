"""Samplers of negatives."""

from __future__ import annotations

import pytest
import torch

from harness.data.negatives import CorruptionSampler, bernoulli_tail_shares
from harness.index import GraphIndex

# Relation 0: one head, four tails (1-n). Relation 1: four heads, one tail. Relation 2: no triples.
TRAIN = torch.tensor([[0, 0, t] for t in range(1, 5)] + [[h, 1, 5] for h in range(1, 5)])
INDEX = GraphIndex(n_entities=9, n_relations=3, train=TRAIN)


def draw(count: int = 64, **options: str | int) -> tuple[torch.Tensor, torch.Tensor]:
    settings = {"sampler": "uniform", "filter": "train", **options}
    sampler = CorruptionSampler.build(INDEX, count=count, **settings)  # type: ignore[arg-type]
    drawn = sampler.sample(TRAIN, torch.Generator().manual_seed(0))
    return drawn.candidates, drawn.tails


@pytest.mark.parametrize("sampler", ["uniform", "bernoulli", "shared"])
def test_no_filtered_negative_is_a_training_triple(sampler: str) -> None:
    candidates, tails = draw(count=500, sampler=sampler)
    known = {tuple(row) for row in TRAIN.tolist()}
    for (h, r, t), row, k in zip(TRAIN.tolist(), candidates.tolist(), tails.tolist(), strict=True):
        assert not any((h, r, c) in known for c in row[:k])
        assert not any((c, r, t) in known for c in row[k:])


def test_unfiltered_negatives_reach_every_entity() -> None:
    candidates, _ = draw(count=500, filter="none")
    assert set(candidates.flatten().tolist()) == set(range(9))


def test_bernoulli_replaces_the_side_with_many_answers_less_often() -> None:
    # Relation 0 has four tails per head: 1 head per tail, so P(tail) = 1 / (1 + 4).
    assert bernoulli_tail_shares(INDEX).tolist() == pytest.approx([0.2, 0.8, 0.5])
    _, tails = draw(count=2000, sampler="bernoulli")
    assert tails[0].item() / 2000 == pytest.approx(0.2, abs=0.03)
    assert tails[4].item() / 2000 == pytest.approx(0.8, abs=0.03)


def test_duplicate_triples_do_not_change_the_shares() -> None:
    doubled = GraphIndex(9, 3, torch.cat([TRAIN, TRAIN[:3]]))
    assert torch.equal(bernoulli_tail_shares(doubled), bernoulli_tail_shares(INDEX))


def test_the_same_generator_state_draws_the_same_negatives() -> None:
    assert torch.equal(draw()[0], draw()[0])


def test_shared_negatives_are_the_same_for_so_many_positives() -> None:
    candidates, _ = draw(sampler="shared", share=3, filter="none")
    assert torch.equal(candidates[0], candidates[2])
    assert not torch.equal(candidates[2], candidates[3])
    assert torch.equal(candidates[6], candidates[7]), "the last may be fewer"


def test_shared_negatives_differ_only_where_they_would_make_a_known_triple() -> None:
    shared, _ = draw(count=500, sampler="shared", share=8, filter="none")
    filtered, tails = draw(count=500, sampler="shared", share=8)
    known = {tuple(row) for row in TRAIN.tolist()}
    for i, (h, r, t) in enumerate(TRAIN.tolist()):
        for j, entity in enumerate(shared[i].tolist()):
            makes_known = ((h, r, entity) if j < int(tails[i]) else (entity, r, t)) in known
            assert makes_known == (int(filtered[i, j]) != entity)
