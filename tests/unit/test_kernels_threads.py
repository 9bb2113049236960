"""Parts of a range on threads: torch's where they can be had, else our own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from harness.kernels import _threads as threads


@pytest.fixture(params=["torch's", "our own"])
def two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "our own":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif threads._openmp() is None:
        pytest.skip("torch has no OpenMP that can be asked")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield request.param
    torch.set_num_threads(before)


def noted(seen: list[tuple[int, int, int]]) -> Callable[[int, int], None]:
    def note(low: int, high: int) -> None:
        seen.append((low, high, threading.get_ident()))

    return note


@pytest.mark.usefixtures("two_threads")
def test_every_part_is_done_once() -> None:
    seen: list[tuple[int, int, int]] = []
    threads.over([0, 3, 3, 10, 11], noted(seen))
    assert sorted(part[:2] for part in seen) == [(0, 3), (3, 10), (10, 11)]


@pytest.mark.usefixtures("two_threads")
def test_two_threads_are_at_work_at_once() -> None:
    meeting = threading.Barrier(2, timeout=20)

    def meet(low: int, high: int) -> None:
        meeting.wait()

    threads.over([0, 1, 2], meet)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_is_raised_on_any_thread_is_raised_here(error: type[BaseException]) -> None:
    for bad in range(4):

        def fail(low: int, high: int, bad: int = bad) -> None:
            if low == bad:
                raise error("here")

        with pytest.raises(error, match="here"):
            threads.over(range(5), fail)


@pytest.mark.usefixtures("two_threads")
def test_several_threads_may_ask_at_once() -> None:
    found: list[list[tuple[int, int, int]]] = [[] for _ in range(4)]

    def ask(seen: list[tuple[int, int, int]]) -> None:
        for _ in range(50):
            threads.over(range(9), noted(seen))

    asking = [threading.Thread(target=ask, args=(seen,)) for seen in found]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    for seen in found:
        assert sorted(low for low, _, _ in seen) == sorted([*range(8)] * 50)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_has_threads_of_its_own() -> None:
    threads.over(range(9), noted([]))  # now the parent has its threads
    child = os.fork()
    if child == 0:
        seen: list[tuple[int, int, int]] = []
        threads.over(range(9), noted(seen))
        os._exit(0 if sorted(low for low, _, _ in seen) == [*range(8)] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_on_linux_they_are_torch_s() -> None:
    if "OpenMP" not in torch.__config__.parallel_info() or os.uname().sysname != "Linux":
        pytest.skip("torch has no OpenMP here")
    assert threads._openmp() is not None


def test_one_part_or_one_thread_is_done_here() -> None:
    seen: list[tuple[int, int, int]] = []
    threads.over([0, 7], noted(seen))
    assert seen == [(0, 7, threading.get_ident())]
    assert threads.even_parts(100, work=10) == [0, 100]
