"""Tables and figures of stored results, beside published figures; comparisons and claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.lazy import attach

if TYPE_CHECKING:
    from harness.analysis.claims import Checked as Checked
    from harness.analysis.query import Selection as Selection
    from harness.analysis.sides import RANKED as RANKED
    from harness.evaluation.buckets import BUCKETS as BUCKETS
    from harness.report.comparing import CLAIMS as CLAIMS
    from harness.report.comparing import COMPARED as COMPARED
    from harness.report.comparing import check_claims as check_claims
    from harness.report.comparing import compare as compare
    from harness.report.figure import Figure as Figure
    from harness.report.render import FORMATS as FORMATS
    from harness.report.render import PICTURES as PICTURES
    from harness.report.render import SUFFIXES as SUFFIXES
    from harness.report.render import check_format as check_format
    from harness.report.render import render_all as render_all
    from harness.report.stored import BREAKDOWN as BREAKDOWN
    from harness.report.stored import RERANKED as RERANKED
    from harness.report.stored import Reports as Reports
    from harness.report.stored import list_reports as list_reports
    from harness.report.stored import load_figure as load_figure
    from harness.report.stored import load_table as load_table
    from harness.report.stored import open_reports as open_reports
    from harness.report.table import Table as Table

_NAMES = {
    "harness.analysis.claims": ["Checked"],
    "harness.analysis.query": ["Selection"],
    "harness.analysis.sides": ["RANKED"],
    "harness.evaluation.buckets": ["BUCKETS"],
    "harness.report.comparing": ["CLAIMS", "COMPARED", "check_claims", "compare"],
    "harness.report.figure": ["Figure"],
    "harness.report.render": ["FORMATS", "PICTURES", "SUFFIXES", "check_format", "render_all"],
    "harness.report.stored": [
        *("BREAKDOWN", "RERANKED", "Reports", "list_reports", "load_figure", "load_table"),
        "open_reports",
    ],
    "harness.report.table": ["Table"],
}
__all__ = sorted(name for names in _NAMES.values() for name in names)
__getattr__, __dir__ = attach(__name__, _NAMES)
