"""A run in two stages: what is chosen by validation owes nothing to the test split."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from mmap import mmap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import pipeline
from harness.cli.run_text import describe
from harness.data.load import load_graph
from harness.errors import ConfigError
from harness.evaluation.ranks import Ranks
from harness.peak import peak
from harness.pipeline import Workplace
from harness.plan.spec import OptimiserSpec, RunSpec, TrainingSpec
from harness.store import open_store
from harness.store.records import RunRecord
from harness.store.tables import MetricRow
from harness.training.checkpoint import CheckpointFolder
from tests.toys import SMALL, toy_spec


class NoTestSplit(Mapping[str, Tensor]):
    """The splits of a graph whose test split must not be touched."""

    def __init__(self, splits: Mapping[str, Tensor]) -> None:
        self.splits = splits

    def __getitem__(self, name: str) -> Tensor:
        assert name != "test", "the test split was read"
        return self.splits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)


def make_spec(**protocol: Any) -> RunSpec:
    return toy_spec(protocol=protocol)


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The dataset's test split cannot be read; its digests, which name the dataset, are known."""
    graph = load_graph(SMALL)
    assert graph.digest
    assert graph.digests
    monkeypatch.setitem(graph.__dict__, "splits", NoTestSplit(graph.splits))
    return monkeypatch


def train(folder: Path, **protocol: Any) -> RunRecord:
    return pipeline.train("aaaa", make_spec(**protocol), Workplace(folder, "cpu"))


def test_training_with_a_filter_of_its_own_never_reads_the_test_split(
    tmp_path: Path, hidden: pytest.MonkeyPatch
) -> None:
    record = train(tmp_path, valid_filter=["train", "valid"])
    assert record.status == "validated"
    assert {metric.split for metric in record.metrics} == {"valid"}
    with pytest.raises(AssertionError, match="the test split was read"):
        train(tmp_path / "other")  # the default filter holds the test triples
    hidden.undo()
    tested = pipeline.test(record, Workplace(tmp_path, "cpu"))
    assert tested.status == "ok"
    assert {metric.split for metric in tested.metrics} == {"valid", "test"}


def test_the_stages_together_are_the_run(tmp_path: Path) -> None:
    spec = make_spec()
    straight = pipeline.execute("aaaa", spec, Workplace(tmp_path / "straight", "cpu"))
    apart = pipeline.test(train(tmp_path / "apart"), Workplace(tmp_path / "apart", "cpu"))
    assert apart.metrics == straight.metrics
    names = [timing.name for timing in apart.timings]
    assert names == [timing.name for timing in straight.timings]
    assert names[-3:] == ["evaluate.valid", "evaluate.test", "memory.peak"]
    ranks = [(tmp_path / name / "ranks.npz").read_bytes() for name in ("straight", "apart")]
    assert ranks[0] == ranks[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")
def test_memory_is_the_run_s_own_and_not_what_the_process_did_before(tmp_path: Path) -> None:
    with mmap(-1, 1000 * 2**20) as held:  # what numpy frees the process may keep
        held.write(bytes(len(held)))
        high = peak()
    [memory] = [t.value for t in train(tmp_path).timings if t.name == "memory.peak"]
    assert memory < high - 500 * 2**20


def test_a_tested_run_is_not_tested_again(tmp_path: Path) -> None:
    place = Workplace(tmp_path, "cpu")
    tested = pipeline.test(train(tmp_path), place)
    (tmp_path / "ranks.npz").unlink()
    assert pipeline.test(tested, place) == tested
    assert not (tmp_path / "ranks.npz").exists()


def test_a_pruned_run_is_not_tested(tmp_path: Path) -> None:
    place = Workplace(tmp_path, "cpu")
    pruned = pipeline.train("aaaa", make_spec(), place, limits={2: 2.0})
    with pytest.raises(ConfigError, match="run aaaa is pruned, there is nothing to test yet"):
        pipeline.test(pruned, place)


def test_what_was_otherwise_when_a_run_was_tested_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = train(tmp_path / "same")
    same = pipeline.test(record, Workplace(tmp_path / "same", "cpu")).provenance
    assert "tested" not in same
    record = train(tmp_path / "later")
    monkeypatch.setattr("harness.provenance.git_state", lambda: ("c0ffee", True))
    later = pipeline.test(record, Workplace(tmp_path / "later", "cpu")).provenance
    assert later["commit"] == record.provenance["commit"]
    assert later["tested"]["commit"] == "c0ffee"
    assert set(later["tested"]) <= {"commit", "dirty", "finished"}


def test_figures_are_stored_with_the_protocol_of_their_split(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "run", "cpu")
    record = pipeline.test(train(tmp_path / "run", valid_filter=["train", "valid"]), place)
    store = open_store(tmp_path / "harness.db")
    store.add(record)
    with store.engine.connect() as connection:
        table = MetricRow.__table__
        stored = {tuple(row) for row in connection.execute(table.select().distinct()).all()}
    store.close()
    columns = list(table.columns.keys())
    split, protocol = columns.index("split"), columns.index("protocol")
    assert {(row[split], row[protocol]) for row in stored} == {
        ("valid", "realistic/train+valid/head+tail/all"),
        ("test", "realistic/train+valid+test/head+tail/all"),
    }


def test_validation_figures_are_those_the_epoch_was_chosen_by(tmp_path: Path) -> None:
    """The same filter, and the weights of the best epoch, which is not the last."""
    spec = make_spec().model_copy(
        update={
            "optimiser": OptimiserSpec(lr=0.3),
            "training": TrainingSpec(epochs=12, evaluate_every=1, patience=0, batch_size=50),
        }
    )
    record = pipeline.train("aaaa", spec, Workplace(tmp_path, "cpu"))
    best = max(row["valid_mrr"] for row in record.history)
    assert best > record.history[-1]["valid_mrr"]
    (reported,) = (
        metric.value
        for metric in record.metrics
        if (metric.side, metric.bucket, metric.metric) == ("both", "all", "mrr")
    )
    assert reported == best


def test_with_select_last_the_figures_are_those_of_the_last_epoch(tmp_path: Path) -> None:
    training = {"epochs": 12, "evaluate_every": 5, "patience": 1, "batch_size": 50}
    spec = make_spec().model_copy(
        update={
            "optimiser": OptimiserSpec(lr=0.3),
            "training": TrainingSpec.model_validate({**training, "select": "last"}),
        }
    )
    place = Workplace(tmp_path / "last", "cpu")
    record = pipeline.execute("aaaa", spec, place)
    validated = {row["epoch"]: row["valid_mrr"] for row in record.history if "valid_mrr" in row}
    assert list(validated) == [5, 10, 12]
    assert record.diagnostics["best_epoch"] == record.diagnostics["epochs"] == 12
    assert record.metric("mrr", "valid") == validated[12]
    checkpoint = CheckpointFolder(place.folder).load()
    assert checkpoint is not None
    epoch, last, _ = checkpoint
    assert epoch == 12
    model, _ = pipeline.load_trained(record, place.folder, torch.device("cpu"))
    assert all(torch.equal(last[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "valid", "test")])
def test_stored_candidates_are_all_entities_but_the_other_known_answers(
    splits: tuple[str, ...], tmp_path: Path
) -> None:
    pipeline.test(train(tmp_path, filter=splits), Workplace(tmp_path, "cpu"))
    ranks = Ranks.load(tmp_path / "ranks.npz")
    graph = load_graph(SMALL)
    known = {tuple(row) for split in splits for row in graph.splits[split].tolist()}
    for at, (head, relation, tail) in enumerate(ranks.triples.tolist()):
        entities = range(graph.index.n_entities)
        heads = [e for e in entities if e == head or (e, relation, tail) not in known]
        tails = [e for e in entities if e == tail or (head, relation, e) not in known]
        assert ranks.sides["head"].candidates[at] == len(heads)
        assert ranks.sides["tail"].candidates[at] == len(tails)


def test_a_run_whose_loss_rises_is_stored_with_a_note(tmp_path: Path) -> None:
    for lr, diverges in ((1e30, True), (0.01, False)):
        spec = toy_spec(optimiser={"lr": lr})
        record = pipeline.execute("aaaa", spec, Workplace(tmp_path / str(lr), "cpu"))
        assert record.status == "ok"
        losses = [row["loss"] for row in record.history]
        assert (losses[-1] > losses[0]) is diverges
        notes = [note for note in record.notes if "diverged" in note]
        assert len(notes) == diverges
        for note in notes:
            assert note.startswith("Run aaaa (TransE, seed 0) may have diverged: its loss was ")
            assert note in describe(record).replace("\n  ", " ")
