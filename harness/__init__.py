"""Train, evaluate and compare multi-modal knowledge graph completion models.

The public interface; every name is imported when it is used (PEP 562)::

    run = harness.train_model("rotate", "atlas", {"training.epochs": 20})
    print(run.predict(head="Germany", relation="spoken_language"))
    plan = harness.load_suite("quickstart", {"training.epochs": 20})
    result = harness.run_suite(plan, on_event=harness.print_event)
    print(result.table)

Further functions: ``harness.run.study`` (searches), ``harness.run.runs`` (stored runs),
``harness.run.database`` (import, export, merge, check), ``harness.report.stored`` (pages, all
tables), ``harness.data.datasets`` (fetch, import, verify, audit).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.catalog import create_model as create_model
    from harness.data.datasets import list_datasets as list_datasets
    from harness.data.load import load_dataset as load_dataset
    from harness.events import print_event as print_event
    from harness.report.comparing import check_claims as check_claims
    from harness.report.comparing import compare as compare
    from harness.report.stored import list_reports as list_reports
    from harness.report.stored import load_figure as load_figure
    from harness.report.stored import load_table as load_table
    from harness.run.forecast import dry_run as dry_run
    from harness.run.inference import load_run as load_run
    from harness.run.models import list_models as list_models
    from harness.run.runs import find_runs as find_runs
    from harness.run.runs import open_store as open_store
    from harness.run.suite import load_suite as load_suite
    from harness.run.suite import plan_run as plan_run
    from harness.run.suite import run_suite as run_suite
    from harness.run.suite import train_model as train_model

_MODULES = {
    "check_claims": "harness.report.comparing",
    "compare": "harness.report.comparing",
    "create_model": "harness.catalog",
    "dry_run": "harness.run.forecast",
    "find_runs": "harness.run.runs",
    "list_datasets": "harness.data.datasets",
    "list_models": "harness.run.models",
    "list_reports": "harness.report.stored",
    "load_dataset": "harness.data.load",
    "load_figure": "harness.report.stored",
    "load_run": "harness.run.inference",
    "load_suite": "harness.run.suite",
    "load_table": "harness.report.stored",
    "open_store": "harness.run.runs",
    "plan_run": "harness.run.suite",
    "print_event": "harness.events",
    "run_suite": "harness.run.suite",
    "train_model": "harness.run.suite",
}
__all__ = list(_MODULES)
__version__ = "0.1.0"

# The fused kernels run on threads of their own, in turns with torch's. A thread of torch's that has
# nothing to do spins for milliseconds by default, on the core that the kernels would use: a RotatE
# step on two cores takes 41 ms instead of 29. OpenMP reads this when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names; submodules that happen to be imported are none."""
    return sorted([*__all__, "__version__"])
