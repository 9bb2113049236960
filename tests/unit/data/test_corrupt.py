"""Corrupted features: how much is wrong, for whom, and that the points of a curve share it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.data.corrupt import corrupted
from harness.data.corruption import Corruption, in_training, when_tested
from harness.data.features import FeatureSet, FeatureTable
from harness.data.token_files import table_of
from harness.errors import ConfigError
from harness.plan.spec import DataSpec, RunSpec, changed_values

N = 200
DRAW = torch.Generator().manual_seed(1)
MODALITIES = ("text", "image")


def table(name: str, has: torch.Tensor) -> FeatureTable:
    matrix = torch.randn(N, 3, generator=DRAW) * torch.tensor([1.0, 10.0, 0.0]) * has[:, None]
    return FeatureTable(name, matrix.half(), has, {"identity": "x", "encoder": "e"})


FEATURES = FeatureSet(
    "all", {name: table(name, torch.rand(N, generator=DRAW) < 0.7) for name in MODALITIES}
)


def make(seed: int = 0, **values: Any) -> FeatureSet:
    corruption = Corruption.model_validate(values)
    return corrupted(FEATURES, [corruption], seed=seed, dataset="d")


def owners(features: FeatureSet, name: str = "text") -> set[int]:
    return set(features.tables[name].present.nonzero()[:, 0].tolist())


def changed(features: FeatureSet, name: str = "text") -> set[int]:
    """Entities with another row than before."""
    before, after = (f.tables[name].matrix.float() for f in (FEATURES, features))
    return set((before != after).any(1).nonzero()[:, 0].tolist())


def test_a_share_of_the_entities_loses_the_modality_and_the_mask_says_so() -> None:
    found = make(kind="drop", share=0.4, modality="text").tables["text"]
    before = FEATURES.tables["text"]
    assert int(found.present.sum()) == int(before.present.sum()) - round(
        0.4 * int(before.present.sum())
    )
    assert not found.matrix[~found.present].any()
    assert torch.equal(found.matrix[found.present], before.matrix[found.present])


def test_who_loses_it_at_a_small_share_has_lost_it_at_a_larger_one() -> None:
    kept = [owners(make(kind="drop", share=share)) for share in (0.2, 0.4, 0.6, 0.8, 0.95)]
    for more, fewer in pairwise(kept):
        assert fewer < more


def test_somebody_keeps_a_modality() -> None:
    few = torch.zeros(N, dtype=torch.bool)
    few[:3] = True
    features = FeatureSet("all", {"text": table("text", few)})
    found = corrupted(features, [Corruption(kind="drop", share=0.95)], seed=0, dataset="d")
    assert len(owners(found)) == 1


def test_modalities_lose_other_entities_than_each_other_and_with_other_seeds() -> None:
    found = make(kind="drop", share=0.5)
    both = owners(FEATURES) & owners(FEATURES, "image")
    assert owners(found) & both != owners(found, "image") & both
    assert owners(make(1, kind="drop", share=0.5)) != owners(found)
    assert owners(make(kind="drop", share=0.5)) == owners(found)


def test_what_is_not_named_is_left_alone() -> None:
    found = make(kind="noise", scale=1.0, modality="image")
    assert found.tables["text"] is FEATURES.tables["text"]
    assert list(found.tables) == list(FEATURES.tables)


def test_noise_is_relative_to_the_spread_of_each_component() -> None:
    before, after = FEATURES.tables["text"], make(kind="noise", scale=2.0).tables["text"]
    added = (after.matrix - before.matrix.float())[before.present]
    spread = before.matrix.float()[before.present].std(0, correction=0)
    assert torch.allclose(added.std(0), 2 * spread, rtol=0.2)
    assert not added[:, 2].any()  # a component that is the same for all stays so
    assert not after.matrix[~after.present].any()


def test_noise_of_one_scale_is_a_multiple_of_another() -> None:
    before = FEATURES.tables["text"].matrix.float()
    half, two = (make(kind="noise", scale=s).tables["text"].matrix - before for s in (0.5, 2.0))
    assert torch.allclose(4 * half, two, atol=1e-4)


def test_shuffled_entities_have_the_rows_of_others() -> None:
    before, found = FEATURES.tables["text"], make(kind="shuffle", share=1.0).tables["text"]
    assert changed(make(kind="shuffle", share=1.0)) == owners(FEATURES)
    rows = [t.matrix[t.present].float() for t in (before, found)]
    assert torch.equal(rows[0].sort(0).values, rows[1].sort(0).values)


def test_a_small_share_is_shuffled_among_the_entities_of_a_larger_one() -> None:
    few, many = (changed(make(kind="shuffle", share=s)) for s in (0.2, 0.6))
    assert few < many
    assert len(few) == round(0.2 * len(owners(FEATURES)))


def test_a_modality_is_there_again_under_other_names() -> None:
    found = make(kind="duplicate", modality="text", copies=2)
    assert list(found.tables) == ["text", "image", "text_2", "text_3"]
    assert torch.equal(found.tables["text_3"].matrix, FEATURES.tables["text"].matrix)
    noisy = make(kind="duplicate", modality="text", copies=2, scale=1.0).tables
    assert not torch.equal(noisy["text_2"].matrix, noisy["text_3"].matrix)
    assert noisy["text"] is FEATURES.tables["text"]


TOKENS = FeatureSet(
    "name-tokens",
    {"text": table_of("text", [[i % 5, i % 3] for i in range(20)], torch.randn(5, 2), {})},
)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("drop", {"share": 0.5}), ("shuffle", {"share": 0.5}), ("duplicate", {"copies": 1})],
)
def test_tokens_go_with_the_rows_that_are_their_means(kind: str, values: dict[str, Any]) -> None:
    corruption = Corruption.model_validate({"kind": kind, **values})
    found = corrupted(TOKENS, [corruption], seed=0, dataset="d")
    for table in found.tables.values():
        assert table.tokens is not None
        for row, ids in zip(table.matrix, table.tokens.ids, strict=True):
            assert torch.equal(row.bool().any(), (ids >= 0).any())
            if row.any():
                torch.testing.assert_close(row, table.tokens.codebook[ids].mean(0))
    changed = found.tables["text"].matrix != TOKENS.tables["text"].matrix
    assert changed.any() == (kind != "duplicate")


@pytest.mark.parametrize("kind", [{"kind": "noise"}, {"kind": "duplicate", "copies": 1}])
def test_tokens_take_no_noise(kind: dict[str, Any]) -> None:
    noisy = Corruption.model_validate({**kind, "scale": 0.5})
    with pytest.raises(ConfigError, match=r"made of tokens, which .* take no noise; use drop or"):
        corrupted(TOKENS, [noisy], seed=0, dataset="d")


def test_the_digest_of_what_was_changed_is_another() -> None:
    noisy = make(kind="noise", scale=1.0)
    assert noisy.digest not in (FEATURES.digest, make(1, kind="noise", scale=1.0).digest)


def test_unknown_modalities_and_taken_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no modality 'txt' to corrupt; did you mean 'text'"):
        make(kind="noise", scale=1.0, modality="txt")
    copy = Corruption(kind="duplicate", modality="text", copies=1)
    with pytest.raises(ConfigError, match="'text' cannot be duplicated as 'text_2'"):
        corrupted(FEATURES, [copy, copy], seed=0, dataset="d")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "drop", "share": 0.96}, "at most 0.95"),
        ({"kind": "drop"}, "kind 'drop' needs share"),
        ({"kind": "noise", "scale": 1, "share": 0.5}, "share has no meaning for kind 'noise'"),
        ({"kind": "noise", "scale": -1}, "greater than or equal to 0"),
        ({"kind": "duplicate", "copies": 1, "at": "test"}, "does not go with 'duplicate'"),
    ],
)
def test_settings_that_say_nothing_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Corruption.model_validate(values)


def test_training_and_test_see_what_is_theirs() -> None:
    both, train, test = (
        Corruption.model_validate({"kind": "drop", "share": 0.5, "at": at})
        for at in ("both", "train", "test")
    )
    assert in_training([both, train, test]) == (both, train)
    assert when_tested([both, train, test]) == (both, test)


def spec(*corruptions: dict[str, Any]) -> RunSpec:
    data = {"dataset": "d", "corrupt": corruptions}
    return RunSpec.model_validate({"model": {"name": "mocme"}, "data": data})


def test_a_corruption_of_nothing_is_none() -> None:
    assert spec({"kind": "drop", "share": 0}) == spec()
    assert "corrupt" not in changed_values(spec())["data"]
    assert DataSpec(dataset="d", corrupt=(Corruption(kind="drop", share=0.0),)).corrupt == ()


def test_runs_that_differ_in_the_test_alone_are_trained_as_one() -> None:
    drop = {"kind": "drop", "share": 0.5}
    assert spec(drop | {"at": "test"}).trained_as == spec()
    assert spec(drop | {"at": "train"}).trained_as == spec(drop)
    assert spec(drop).trained_as == spec(drop)
