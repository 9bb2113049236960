"""The model contract: requirements on every model, as checks with a name and a description.

``harness models check`` runs them on a user's file, ``tests/contract/test_models.py`` on every
registered model. A check runs on a graph of a few entities (``subject``); a model that is exempt
from a check gives the reason in its ``contract``.
"""

from __future__ import annotations

from harness.contract.checking import load_subjects
from harness.contract.core import Broken, Check, NotApplicable, Result, examine
from harness.contract.declaring import declared, declared_needs, described
from harness.contract.features import (
    features_count,
    fusion_weights,
    mask,
    other_features,
    structure_alone,
)
from harness.contract.scoring import batch_size, encode_rows, numbering, ranks, shapes, views
from harness.contract.state import deterministic, gradients, resume, save_load, seeds
from harness.contract.subject import Subject
from harness.contract.training import bf16, fixed_sizes, learns

__all__ = [
    "CHECKS",
    "Broken",
    "Check",
    "NotApplicable",
    "Result",
    "Subject",
    "declared",
    "examine",
    "load_subjects",
]

CHECKS: tuple[Check, ...] = (
    declared,
    described,
    declared_needs,
    shapes,
    batch_size,
    views,
    encode_rows,
    numbering,
    ranks,
    seeds,
    gradients,
    deterministic,
    save_load,
    resume,
    mask,
    structure_alone,
    features_count,
    other_features,
    fusion_weights,
    bf16,
    fixed_sizes,
    learns,
)
"""All checks, in the order of execution: causes before their consequences."""
