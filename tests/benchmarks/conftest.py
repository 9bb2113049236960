"""Turns: every benchmark is run once per turn, all others in between.

A fixture of the session's scope makes pytest take its values outermost, so what disturbs one
benchmark for a while disturbs all. Threads are fixed, and what the numbers are from goes into the
file that ``--benchmark-json`` writes, which ``harness bench import`` reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.bench.memory import ask_for_huge_pages

TURNS = 2

ask_for_huge_pages()


@pytest.fixture(scope="session", params=range(TURNS), ids=lambda turn: f"turn{turn}")
def turn(request: pytest.FixtureRequest) -> int:
    """Number of the turn."""
    number: int = request.param
    return number


@pytest.fixture(autouse=True)
def fixed_threads() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    assert torch.get_num_threads() == threads


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    import torch

    from harness.bench.pytest_json import KEY
    from harness.bench.text import machine
    from harness.plan.complexity import load_complexity
    from harness.plan.suite import find_suite

    machine_info[KEY] = {
        "provenance": machine(device=torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "settings": load_complexity(find_suite("complexity")).model_dump(mode="json"),
    }
