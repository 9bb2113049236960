"""Names of feature tables, and their share in the identity of a run."""

from __future__ import annotations

import pytest
import torch

from harness.data.features import FeatureTable
from harness.errors import DataError


def _table(value: float, **provenance: str) -> FeatureTable:
    return FeatureTable("text", torch.full((2, 3), value), torch.ones(2).bool(), provenance)


def test_files_are_identified_by_their_values() -> None:
    assert _table(1.0).digest == _table(1.0, file="elsewhere.npy").digest
    assert _table(1.0).digest != _table(1.0 + 1e-6).digest


def test_encoded_features_are_identified_by_what_they_were_computed_from() -> None:
    assert _table(1.0, identity="a").digest == _table(1.0 + 1e-6, identity="a").digest
    assert _table(1.0, identity="a").digest != _table(1.0, identity="b").digest
    assert _table(1.0, identity="a").digest != _table(1.0).digest


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("img.vgg", "img_vgg"),
        ("Image CLIP", "image_clip"),
        ("3d", "modality_3d"),
        ("", "modality"),
        ("structure", "structure_features"),
        ("fused", "fused_features"),
        ("keys", "keys_features"),
    ],
)
def test_names_that_some_models_cannot_use_are_refused_with_a_valid_one(
    name: str, valid: str
) -> None:
    def table(name: str) -> FeatureTable:
        return FeatureTable(name, torch.ones(2, 3), torch.ones(2).bool())

    with pytest.raises(DataError, match=f"modality '{name}': .* for example '{valid}'"):
        table(name)
    assert table(valid).name == valid


@pytest.mark.parametrize("name", ["text", "image", "numeric", "audio", "video", "numeric_2"])
def test_names_of_the_feature_sets_are_valid(name: str) -> None:
    assert FeatureTable(name, torch.ones(2, 3), torch.ones(2).bool()).name == name
