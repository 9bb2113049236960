"""Train, evaluate and compare multi-modal knowledge graph completion models.

The public interface; every name is imported when it is used::

    plan = harness.load_suite("quickstart", {"training.epochs": 20})
    result = harness.run_suite(plan, on_event=print)
    print(result.table)
    run = harness.load_run(result.run_ids[0])
    run.predict(head="Louvre", relation="located in")

Further functions are in ``harness.run`` (dry runs, studies, stored runs), ``harness.report``
(figures, comparisons, claims), ``harness.data`` and ``harness.exchange`` (records as files).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.lazy import attach

if TYPE_CHECKING:
    from harness.catalog import create_model as create_model
    from harness.data import list_datasets as list_datasets
    from harness.data import load_dataset as load_dataset
    from harness.report import list_reports as list_reports
    from harness.report import load_figure as load_figure
    from harness.report import load_table as load_table
    from harness.run import dry_run as dry_run
    from harness.run import list_models as list_models
    from harness.run import load_run as load_run
    from harness.run import load_suite as load_suite
    from harness.run import open_store as open_store
    from harness.run import plan_run as plan_run
    from harness.run import run_suite as run_suite

__all__ = [
    "create_model",
    "dry_run",
    "list_datasets",
    "list_models",
    "list_reports",
    "load_dataset",
    "load_figure",
    "load_run",
    "load_suite",
    "load_table",
    "open_store",
    "plan_run",
    "run_suite",
]
__version__ = "0.1.0"

__getattr__, __dir__ = attach(
    __name__,
    {
        "harness.catalog": ["create_model"],
        "harness.data": ["list_datasets", "load_dataset"],
        "harness.report": ["list_reports", "load_figure", "load_table"],
        "harness.run": [
            *("dry_run", "list_models", "load_run", "load_suite", "open_store", "plan_run"),
            "run_suite",
        ],
    },
)

# The fused kernels run on threads of their own, in turns with torch's. A thread of torch's that has
# nothing to do spins for milliseconds by default, on the core that the kernels would use: a RotatE
# step on two cores takes 41 ms instead of 29. OpenMP reads this when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
