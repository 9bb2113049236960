"""Plug-ins: objects of installed packages, found by their entry points.

A plug-in that cannot be loaded is left out with one warning that names it; it is an error only for
those who ask for what it would have added.
"""

from __future__ import annotations

import traceback
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness.errors import ConfigError

__all__ = ["GROUPS", "Plugin", "PluginWarning", "load_plugins", "plugin_problem", "plugins"]

GROUPS = (
    "harness.models",
    "harness.datasets",
    "harness.encoders",
    "harness.reports",
    "harness.loggers",
)
"""Groups of entry points."""

_PROBLEMS: dict[tuple[str, str], str] = {}
"""Group and name of a plug-in -> why it was left out."""


class PluginWarning(UserWarning):
    """A plug-in was left out."""


class Plugin:
    """An entry point of an installed package.

    Attributes:
        group, name: group and name of the entry point.
        origin: its object and its package, "pkg.module:NAME of package 1.0".
    """

    def __init__(self, point: EntryPoint) -> None:
        self.group, self.name, self._point = point.group, point.name, point
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown package"
        self.origin = f"{point.value} of {package}"

    def load(self) -> Any:
        """Import and return the object.

        Raises:
            ConfigError: it cannot be imported; the message has file and line.
        """
        try:
            return self._point.load()
        except ConfigError:  # a name that is taken; the message has both places
            raise
        except (Exception, SystemExit) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            location = f"{frame.filename}:{frame.lineno}"
            raise ConfigError(f"{location}: {type(error).__name__}: {error}") from error


def plugins(group: str) -> list[Plugin]:
    """Return the plug-ins of a group by name; nothing is imported."""
    return sorted(map(Plugin, entry_points(group=group)), key=lambda p: (p.name, p.origin))


@cache
def load_plugins(group: str) -> dict[str, Any]:
    """Load the plug-ins of a group, once, and warn of those that are left out.

    Returns:
        Name -> object of each plug-in that could be loaded.
    """
    loaded: dict[str, Any] = {}
    for plugin in plugins(group):
        try:
            if plugin.name in loaded:
                raise ConfigError("another plug-in has this name")
            loaded[plugin.name] = plugin.load()
        except ConfigError as error:
            leave_out(plugin, str(error))
    return loaded


def leave_out(plugin: Plugin, reason: str) -> None:
    """Warn that a plug-in is left out, and keep the reason for those who ask for it."""
    problem = f"plug-in '{plugin.name}' ({plugin.group}: {plugin.origin}) is left out: {reason}"
    _PROBLEMS[plugin.group, plugin.name] = problem
    warnings.warn(problem, PluginWarning, stacklevel=3)


def plugin_problem(group: str, name: str) -> str:
    """Return why a plug-in was left out, "" for one that was loaded or does not exist."""
    return _PROBLEMS.get((group, name), "")
