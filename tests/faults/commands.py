"""Commands that start within milliseconds, and what is wrong with their ends."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import Command, Ended, Forker
from tests.faults.films import Place

SECONDS = 60.0
"""Time after which a command hangs."""


class Commands:
    """Starts commands in a place."""

    def __init__(self, forker: Forker, folder: Path) -> None:
        self._forker, self._folder, self._number = forker, folder, 0

    def start(self, place: Place, *words: object, first: str = "", **environment: str) -> Command:
        """Start a command.

        Args:
            place: its folders.
            words: its arguments.
            first: Python that its process runs before it, with ``inside`` imported.
            environment: further variables.
        """
        self._number += 1
        out, err = self._folder / f"{self._number}.out", self._folder / f"{self._number}.err"
        variables = {**place.environment, **environment}
        return self._forker.start(words, out, err, environment=variables, first=first)

    def run(self, place: Place, *words: object, **options: Any) -> Ended:
        """Run a command to its end, which comes within a minute."""
        return self.start(place, *words, **options).wait(SECONDS)


def problems_of(ended: Ended, codes: Collection[int] = (0,)) -> list[str]:
    """Return what is wrong with the end of a command.

    Args:
        ended: its exit code and output.
        codes: exit codes that it may have. One that is not 0 comes with one error in words.
    """
    told = " ... ".join(ended.err.strip().splitlines()[-3:])[-600:]
    problems = []
    if ended.code not in codes:
        problems.append(f"exit code {ended.code}: {told}")
    if "Traceback" in ended.err or "Traceback" in ended.out:
        problems.append(f"traceback: {told}")
    if ended.code > 0 and not re.search(r"^(error|Error|Usage|.*│)", ended.err, re.MULTILINE):
        problems.append(f"exit code {ended.code} without an error: {told}")
    return problems
