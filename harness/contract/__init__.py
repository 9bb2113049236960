"""The contract: what every model must do, as checks with a name and a demand each.

``harness models check`` runs them on a user's file, ``tests/contract/test_models.py`` on every
registered model. A check is run on a graph of a few entities (``subject``); a model that need not
pass one says so, with the reason, in its ``trial``.
"""

from __future__ import annotations

from harness.contract.checking import load_subjects
from harness.contract.core import Broken, Check, NotApplicable, Result, examine
from harness.contract.declaring import declared, described, needs_said
from harness.contract.features import (
    features_count,
    fusion_weights,
    mask,
    other_features,
    structure_alone,
)
from harness.contract.scoring import batch_size, numbering, ranks, shapes, some_rows, views
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
    needs_said,
    shapes,
    batch_size,
    views,
    some_rows,
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
"""In the order in which they are run: the causes before what follows from them."""
