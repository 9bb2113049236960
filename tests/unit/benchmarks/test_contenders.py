"""Contenders: counting of steps, their processes, and that they do what is compared."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from harness.data.load import load_graph
from harness.errors import RunError
from tests.benchmarks.against_all import Kbc
from tests.benchmarks.child import Child
from tests.benchmarks.contenders import (
    CONTENDERS,
    EVERY_QUERY,
    NEGATIVES,
    ONCE,
    SAMPLED,
    StepClock,
    Trained,
)
from tests.benchmarks.ours import Ours, build_against_all


def ticking() -> Iterator[float]:
    return (float(second) for second in count())


def test_steps_of_the_warm_up_do_not_count() -> None:
    clock = StepClock(3.0, warm_up=2, now=ticking().__next__)
    assert [clock.over(10) for _ in range(5)] == [False] * 4 + [True]
    assert clock.trained == Trained(30, 60, 3.0)


def test_one_step_counts_at_least() -> None:
    clock = StepClock(0.0, warm_up=1, now=ticking().__next__)
    assert [clock.over(7), clock.over(5)] == [False, True]
    assert clock.trained == Trained(5, 10, 1.0)


def test_a_contender_in_a_process_trains_and_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")  # nothing needs compiling
    with contextlib.closing(Child("ours", "transe", "synthetic")) as child:
        assert child.rankings == [EVERY_QUERY, ONCE]
        ranked, peak = child.rank(EVERY_QUERY)
        assert ranked.queries == 2 * len(load_graph("synthetic").splits["test"])
        assert peak > 2**20
        assert child.train(0.01).positives > 0


def test_a_process_that_dies_says_why() -> None:
    with pytest.raises(RunError, match=r"harness transe on nowhere: .*'nowhere'"):
        Child("ours", "transe", "nowhere")


@pytest.mark.slow
def test_a_process_that_is_killed_between_two_turns_is_an_error() -> None:
    child = Child("ours", "transe", "synthetic")
    for process in child._pool._processes.values():
        process.kill()
    with pytest.raises(RunError, match="transe on synthetic: its process was killed; it may need"):
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
    assert trained.positives >= 500
    if entrant.loss == SAMPLED:
        assert contender.rankings[EVERY_QUERY](8).queries == 16


@pytest.mark.filterwarnings("ignore")
def test_torchkges_negatives_lie_beside_their_positives() -> None:
    pytest.importorskip("torchkge", reason="TorchKGE is not installed: pip install -e '.[peers]'")
    contender = CONTENDERS["torchkge"].load()("transe", load_graph("synthetic"))
    heads = torch.arange(5)
    corrupted, _ = contender.sampler.corrupt_batch(heads, heads, heads)  # type: ignore[attr-defined]
    kept = heads[:, None] == corrupted.view(NEGATIVES, 5).T
    # A fair coin leaves the head: of 320 draws, 160 with a standard deviation of 9.
    assert 110 < int(kept.sum()) < 215


def test_a_step_as_kbc_has_the_loss_of_ours() -> None:
    graph = load_graph("synthetic")
    ours: Ours = build_against_all("complex", graph)  # type: ignore[assignment]
    kbc = Kbc(graph)
    with torch.no_grad():
        kbc.entity *= 300  # initial scores are too small to matter to the softmax
        kbc.relation *= 300
        ours.model.entity.copy_(kbc.entity)  # type: ignore[operator, union-attr]
        ours.model.relation.copy_(kbc.relation)  # type: ignore[operator, union-attr]
    batch = graph.splits["train"][:512]
    loss, _ = ours.procedure.loss(batch, torch.Generator())
    assert kbc.loss(batch).item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_pykeens_distinct_queries_stand_for_all_positives() -> None:
    pytest.importorskip("pykeen", reason="PyKEEN is not installed: pip install -e '.[peers]'")
    graph = load_graph("synthetic")
    contender = CONTENDERS["pykeen-lcwa"].load()("complex", graph)
    queries = contender._queries  # type: ignore[attr-defined]
    batch = {"pairs": range(queries)}
    assert contender._count(batch) == (len(graph.splits["train"]), queries)  # type: ignore[attr-defined]


ORPHAN = """
import os, signal
from tests.benchmarks.child import single_process
if __name__ == "__main__":
    print(single_process().submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_process_ends_with_its_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    )
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(10)
