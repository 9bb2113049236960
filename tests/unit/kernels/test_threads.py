"""Parts of a range on threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from harness.kernels import _threads as threads
from harness.kernels import without_denormals

Seen = list[tuple[int, int, int]]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def noted(seen: Seen) -> Callable[[int, int], None]:
    def note(low: int, high: int) -> None:
        seen.append((low, high, threading.get_ident()))

    return note


def test_every_part_is_done_once() -> None:
    seen: Seen = []
    threads.over([0, 3, 3, 10, 11], noted(seen))
    assert sorted(part[:2] for part in seen) == [(0, 3), (3, 10), (10, 11)]


def test_two_threads_are_at_work_at_once() -> None:
    meeting = threading.Barrier(2, timeout=20)
    threads.over([0, 1, 2], lambda low, high: meeting.wait())


@pytest.mark.parametrize("other", [False, True])
def test_what_is_raised_on_any_thread_is_raised_here(other: bool) -> None:
    meeting, here = threading.Barrier(2, timeout=20), threading.get_ident()

    def fail(low: int, high: int) -> None:
        meeting.wait()
        if (threading.get_ident() != here) == other:
            raise ValueError("there")

    with pytest.raises(ValueError, match="there"):
        threads.over([0, 1, 2], fail)


def test_several_threads_may_ask_at_once() -> None:
    found: list[Seen] = [[] for _ in range(4)]

    def ask(seen: Seen) -> None:
        for _ in range(50):
            threads.over(range(9), noted(seen))

    asking = [threading.Thread(target=ask, args=(seen,)) for seen in found]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    for seen in found:
        assert sorted(low for low, _, _ in seen) == sorted([*range(8)] * 50)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_has_threads_of_its_own() -> None:
    threads.over(range(9), noted([]))  # now the parent has its threads
    child = os.fork()
    if child == 0:
        seen: Seen = []
        threads.over(range(9), noted(seen))
        os._exit(0 if sorted(low for low, _, _ in seen) == [*range(8)] else 1)
    ended, deadline = (0, 0), time.monotonic() + 20
    while ended[0] == 0 and time.monotonic() < deadline:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for threads that it does not have")
    assert os.waitstatus_to_exitcode(ended[1]) == 0


def test_one_part_is_done_here() -> None:
    seen: Seen = []
    threads.over([0, 7], noted(seen))
    assert seen == [(0, 7, threading.get_ident())]
    assert threads.even_parts(100, work=10) == [0, 100]


def test_training_has_no_numbers_that_are_slow_because_they_are_tiny() -> None:
    """Neither the thread of a step has them nor those that it starts; after it all is as before."""
    products: list[float] = []
    meeting = threading.Barrier(2, timeout=20)

    def multiply(low: int, high: int) -> None:
        meeting.wait()
        products.append(float(torch.tensor(1e-30) * 1e-10))

    def both() -> list[float]:
        threads._pool.cache_clear()
        products.clear()
        threads.over([0, 1, 2], multiply)
        return sorted(products)

    assert all(product > 0 for product in both())
    try:
        with without_denormals():
            assert both() == [0, 0]
            with without_denormals():
                pass
            assert float(torch.tensor(1e-30) * 1e-10) == 0
        assert float(torch.tensor(1e-30) * 1e-10) > 0
    finally:
        threads._pool.cache_clear()
