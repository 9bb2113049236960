"""Contenders: counting of steps, their processes, and that they do what is compared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
import torch

from harness.bench.child import Child, answer_of
from harness.bench.contenders import CONTENDERS, EVERY_QUERY, ONCE, StepClock, Trained
from harness.data.load import load_graph
from harness.errors import RunError


def ticking() -> Iterator[float]:
    return (float(second) for second in count())


def test_steps_of_the_warm_up_do_not_count() -> None:
    clock = StepClock(3.0, warm_up=2, now=ticking().__next__)
    assert [clock.over(10) for _ in range(5)] == [False] * 4 + [True]
    assert clock.trained == Trained(30, 3.0)


def test_one_step_counts_at_least() -> None:
    clock = StepClock(0.0, warm_up=1, now=ticking().__next__)
    assert [clock.over(7), clock.over(5)] == [False, True]
    assert clock.trained == Trained(5, 1.0)


@pytest.mark.parametrize("line", ["", "Traceback (most recent call last):\n", "3\n", '["a"]\n'])
def test_what_is_no_answer_is_none(line: str) -> None:
    assert answer_of(line) is None


def test_an_answer_is_a_json_object() -> None:
    assert answer_of('{"positives": 3, "seconds": 0.5}\n') == {"positives": 3, "seconds": 0.5}


def test_a_contender_in_a_process_trains_and_ranks() -> None:
    with Child("ours", "transe", "synthetic") as child:
        assert child.rankings == [EVERY_QUERY, ONCE]
        rate, peak = child.rank(EVERY_QUERY)
        assert rate > 0
        assert peak > 2**20
        assert child.train(0.01) > 0


def test_a_process_that_dies_says_why() -> None:
    with pytest.raises(RunError, match=r"harness transe on nowhere: .*'nowhere'"):
        Child("ours", "transe", "nowhere")


@pytest.mark.slow
def test_a_process_that_is_killed_between_two_turns_is_an_error() -> None:
    child = Child("ours", "transe", "synthetic")
    child._process.kill()
    with pytest.raises(RunError, match="transe on synthetic"):
        child.train(0.01)
    child.close()  # twice does no harm


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "ours"])
@pytest.mark.filterwarnings("ignore")
def test_a_peer_trains_and_ranks_the_same_graph(name: str) -> None:
    entrant = CONTENDERS[name]
    if not entrant.installed:
        pytest.skip(f"{entrant.title} is not installed: pip install -e '.[peers]'")
    graph = load_graph("synthetic")
    contender = entrant.load()(entrant.models[-1], graph)
    trained = contender.train(0.01)
    assert trained.positives >= 1024
    assert contender.rankings[EVERY_QUERY](8).queries == 16


@pytest.mark.filterwarnings("ignore")
def test_torchkges_negatives_lie_beside_their_positives() -> None:
    pytest.importorskip("torchkge", reason="TorchKGE is not installed: pip install -e '.[peers]'")
    from harness.bench.contenders import NEGATIVES

    contender = CONTENDERS["torchkge"].load()("transe", load_graph("synthetic"))
    heads = torch.arange(5)
    found, _ = contender.sampler.corrupt_batch(heads, heads, heads)  # type: ignore[attr-defined]
    kept = heads[:, None] == found.view(NEGATIVES, 5).T
    # A fair coin leaves the head: of 320 draws, 160 with a standard deviation of 9.
    assert 110 < int(kept.sum()) < 215
