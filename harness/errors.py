"""Every error the harness raises on purpose, with the exit code the command line gives it.

::

    HarnessError                 1   something the user can act on went wrong
    ├── ConfigError              2   a suite, option or name is wrong
    │   └── InconsistentError    2   ... values that are fine one by one do not go together
    ├── DataError                3   a dataset or feature file is wrong
    │   ├── MissingDataError     3   ... or is not there; the message says which command gets it
    │   └── ChangedDataError     3   ... or is not the one that a run was planned or trained with
    ├── MachineError             4   the machine cannot: no such device, disk full, read-only folder
    ├── StoreError               4   the result database cannot be used as it is
    │   └── DamagedRecords       4   ... some rows; harness.store.base, it holds the others
    └── RunError                 1   a run stopped
        ├── NonFiniteError       1   a loss is not finite, or a score is NaN or infinite
        ├── LockedSplitError     1   the test split was asked for before a run was validated
        └── Interrupted        130   Ctrl-C (130) or SIGTERM (143); the run can be resumed

Exit code 0 means success; 5 is that of ``harness claims check`` when the store does not support a
claim.
"""

from __future__ import annotations

import difflib
import errno
import os
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = [
    "ChangedDataError",
    "ConfigError",
    "DataError",
    "HarnessError",
    "InconsistentError",
    "Interrupted",
    "LockedSplitError",
    "MachineError",
    "MissingDataError",
    "NonFiniteError",
    "RunError",
    "StoreError",
    "lacks_descriptors",
    "lacks_resources",
    "nearest",
    "raised_at",
    "suggest",
]

SIMILARITY = 0.7
"""Least ratio of equal letters (difflib) of a name to the one suggested: "nope" is no "noise"."""
SIMILARITY_OF_KIN = 0.6
"""The same for names that begin alike, or of which one has all letters of the other."""


class HarnessError(Exception):
    """Base of all errors with a message meant for the user (no traceback is shown)."""

    exit_code = 1


class ConfigError(HarnessError):
    """A suite, an option or a name is wrong."""

    exit_code = 2


class InconsistentError(ConfigError):
    """Values that are fine one by one do not go together.

    Attributes:
        reason: the message without the places the values come from.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class DataError(HarnessError):
    """A dataset or feature file does not hold what it should; the message names file and line."""

    exit_code = 3


class MissingDataError(DataError):
    """A dataset or feature file is absent; the message names the command that gets it.

    Attributes:
        brief: the message in a few words without paths, for a footnote of a table.
    """

    def __init__(self, message: str, *, brief: str = "") -> None:
        super().__init__(message)
        self.brief = brief or message


class ChangedDataError(DataError):
    """The dataset, the features or a user's own model are not those of a run."""


class MachineError(HarnessError):
    """The machine cannot do what was asked: no such device, disk full, read-only folder."""

    exit_code = 4


class StoreError(HarnessError):
    """The result database cannot be used as it is."""

    exit_code = 4


class RunError(HarnessError):
    """A run stopped before its result."""


class NonFiniteError(RunError):
    """A loss or a score is NaN or infinite."""


class LockedSplitError(RunError):
    """Something asked for the test split of a run that has not been validated."""


class Interrupted(RunError):  # noqa: N818 - a stop that was asked for is no error
    """The run was asked to stop and wrote a checkpoint first."""

    def __init__(self, message: str, *, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or the list of choices when none is close.

    Args:
        name: what the user wrote.
        choices: what would have been valid.
    """
    names = sorted(choices)
    if close := nearest(name, names):
        return f"; did you mean '{close}'?"
    if not names:
        return ""
    return f"; choose from {', '.join(names)}"


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a name is a misspelling of, ignoring case; None when none is close."""
    by_lower = {choice.lower(): choice for choice in sorted(choices)}
    name = name.lower()
    close = difflib.get_close_matches(name, by_lower, n=1, cutoff=SIMILARITY)
    if not close:
        similar = difflib.get_close_matches(name, by_lower, len(by_lower) or 1, SIMILARITY_OF_KIN)
        close = [choice for choice in similar if _are_kin(name, choice)]
    return by_lower[close[0]] if close else None


def _are_kin(name: str, choice: str) -> bool:
    """Tell whether names begin alike ("leaf", "leave"), or one has all letters of the other ("dmi",
    "dim"; "sede", "seeds")."""
    name_letters, choice_letters = Counter(name), Counter(choice)
    return (
        name[:3] == choice[:3] or name_letters <= choice_letters or name_letters >= choice_letters
    )


def lacks_resources(error: BaseException) -> bool:
    """Tell whether an error, or one that it was raised for, is a lack of memory or descriptors."""
    return lacks_descriptors(error) or any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        for cause in _causes(error)
    )


def lacks_descriptors(error: BaseException) -> bool:
    """Tell whether an error, or one that it was raised for, is a lack of file descriptors."""
    return any(
        (isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE))
        # Libraries in other languages (safetensors) raise what has the text alone.
        or (isinstance(cause, RuntimeError) and os.strerror(errno.EMFILE) in str(cause))
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    visited: set[int] = set()
    while cause is not None and id(cause) not in visited:  # an error can be its own cause
        visited.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def raised_at(error: BaseException, *paths: Path) -> str:
    """Return ``file:line`` of the innermost line that an error came through of the given files, or
    of files in the given folders; "" when it came through none."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if any(Path(f.filename).is_relative_to(path) for path in paths)]
    return f"{inside[-1].filename}:{inside[-1].lineno}" if inside else ""
