"""The test split is scored once per run, after selection; an audit of it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from harness import pipeline, splits
from harness.catalog import build_model
from harness.cli.main import app
from harness.data.graph import SPLITS
from harness.data.load import load_graph
from harness.errors import ConfigError, LockedSplitError, RunError, StoreError
from harness.evaluation import shadow
from harness.evaluation.ranks import Ranks
from harness.pipeline import Workplace
from harness.plan.spec import RunSpec
from harness.store import accesses
from harness.store.archive import audit, export, import_records
from harness.store.archive.rank_files import run_files
from harness.store.memory import MemoryStore
from harness.store.records import RunRecord
from harness.training.procedures import StandardProcedure
from tests.toys import SMALL, toy_spec

QUERIES = 40


def make_spec(**changes: Any) -> RunSpec:
    training = {"epochs": 6, "evaluate_every": 2, "patience": 0}
    return toy_spec(training=training, **changes)


AUDITED = make_spec(audit={"shadow_test": True})


@pytest.fixture(autouse=True)
def _plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "aaaa", "cpu")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that are ranked, in order."""
    found: list[str] = []
    whole = splits.rank_split

    def counting(model: Any, spec: Any, graph: Any, split: splits.Split, *rest: Any) -> Any:
        found.append(split)
        return whole(model, spec, graph, split, *rest)

    monkeypatch.setattr("harness.pipeline.rank_split", counting)
    monkeypatch.setattr("harness.splits.rank_split", counting)
    return found


def train(place: Workplace, spec: RunSpec | None = None) -> RunRecord:
    return pipeline.train("aaaa", spec or make_spec(), place)


def ranks_file(place: Workplace) -> Path:
    return place.folder / "ranks.npz"


# --- locked away ----------------------------------------------------------------------------


def test_a_locked_graph_is_the_graph_without_its_test_split() -> None:
    graph = load_graph(SMALL)
    blind = graph.locked()
    assert (blind.digest, blind.entities) == (graph.digest, graph.entities)
    assert set(blind.splits) == set(SPLITS)
    assert torch.equal(blind.splits["valid"], graph.splits["valid"])
    for ask in (
        lambda: blind.splits["test"],
        lambda: blind.splits.get("test"),
        lambda: list(blind.splits.values()),
        lambda: blind.filter_index(),
    ):
        with pytest.raises(LockedSplitError, match="the test split is locked until the run is"):
            ask()
    assert len(graph.splits["test"]) == 20


def test_what_trains_is_given_no_test_triple(place: Workplace) -> None:
    """Neither the model nor the procedure holds one, whatever they keep of the graph."""
    index = load_graph(SMALL).index
    assert torch.equal(index.train, load_graph(SMALL).splits["train"])
    tensors = {name for name, value in vars(index).items() if torch.is_tensor(value)}
    assert tensors <= {"train", "seen_entities"}
    spec = make_spec()
    model = build_model("transe", {"dim": 8}, index, {}, seed=0)
    procedure = StandardProcedure(model, index, spec, torch.device("cpu"))
    known = {tuple(row) for row in index.train.tolist()}
    test = {tuple(row) for row in load_graph(SMALL).splits["test"].tolist()} - known
    held = procedure.loss.sampler.filter_index  # type: ignore[attr-defined]
    for head, relation, tail in test:
        query = torch.tensor([head]), torch.tensor([relation])
        assert not held.contains(*query, torch.tensor([tail]), "tail").any()


@pytest.mark.parametrize("who", ["the loop", "the procedure"])
def test_training_that_asks_for_the_test_split_is_an_error(
    who: str, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    whole = pipeline._fit

    def peeking(model: Any, spec: Any, graph: Any, *rest: Any) -> Any:
        given.append(graph)
        if who == "the loop":
            graph.splits["test"]
        return whole(model, spec, graph, *rest)

    monkeypatch.setattr("harness.pipeline._fit", peeking)
    if who == "the procedure":
        monkeypatch.setattr(
            "harness.pipeline.StandardProcedure", lambda *_, **__: given[0].splits["test"]
        )
    with pytest.raises(LockedSplitError):
        train(place)
    assert accesses.read(place.folder) == ()


# --- scored once ----------------------------------------------------------------------------


def test_a_tested_run_says_when_its_test_split_was_scored(
    place: Workplace, scored: list[str]
) -> None:
    record = train(place)
    assert "test_split" not in record.provenance
    tested = pipeline.test(record, place)
    (access,) = accesses.read(place.folder)
    assert (access.stage, access.queries) == ("test", QUERIES)
    assert tested.provenance["test_split"] == {
        "test": {"count": 1, "first": access.when, "last": access.when}
    }
    assert scored == ["valid", "test"]


def test_ranks_without_a_record_are_taken_and_not_made_again(
    place: Workplace, scored: list[str]
) -> None:
    """The process died between the two."""
    record = train(place)
    tested = pipeline.test(record, place)
    again = pipeline.test(record, place)
    assert scored == ["valid", "test"]
    assert again.metrics == tested.metrics
    assert again.provenance["test_split"]["test"]["count"] == 1


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_lost_ranks_are_made_again_and_that_is_recorded(
    damage: str, place: Workplace, scored: list[str]
) -> None:
    tested = pipeline.test(train(place), place)
    before = ranks_file(place).read_bytes()
    if damage == "missing":
        ranks_file(place).unlink()
    else:
        ranks_file(place).write_bytes(before[:-40])
    again = pipeline.retest(tested, place)
    assert ranks_file(place).read_bytes() == before
    assert again.metrics == tested.metrics
    assert again.provenance["test_split"]["retest"]["why"] == [f"ranks.npz is {damage}"]
    assert again.provenance["test_split"]["retest"]["count"] == 1
    assert scored == ["valid", "test", "test"]
    assert again.model_copy(update={"provenance": tested.provenance}) == tested


def test_a_second_scoring_is_refused_while_the_ranks_are_there(
    place: Workplace, scored: list[str]
) -> None:
    tested = pipeline.test(train(place), place)
    with pytest.raises(ConfigError, match=r"run aaaa has its ranks .*scored once"):
        pipeline.retest(tested, place)
    assert scored == ["valid", "test"]
    assert len(accesses.read(place.folder)) == 1


def test_other_weights_are_not_tested_after_the_first(place: Workplace, scored: list[str]) -> None:
    """Training again until the test split likes it leaves a trace in the folder."""
    pipeline.test(train(place), place)
    for path in (*place.folder.glob("*.safetensors"), place.folder / "state.json"):
        path.unlink()
    record = train(place, make_spec(seed=1))
    with pytest.raises(ConfigError, match=r"was scored on .* with other weights and is not scored"):
        pipeline.test(record, place)
    assert scored.count("test") == 1


def test_a_repetition_with_other_numbers_is_refused(place: Workplace) -> None:
    tested = pipeline.test(train(place), place)
    ranks_file(place).unlink()
    edited = tuple(
        m.model_copy(update={"value": 0.5}) if (m.split, m.metric) == ("test", "mrr") else m
        for m in tested.metrics
    )
    with pytest.raises(RunError, match=r"test both all mrr is 0\.\d+, the record says 0\.5"):
        pipeline.retest(tested.model_copy(update={"metrics": edited}), place)
    assert not ranks_file(place).exists()
    assert [access.stage for access in accesses.read(place.folder)] == ["test", "retest"]


def test_a_log_that_cannot_be_read_stops_the_test(place: Workplace) -> None:
    record = train(place)
    (place.folder / accesses.ACCESSES).write_text("{}\n")
    with pytest.raises(StoreError, match=r"test_split\.jsonl:1: not a line of this log"):
        pipeline.test(record, place)


def test_the_command_makes_lost_ranks_again_and_only_then(tmp_path: Path) -> None:
    suite, home = tmp_path / "own.yaml", tmp_path / "home"
    suite.write_text(f"name: own\ndatasets: ['{SMALL}']\nrows: [popularity]\nseeds: [0]\n")

    def harness(*words: object) -> Any:
        return CliRunner().invoke(app, [*map(str, words), "--home", str(home)])

    assert harness("run", suite).exit_code == 0
    (folder,) = (home / "runs").iterdir()
    refused = harness("runs", "retest", folder.name)
    assert isinstance(refused.exception, ConfigError)
    before = (folder / "ranks.npz").read_bytes()
    (folder / "ranks.npz").unlink()
    done = harness("runs", "retest", folder.name)
    assert done.exit_code == 0, done.output
    assert "scored again once" in done.stderr
    assert (folder / "ranks.npz").read_bytes() == before
    shown = harness("runs", "show", folder.name).stdout
    assert "test_split.retest.why" in shown
    assert "ranks.npz is missing" in shown
    assert harness("run", suite).exit_code == 0  # finished, and left as it is
    assert len(accesses.read(folder)) == 2


# --- the audit ------------------------------------------------------------------------------


def test_an_audit_changes_no_figure(tmp_path: Path) -> None:
    plain, audited = (Workplace(tmp_path / name, "cpu") for name in ("plain", "audited"))
    without = pipeline.execute("aaaa", make_spec(), plain)
    beside = pipeline.execute("aaaa", AUDITED, audited)
    assert beside.metrics == without.metrics
    for a, b in zip(without.history, beside.history, strict=True):
        assert {k: v for k, v in a.items() if "seconds" not in k} == {
            k: v for k, v in b.items() if "seconds" not in k
        }
    assert ranks_file(plain).read_bytes() == ranks_file(audited).read_bytes()


def test_an_audit_is_another_run_and_none_is_the_run_it_was() -> None:
    def identity(spec: RunSpec) -> str:
        return spec.run_id(dataset_digest="d", feature_digest="", model_numerics=1)

    assert identity(make_spec(audit={"shadow_test": False})) == identity(make_spec())
    assert identity(AUDITED) != identity(make_spec())


def test_an_audit_ranks_what_the_test_ranks() -> None:
    noise = {"kind": "noise", "scale": 1.0}
    make_spec(audit={"shadow_test": True}, data={"dataset": SMALL, "corrupt": [noise]})
    for at in ("train", "test"):
        data = {"dataset": SMALL, "corrupt": [{**noise, "at": at}]}
        with pytest.raises(ValueError, match=r"and data\.corrupt gives the test others"):
            make_spec(audit={"shadow_test": True}, data=data)


@pytest.mark.usefixtures("readable_ids")
def test_an_audit_stores_the_test_ranks_of_every_validation(place: Workplace) -> None:
    record = pipeline.execute("aaaa", AUDITED, place)
    stored = shadow.read(place.folder / "shadow")
    assert list(stored) == [2, 4, 6]
    chosen = stored[round(record.diagnostics["best_epoch"])]
    tested = Ranks.load(ranks_file(place))
    for side, counts in tested.sides.items():
        assert np.array_equal(chosen.filtered.sides[side].better, counts.better)
        assert (chosen.raw.sides[side].better >= counts.better).all()
        assert (chosen.raw.sides[side].candidates == 40).all()
    assert record.provenance["test_split"]["shadow"]["count"] == 3
    assert record.provenance["test_split"]["test"]["count"] == 1
    assert audit.problems(record, run_files(place.folder)) == []


def test_nothing_that_trains_or_tests_reads_what_is_sealed(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there could be anything: the run is the same."""
    expected = pipeline.execute("aaaa", make_spec(), Workplace(place.folder.parent / "b", "cpu"))
    (place.folder / "shadow").mkdir(parents=True)
    for epoch in (2, 4, 6):
        for kind in ("filtered", "raw"):
            (place.folder / "shadow" / f"{epoch}.{kind}.npz").write_bytes(b"rubbish")

    def no(*_: Any) -> Any:
        raise AssertionError("sealed ranks were read")

    monkeypatch.setattr(shadow, "read", no)
    monkeypatch.setattr(shadow, "files", no)
    assert pipeline.execute("aaaa", AUDITED, place).metrics == expected.metrics


@pytest.mark.usefixtures("readable_ids")
def test_sealed_ranks_travel_with_the_record(place: Workplace, tmp_path: Path) -> None:
    record = pipeline.execute("aaaa", AUDITED, place)
    here, there = MemoryStore(), MemoryStore()
    here.add(record)
    export(here, ["aaaa"], tmp_path / "records", runs=tmp_path)
    import_records(there, tmp_path / "records", runs=tmp_path / "there")
    assert there.get("aaaa") == record
    sealed = sorted(p.name for p in (tmp_path / "there" / "aaaa" / "shadow").iterdir())
    assert sealed == sorted(f"{e}.{kind}.npz" for e in (2, 4, 6) for kind in ("filtered", "raw"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "2.raw.npz").write_bytes(b"x"), "not a complete rank file"),
        (lambda folder: (folder / "2.raw.npz").rename(folder / "3.raw.npz"), ""),
        (lambda folder: [p.rename(folder / p.name.replace("4", "5")) for p in folder.glob("4*")],
         "epoch 5 was not validated"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("readable_ids")
def test_sealed_ranks_that_cannot_be_true_are_not_exported(
    place: Workplace, tmp_path: Path, damage: Any, said: str
) -> None:
    store = MemoryStore()
    store.add(pipeline.execute("aaaa", AUDITED, place))
    damage(place.folder / "shadow")
    if said:
        with pytest.raises(StoreError, match=said):
            export(store, ["aaaa"], tmp_path / "records", runs=tmp_path)
    else:  # half of an epoch, as a process that died leaves it
        export(store, ["aaaa"], tmp_path / "records", runs=tmp_path)
        assert list(shadow.read(place.folder / "shadow")) == [4, 6]


def test_the_log_is_written_before_the_split_is_scored(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = train(place)

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.splits.rank", dies)
    with pytest.raises(KeyboardInterrupt):
        pipeline.test(record, place)
    (line,) = (place.folder / accesses.ACCESSES).read_text().splitlines()
    assert json.loads(line)["stage"] == "test"
