"""What stands for a feature table in the identity of a run."""

from __future__ import annotations

import torch

from harness.data.features import FeatureTable


def _table(value: float, **provenance: str) -> FeatureTable:
    return FeatureTable("text", torch.full((2, 3), value), torch.ones(2).bool(), provenance)


def test_files_are_identified_by_their_values() -> None:
    assert _table(1.0).digest == _table(1.0, file="elsewhere.npy").digest
    assert _table(1.0).digest != _table(1.0 + 1e-6).digest


def test_encoded_features_are_identified_by_what_they_were_computed_from() -> None:
    assert _table(1.0, identity="a").digest == _table(1.0 + 1e-6, identity="a").digest
    assert _table(1.0, identity="a").digest != _table(1.0, identity="b").digest
    assert _table(1.0, identity="a").digest != _table(1.0).digest
