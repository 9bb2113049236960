"""Graphs, features, readers, cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.lazy import attach

if TYPE_CHECKING:
    from harness.data.audit_text import AUDIT_FORMATS as AUDIT_FORMATS
    from harness.data.datasets import DatasetDetails as DatasetDetails
    from harness.data.datasets import DatasetListing as DatasetListing
    from harness.data.datasets import audit_datasets as audit_datasets
    from harness.data.datasets import describe_dataset as describe_dataset
    from harness.data.datasets import fetch_dataset as fetch_dataset
    from harness.data.datasets import import_dataset as import_dataset
    from harness.data.datasets import list_datasets as list_datasets
    from harness.data.datasets import verify_datasets as verify_datasets
    from harness.data.load import load_dataset as load_dataset

_NAMES = {
    "harness.data.audit_text": ["AUDIT_FORMATS"],
    "harness.data.datasets": [
        *("DatasetDetails", "DatasetListing", "audit_datasets", "describe_dataset"),
        *("fetch_dataset", "import_dataset", "list_datasets", "verify_datasets"),
    ],
    "harness.data.load": ["Dataset", "load_dataset"],
}
__all__ = sorted(name for names in _NAMES.values() for name in names)
__getattr__, __dir__ = attach(__name__, _NAMES)
