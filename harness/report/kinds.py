"""Kinds of figures that plug-ins add (entry points of the group ``harness.reports``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.plugins import load_plugins, plugin_problem

if TYPE_CHECKING:
    from harness.analysis.query import Results
    from harness.report.definition import ReportDefinition
    from harness.report.figure import Figure

__all__ = ["GROUP", "ReportKind", "plugin_kinds", "report_problem"]

GROUP = "harness.reports"


@dataclass(frozen=True)
class ReportKind:
    """A kind of figure; the name of its entry point is the value of the key ``figure``.

    Attributes:
        definition: keys of the YAML file, a subclass of
            ``harness.report.row_definitions.RowsDefinition`` with ``figure: Literal[NAME]``.
        build: returns the figure of a definition and the stored results.
    """

    definition: type[ReportDefinition]
    build: Callable[[Any, Results], Figure]


def plugin_kinds() -> Mapping[str, ReportKind]:
    """Return the kinds of plug-ins by name; objects that are no ``ReportKind`` are dropped."""
    return {n: kind for n, kind in load_plugins(GROUP).items() if isinstance(kind, ReportKind)}


def report_problem(name: str) -> str:
    """Return why the plug-in of a kind cannot be used, "" for none."""
    kind = load_plugins(GROUP).get(name)
    if kind is not None and not isinstance(kind, ReportKind):
        return f"plug-in '{name}' ({GROUP}): {kind!r} is no harness.report.kinds.ReportKind"
    return plugin_problem(GROUP, name)
