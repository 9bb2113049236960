"""Laws of generated graphs, for any configuration."""

from __future__ import annotations

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.synthetic import PlantedModality, SyntheticConfig, generate


@st.composite
def configs(draw: st.DrawFn) -> SyntheticConfig:
    entities, relations = draw(st.integers(20, 80)), draw(st.integers(1, 6))
    room = (entities // 2) * relations * ((entities // 2 - 2) // 2) // 2
    spare = max(0, min(300, room - entities - relations - 40))
    train = entities + relations + draw(st.integers(0, spare))
    valid, test = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    # More triples than those that fit the fewest warm entities below are refused.
    warm = entities - round(0.3 * entities)
    assume(train + valid + test <= warm * relations * ((warm - 2) // 2) // 2)
    config = SyntheticConfig(
        seed=draw(st.integers(0, 1000)),
        entities=entities,
        relations=relations,
        train=train,
        valid=valid,
        test=test,
        cold_entities=draw(st.sampled_from([0.0, 0.1, 0.3])),
        cold_triples=draw(st.sampled_from([0.0, 0.25, 1.0])),
        random_triples=draw(st.sampled_from([0.0, 0.2])),
        zipf=draw(st.sampled_from([0.0, 0.5, 2.0])),
        angles=draw(st.integers(1, 3)),
        modalities=(
            PlantedModality(name="text", dim=5, coverage=draw(st.floats(0, 1)), relations=1),
            PlantedModality(name="video", dim=3, coverage=draw(st.floats(0, 1)), relations=0),
        ),
    )
    # More than that is refused: a cold entity has no more triples than the busiest warm one.
    slots = 2 * (config.entities - config.n_warm) * config.relations
    assume(config.n_cold_triples <= slots * config.degree_limit)
    return config


def _keys(graph: KnowledgeGraph, triples: Tensor) -> list[tuple[int, ...]]:
    return [tuple(row) for row in triples.tolist()]


@settings(max_examples=40, deadline=None)
@given(configs())
def test_sizes_are_those_asked_for(config: SyntheticConfig) -> None:
    graph, features = generate(config)
    assert (graph.n_entities, graph.n_relations) == (config.entities, config.relations)
    assert {s: len(graph.splits[s]) for s in SPLITS} == {
        "train": config.train,
        "valid": config.valid,
        "test": config.test,
    }
    for plan in config.modalities:
        table = features.tables[plan.name]
        assert table.matrix.shape == (config.entities, plan.dim)
        assert int(table.present.sum()) == round(plan.coverage * config.entities)


@settings(max_examples=40, deadline=None)
@given(configs())
def test_no_triple_occurs_twice_and_none_is_a_loop(config: SyntheticConfig) -> None:
    graph, _ = generate(config)
    everything = torch.cat([graph.splits[s] for s in SPLITS])
    assert len(set(_keys(graph, everything))) == len(everything)
    assert not bool((everything[:, 0] == everything[:, 2]).any())


@settings(max_examples=40, deadline=None)
@given(configs())
def test_train_shows_every_warm_entity_and_every_relation(config: SyntheticConfig) -> None:
    graph, _ = generate(config)
    assert int(graph.index.seen_entities.sum()) == config.n_warm
    assert len(graph.splits["train"][:, 1].unique()) == config.relations


@settings(max_examples=40, deadline=None)
@given(configs())
def test_cold_triples_have_one_cold_end(config: SyntheticConfig) -> None:
    graph, _ = generate(config)
    held_out = torch.cat([graph.splits["valid"], graph.splits["test"]])
    cold_ends = (~graph.index.seen_entities)[held_out[:, [0, 2]]].sum(1)
    assert int((cold_ends == 1).sum()) == config.n_cold_triples
    assert not bool((cold_ends == 2).any())


@settings(max_examples=15, deadline=None)
@given(configs())
def test_equal_configurations_give_equal_data_and_other_seeds_do_not(
    config: SyntheticConfig,
) -> None:
    first_graph, first = generate(config)
    generate.cache_clear()
    again_graph, again = generate(config)
    assert first_graph.digest == again_graph.digest
    for name, table in first.tables.items():
        assert torch.equal(table.matrix, again.tables[name].matrix)
    other_graph, other = generate(config.model_copy(update={"seed": config.seed + 1}))
    assert other_graph.digest != first_graph.digest
    assert other.digest != first.digest
