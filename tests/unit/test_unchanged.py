"""A run meets the data that it was trained with, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from harness.catalog import load_models
from harness.data.features import FeatureSet, FeatureTable
from harness.data.load import Dataset, source
from harness.errors import ChangedDataError
from harness.store.records import RunRecord
from harness.unchanged import require_unchanged
from tests.toys import toy_graph

MakeRecord = Callable[..., RunRecord]
Triples = Sequence[tuple[str, str, str]]

TRAIN = [("a", "r", "b"), ("b", "s", "c"), ("c", "r", "a")]


def dataset(
    train: Triples = TRAIN,
    entities: str = "abc",
    relations: str = "rs",
    features: float | None = None,
) -> Dataset:
    def ids(triples: Triples) -> list[tuple[int, int, int]]:
        return [(entities.index(h), relations.index(r), entities.index(t)) for h, r, t in triples]

    splits = ids(train), ids(TRAIN[:1]), ids(TRAIN[1:2])
    graph = toy_graph(*splits, entities=entities, relations=relations)
    if features is None:
        return Dataset(graph, FeatureSet(), source("atlas").card)
    n = len(entities)
    table = FeatureTable("image", torch.full((n, 2), features), torch.ones(n, dtype=torch.bool))
    return Dataset(graph, FeatureSet("files", {"image": table}), source("atlas").card)


@pytest.fixture
def record_on(make_record: MakeRecord) -> Callable[[Dataset], RunRecord]:
    load_models()

    def record(data: Dataset) -> RunRecord:
        return make_record(
            "aaaa",
            features="files",
            dataset_digest=data.graph.digest,
            feature_digest=data.features.digest,
            provenance={"data": data.graph.digests},
        )

    return record


RecordOn = Callable[[Dataset], RunRecord]

CHANGES = {
    "triples differ": dataset([*TRAIN, ("c", "s", "a")]),
    "triples differ ": dataset(TRAIN, entities="abcd"),
    "entity order differs": dataset(entities="cba"),
    "relation order differs": dataset(relations="sr"),
    "the order of the triples differs": dataset(TRAIN[::-1]),
}


def test_the_data_of_the_training_pass(record_on: RecordOn) -> None:
    require_unchanged(record_on(dataset()), dataset())
    require_unchanged(record_on(dataset(features=1.0)), dataset(features=1.0))


@pytest.mark.parametrize("change", CHANGES)
def test_another_graph_is_refused_with_what_differs(record_on: RecordOn, change: str) -> None:
    with pytest.raises(ChangedDataError) as refused:
        require_unchanged(record_on(dataset()), CHANGES[change])
    said = f"run aaaa: the data here are not those of the run: atlas: {change.strip()}; "
    assert str(refused.value).startswith(said)
    assert "`harness runs show aaaa`" in str(refused.value)
    assert refused.value.exit_code == 3


def test_other_features_are_refused(record_on: RecordOn) -> None:
    with pytest.raises(ChangedDataError, match=r"features differ \('files'\)"):
        require_unchanged(record_on(dataset(features=1.0)), dataset(features=2.0))


def test_a_run_of_an_earlier_version_is_refused_without_details(record_on: RecordOn) -> None:
    old = record_on(dataset()).model_copy(update={"provenance": {}})
    require_unchanged(old, dataset())
    with pytest.raises(
        ChangedDataError, match="triples differ, or their order or the entity order"
    ):
        require_unchanged(old, dataset(entities="cba"))
