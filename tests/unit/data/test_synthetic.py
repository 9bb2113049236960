"""The planted signal is where it was planted, and nowhere else."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.data.card import DATASETS
from harness.data.graph import KnowledgeGraph
from harness.data.load import load_dataset, source
from harness.data.synthetic import PlantedModality, SyntheticConfig, generate, imitate
from harness.errors import ConfigError

CONFIG = SyntheticConfig()


def _relation_ids(graph: KnowledgeGraph, of: str) -> list[int]:
    return [i for i, name in enumerate(graph.relations) if name.startswith(f"{of}_")]


def _percentile(graph: KnowledgeGraph, features: Tensor, present: Tensor, relation: int) -> float:
    """Median rank of the test tails, as a share of the candidates, 0.5 for chance.

    A linear map from the head's features to the tail's is fitted on train; candidates are ordered
    by their distance to the mapped head.
    """

    def pairs(split: str) -> tuple[Tensor, Tensor]:
        triples = graph.splits[split]
        head, _, tail = triples[triples[:, 1] == relation].T
        both = present[head] & present[tail]
        return head[both], tail[both]

    head, tail = pairs("train")
    mapping = torch.linalg.lstsq(features[head], features[tail]).solution
    head, tail = pairs("test")
    distance = torch.cdist(features[head] @ mapping, features[present])
    true = (features[head] @ mapping - features[tail]).norm(dim=1, keepdim=True)
    return float((distance < true - 1e-4).double().mean(1).median())


@pytest.mark.parametrize("modality", ["text", "image", "numeric"])
def test_a_modality_predicts_its_relation_and_no_other(modality: str) -> None:
    graph, features = generate(CONFIG)
    table = features.tables[modality]
    for relation, name in enumerate(graph.relations):
        rank = _percentile(graph, table.matrix, table.present, relation)
        if name.startswith(modality):
            assert rank < 0.08, name
        else:
            assert rank > 0.25, name


def test_a_noise_modality_predicts_nothing() -> None:
    graph, features = generate(CONFIG)
    table = features.tables["video"]
    assert not _relation_ids(graph, "video")
    ranks = [_percentile(graph, table.matrix, table.present, r) for r in range(graph.n_relations)]
    assert min(ranks) > 0.25


def test_more_noise_hides_the_signal() -> None:
    def rank(noise: float) -> float:
        plan = PlantedModality(name="text", coverage=1.0, noise=noise)
        graph, features = generate(CONFIG.model_copy(update={"modalities": (plan,)}))
        table = features.tables["text"]
        return _percentile(graph, table.matrix, table.present, _relation_ids(graph, "text")[0])

    assert rank(0.1) < rank(3.0) < rank(100.0)


def test_no_relation_is_symmetric_or_the_inverse_of_another() -> None:
    graph, _ = generate(CONFIG)
    pairs: list[set[tuple[int, int]]] = [set() for _ in graph.relations]
    for head, relation, tail in torch.cat(list(graph.splits.values())).tolist():
        pairs[relation].add((head, tail))
    for forward in pairs:
        for other in pairs:
            turned = {(tail, head) for head, tail in other}
            assert len(forward & turned) < 0.2 * len(forward)


def _rotate_ranker(graph: KnowledgeGraph, epochs: int = 12, d: int = 16) -> tuple[Tensor, Tensor]:
    """Entities [N, d] and relations [R, d], complex, trained as RotatE with uniform negatives."""
    generator = torch.Generator().manual_seed(0)
    n, margin = graph.n_entities, 4.0
    parts = torch.randn(n, d, 2, generator=generator).mul_(0.1).requires_grad_()
    phase = torch.rand(graph.n_relations, d, generator=generator).mul_(2 * math.pi)
    optimiser = torch.optim.Adam([parts, phase.requires_grad_()], lr=0.03)
    train = graph.splits["train"]
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train), generator=generator)].split(512):
            entities, turn = (
                torch.view_as_complex(parts),
                torch.polar(torch.ones_like(phase), phase),
            )
            head, relation, tail = batch.T
            wrong = entities[torch.randint(n, (len(batch), 16), generator=generator)]
            query = entities[head] * turn[relation]
            good = margin - (query - entities[tail]).abs().sum(1)
            bad = margin - (query[:, None] - wrong).abs().sum(2)
            weight = torch.softmax(2 * bad.detach(), 1)
            loss = -(logsigmoid(good) + (weight * logsigmoid(-bad)).sum(1)).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    entities, turn = torch.view_as_complex(parts), torch.polar(torch.ones_like(phase), phase)
    return entities.detach(), turn.detach()


def _tail_mrr(graph: KnowledgeGraph, triples: Tensor, scores: Tensor) -> float:
    """Filtered MRR of tails; ties count half."""
    offsets, ids = graph.filter_index().lookup(triples[:, 0], triples[:, 1], "tail")
    true = scores.gather(1, triples[:, 2:]).clone()
    scores[torch.repeat_interleave(offsets.diff()), ids] = -math.inf
    rank = 1 + (scores > true).sum(1) + (scores == true).sum(1) / 2
    return float((1 / rank).mean())


def test_rotate_learns_the_default_graph_far_better_than_popularity() -> None:
    graph, _ = generate(CONFIG)
    test = graph.splits["test"]
    warm = test[graph.index.seen_entities[test[:, [0, 2]]].all(1)]
    entities, turn = _rotate_ranker(graph)
    query = entities[warm[:, 0]] * turn[warm[:, 1]]
    rotate = _tail_mrr(graph, warm, -(query[:, None] - entities).abs().sum(2))
    train = graph.splits["train"]
    counts = torch.zeros(graph.n_relations, graph.n_entities)
    counts.index_put_((train[:, 1], train[:, 2]), torch.ones(len(train)), accumulate=True)
    popularity = _tail_mrr(graph, warm, counts[warm[:, 1]])
    assert rotate > 3 * popularity


def test_the_default_is_registered_with_its_feature_sets() -> None:
    dataset = load_dataset("synthetic", "all")
    assert dataset.graph.name == dataset.card.name == "synthetic"
    assert list(dataset.features.tables) == ["text", "image", "numeric", "audio", "video"]
    assert source("synthetic").modalities("all") == tuple(dataset.features.tables)
    assert source("synthetic").modalities("none") == ()
    assert load_dataset("synthetic").features.tables == {}
    with pytest.raises(ConfigError, match="did you mean 'all'"):
        load_dataset("synthetic", "al")


def test_settings_are_written_after_a_colon() -> None:
    name = "synthetic:entities=120,train=900,seed=3"
    dataset = load_dataset(name.upper(), "all", ["text"])
    assert dataset.graph.name == dataset.card.name == name
    assert dataset.graph.n_entities == 120
    assert len(dataset.graph.splits["train"]) == 900
    assert (
        load_dataset("synthetic:entities=120,train=900,seed=4").graph.digest != dataset.graph.digest
    )


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("entitis=9", "no setting 'entitis'; did you mean 'entities'"),
        ("entities=many", "entities.*valid integer"),
        ("entities=-20", "^dataset 'synthetic:entities=-20': entities: input should be greater"),
        ("train=5", "train: 5 triples for 270 entities"),
        ("train=10000000", "too dense"),
        ("mkg-x", "no published dataset 'mkg-x' to imitate; did you mean 'mkg-"),
        ("name=x", "no setting 'name'"),
        ("entities=300,entities=400", "=400': 'entities' is given twice"),
        ("mkg-w,signal", "imitates one dataset at most"),
        ("", "no published dataset ''"),
    ],
)
def test_wrong_variants_are_explained(variant: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        source(f"synthetic:{variant}")


def test_other_datasets_have_no_variants() -> None:
    with pytest.raises(ConfigError, match="'mkg-w' has no variants"):
        source("mkg-w:seed=1")


@pytest.mark.parametrize("name", ["mkg-w", "mkg-y", "db15k", "tiva", "kvc16k"])
def test_published_sizes_and_coverage_can_be_imitated(name: str) -> None:
    graph, features = generate(source(f"synthetic:{name},seed=1").config)  # type: ignore[attr-defined]
    card = DATASETS.get(name).card
    sizes = {k: len(v) for k, v in graph.splits.items()}
    sizes |= {"entities": graph.n_entities, "relations": graph.n_relations}
    assert sizes == {k: card.counts[k] for k in sizes}
    coverage = {k: int(t.present.sum()) for k, t in features.tables.items()}
    assert coverage == {k: v for k, v in card.modality_counts.items() if v}
    assert 0 < graph.n_entities - int(graph.index.seen_entities.sum()) < 0.05 * graph.n_entities


def test_an_imitation_without_modalities_is_structural() -> None:
    counts = {"entities": 100, "relations": 4, "train": 600, "valid": 50, "test": 50}
    graph, features = generate(imitate("plain", counts, {}))
    assert all(name.startswith("structure_") for name in graph.relations)
    assert features.tables == {}


def test_impossible_configurations_are_refused() -> None:
    text = PlantedModality(name="text", relations=9)
    with pytest.raises(ValidationError, match="more relations than there are"):
        SyntheticConfig(modalities=(text,))
    with pytest.raises(ValidationError, match="occurs twice"):
        SyntheticConfig(modalities=(PlantedModality(name="a"), PlantedModality(name="a")))
