"""Loggers receive what the record keeps, and never affect a run."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

import harness
from harness import loggers
from harness.config.override import dotted
from harness.errors import ConfigError, NonFiniteError
from harness.events import Event
from harness.loggers import LoggedRun, epoch_values, record_texts, record_values
from harness.run.events import RunEnded, RunProgress
from harness.run.executors import Execution
from harness.run.jobs import Job, Outcome
from harness.run.logging import RunLogging
from harness.run.study import promote_trials, run_study
from harness.run.suite import SuiteResult
from harness.store.records import RunRecord

DATASET = "synthetic:entities=60,train=300,seed=1"
SUITE = f"""
name: small
datasets: ["{DATASET}"]
base: {{data.features: none, model.dim: 8, training.epochs: 3, training.evaluate_every: 2}}
seeds: [0]
rows: [transe]
"""
STUDY = (
    SUITE.replace("name: small", "name: searched")
    + """
study: {sampler: grid, space: {optimiser.lr: [1e-2, 1e-3]}}
"""
)


class Memory:
    """A logger that keeps its calls; ``fails_in`` names the method that raises."""

    made: ClassVar[list[Memory]] = []
    fails_in: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[Any, ...]] = []
        self._call("init")
        self.made.append(self)

    def _call(self, name: str, *values: Any) -> None:
        if name == self.fails_in:
            raise RuntimeError(f"no {name} today\nsecond line")
        self.calls.append((name, *values))

    def start(self, run: LoggedRun) -> None:
        self._call("start", run)

    def epoch(self, run: LoggedRun, epoch: int, values: Mapping[str, float]) -> None:
        self._call("epoch", run.run_id, epoch, dict(values))

    def end(self, run: LoggedRun, status: str, record: RunRecord | None) -> None:
        self._call("end", run.run_id, status, record)

    def close(self) -> None:
        self._call("close")

    def epochs(self) -> list[int]:
        """Epochs since the last start."""
        after = list(self.calls)
        while any(call[0] == "start" for call in after):
            after.pop(0)
        return [call[1 + 1] for call in after if call[0] == "epoch"]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Memory]]:
    """The logger "memory" of an installed plug-in."""
    point = EntryPoint("memory", f"{__name__}:Memory", loggers.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Memory)
    _install(monkeypatch, point)
    Memory.made, Memory.fails_in = [], ""
    yield Memory
    Memory.made, Memory.fails_in = [], ""


def _install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == "harness.loggers"
        return [point for point in points if name in (None, point.name)]

    monkeypatch.setattr(loggers, "entry_points", entry_points)


def run(tmp_path: Path, **options: Any) -> SuiteResult:
    (tmp_path / "small.yaml").write_text(SUITE)
    settings: dict[str, Any] = {"home": tmp_path / "home", "device": "cpu", "threads": 1}
    return harness.run_suite(tmp_path / "small.yaml", **settings | options)


def expected(record: RunRecord) -> dict[str, dict[int, float]]:
    """Name -> epoch -> value of everything numeric in a record."""
    values: dict[str, dict[int, float]] = {}
    for row in record.history:
        for name, value in epoch_values(row).items():
            values.setdefault(name, {})[round(row["epoch"])] = value
    last = round(record.history[-1]["epoch"])
    return values | {name: {last: value} for name, value in record_values(record).items()}


# --- the names --------------------------------------------------------------------------------


def test_values_have_the_names_of_splits_sides_and_subsets(tmp_path: Path) -> None:
    record = run(tmp_path).records[0]
    values = record_values(record)
    assert values["test/mrr"] == record.metric("mrr")
    assert values["test/head/hits@10"] == record.metric("hits@10", side="head")
    assert values["best/mrr"] == record.metric("mrr", "valid")
    assert values["timings/train.epoch"] == pytest.approx(record.timing("train.epoch"))
    assert sum(name.startswith(("test/", "best/")) for name in values) == len(record.metrics)
    assert epoch_values({"epoch": 2.0, "loss": 1.5, "valid_mrr": 0.25}) == {
        "train/loss": 1.5,
        "valid/mrr": 0.25,
    }


# --- the packages -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Path]:
    """Record and logs of a run with all three loggers."""
    for package in ("tensorboard", "mlflow", "wandb"):
        pytest.importorskip(package, reason=f"the extra [{package}] is not installed")
    path = tmp_path_factory.mktemp("logged")
    messages: list[str] = []
    result = run(
        path,
        log="tensorboard,mlflow,wandb",
        on_event=lambda event: messages.append(str(event)),
    )
    assert not [text for text in messages if "logger" in text]
    return result.records[0], path / "home" / "logs"


def test_tensorboard_shows_the_record(logged: tuple[RunRecord, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    record, logs = logged
    (folder,) = (logs / "tensorboard" / "small").iterdir()
    assert folder.name.endswith(record.run_id)
    events = EventAccumulator(str(folder))
    events.Reload()
    shown = {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }
    wanted = expected(record)
    assert set(wanted) <= set(shown)
    for name, curve in wanted.items():
        assert shown[name] == pytest.approx(curve, rel=1e-6), name
    session = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(session).session_start_info
    assert start.hparams["model.dim"].number_value == 8
    assert record.run_id in str(events.Tensors("record/text_summary")[0])


def test_mlflow_shows_the_record(logged: tuple[RunRecord, Path]) -> None:
    from mlflow.tracking import MlflowClient

    record, logs = logged
    client = MlflowClient(f"sqlite:///{logs / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    (shown,) = client.search_runs([experiment.experiment_id])
    assert shown.info.status == "FINISHED"
    assert shown.info.run_name == f"TransE on {DATASET}, seed 0"
    assert shown.data.params == {
        key: str(value) for key, value in dotted(record.spec.model_dump(mode="json")).items()
    }
    for name, curve in expected(record).items():
        history = client.get_metric_history(shown.info.run_id, name.replace("@", "_at_"))
        assert {entry.step: entry.value for entry in history} == pytest.approx(curve), name
    for key, text in record_texts(record).items():
        assert shown.data.tags[f"harness.{key}"] == text[:5000]


def test_wandb_writes_the_record_offline(logged: tuple[RunRecord, Path]) -> None:
    record, logs = logged
    (folder,) = (logs / "wandb" / "wandb").glob("offline-run-*")
    history, summary, config = _read_wandb(folder / f"run-{record.run_id}.wandb")
    wanted = expected(record)
    for row in record.history:
        epoch = round(row["epoch"])
        shown = next(item for item in history if item["epoch"] == epoch)
        for name, value in epoch_values(row).items():
            assert shown[name] == pytest.approx(value)
    last = round(record.history[-1]["epoch"])
    for name in record_values(record):
        assert summary[name] == pytest.approx(wanted[name][last]), name
    assert summary["status"] == "ok"
    assert config["model.dim"] == 8
    assert config["record"]["run_id"] == record.run_id


def _read_wandb(path: Path) -> tuple[list[dict], dict, dict]:
    """Return history, summary and configuration in a file of an offline run."""
    from wandb.proto import wandb_internal_pb2

    history: list[dict] = []
    summary: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for data in _log_records(path.read_bytes()):
        entry = wandb_internal_pb2.Record.FromString(data)
        if entry.HasField("history"):
            history.append(_items(entry.history.item))
        summary |= _items(entry.summary.update)
        config |= _items(entry.run.config.update) | _items(entry.config.update)
    return history, summary, config


def _log_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file in LevelDB's log format, after seven bytes of W&B's own."""
    at, data = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # the end of a block is padded
            at += 32768 - at % 32768
        _, length, kind = struct.unpack_from("<IHB", content, at)
        data += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield data
            data = b""


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_run_that_is_resumed_is_logged_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name, reason=f"the extra [{name}] is not installed")
    epochs: list[int] = []

    class Counted:
        def __init__(self, folder: Path) -> None:
            self.logger = loggers.make_logger(name, folder)

        def __getattr__(self, method: str) -> Callable[..., None]:
            def call(*values: Any) -> None:
                if method == "start":
                    epochs.clear()
                if method == "epoch":
                    epochs.append(values[1])
                getattr(self.logger, method)(*values)

            return call

    monkeypatch.setattr("harness.run.logging.make_logger", lambda name, folder: Counted(folder))
    seen = iter([False, True])
    stopped = run(tmp_path, log=[name], should_stop=lambda: next(seen, True))
    assert stopped.interrupted
    assert epochs == [1]
    assert not run(tmp_path, log=[name]).interrupted
    assert epochs == [1, 2, 3]
    folder = tmp_path / "home" / "logs" / name
    if name == "tensorboard":
        assert len(list(folder.glob("small/*"))) == 1
    elif name == "wandb":
        assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    else:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("small")
        (shown,) = client.search_runs([experiment.experiment_id])
        assert shown.info.status == "FINISHED"


def test_several_runs_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_KERNELS", "reference")  # no process needs to compile
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    pytest.importorskip("wandb", reason="the extra [wandb] is not installed")
    (tmp_path / "small.yaml").write_text(SUITE.replace("seeds: [0]", "seeds: [0, 1]"))
    result = harness.run_suite(
        tmp_path / "small.yaml",
        home=tmp_path / "home",
        device="cpu",
        threads=1,
        workers=2,
        log="tensorboard,wandb",
    )
    logs = tmp_path / "home" / "logs"
    assert len(list((logs / "tensorboard" / "small").iterdir())) == 2
    for record in result.records:
        (path,) = (logs / "wandb" / "wandb").glob(f"offline-run-*/run-{record.run_id}.wandb")
        history, _, config = _read_wandb(path)
        assert config["seed"] == record.seed
        losses = [item["train/loss"] for item in history if "train/loss" in item]
        assert losses == pytest.approx([row["loss"] for row in record.history])


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_the_command_that_opens_the_log_is_printed_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_DIR", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    messages: list[str] = []
    run(tmp_path, log=name, on_event=lambda event: messages.append(str(event)))
    folder = tmp_path / "home" / "logs" / name
    commands = {
        "tensorboard": f"tensorboard --logdir {folder}",
        "mlflow": f"pip install mlflow && mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db",
        "wandb": f"wandb sync {folder}/wandb/offline-run-*",
    }
    assert [text for text in messages if "open the log" in text] == [
        f"{name}: open the log with: {commands[name]}"
    ]


# --- loggers of plug-ins, and the calls that every logger gets --------------------------------


def test_a_plug_in_receives_a_run_from_start_to_end(tmp_path: Path, memory: type[Memory]) -> None:
    record = run(tmp_path, log="memory").records[0]
    (logger,) = memory.made
    assert logger.folder == tmp_path / "home" / "logs" / "memory"
    assert [call[0] for call in logger.calls] == [
        "init", "start", "epoch", "epoch", "epoch", "end", "close",
    ]  # fmt: skip
    started = logger.calls[1][1]
    assert (started.run_id, started.suite, started.label) == (record.run_id, "small", "TransE")
    assert started.settings["training.epochs"] == 3
    assert [call[3] for call in logger.calls if call[0] == "epoch"] == [
        epoch_values(row) for row in record.history
    ]
    assert logger.calls[-2][1:] == (record.run_id, "ok", record)


def test_stored_runs_are_logged_from_their_records_once(
    tmp_path: Path, memory: type[Memory]
) -> None:
    record = run(tmp_path).records[0]
    for _ in range(2):
        run(tmp_path, log="memory")
    first, second = memory.made
    assert first.epochs() == [1, 2, 3]
    assert first.calls[-2] == ("end", record.run_id, "ok", record)
    assert [call[0] for call in second.calls] == ["init", "close"]


def test_a_failed_run_is_logged_with_its_error(
    tmp_path: Path, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> RunRecord:
        raise NonFiniteError("the loss of epoch 2 is nan")

    monkeypatch.setattr("harness.pipeline.train", fail)
    assert run(tmp_path, log="memory").failed
    name, _, status, record = memory.made[0].calls[-2]
    assert (name, status) == ("end", "failed")
    assert record_texts(record)["error"] == "the loss of epoch 2 is nan"


@pytest.mark.parametrize("method", ["init", "start", "epoch", "end", "close"])
def test_a_logger_that_fails_is_named_once_and_affects_no_run(
    method: str, tmp_path: Path, memory: type[Memory]
) -> None:
    memory.fails_in = method
    messages: list[str] = []
    result = run(tmp_path, log="memory", on_event=lambda event: messages.append(str(event)))
    assert [record.status for record in result.records] == ["ok"]
    (warning,) = [text for text in messages if "memory" in text]
    assert warning == (
        f"warning: logger 'memory' failed and logs no more: RuntimeError: no {method} today; "
        "runs and results are not affected"
    )


def test_the_runs_of_a_study_are_logged_before_and_after_they_are_tested(
    tmp_path: Path, memory: type[Memory]
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    options: dict[str, Any] = {"home": tmp_path / "home", "device": "cpu", "threads": 1}
    run_study(tmp_path / "study.yaml", log="memory", **options)
    (searched,) = memory.made
    ends = [call for call in searched.calls if call[0] == "end"]
    assert [status for _, _, status, _ in ends] == ["validated", "validated"]
    assert {call[1].suite for call in searched.calls if call[0] == "start"} == {"searched"}
    (tested,) = promote_trials("searched", log="memory", **options).run_ids
    end = memory.made[1].calls[-2]
    assert end[:3] == ("end", tested, "ok")
    assert memory.made[1].epochs() == [1, 2, 3]


def test_epochs_that_a_cluster_repeats_replace_the_earlier_ones(tmp_path: Path) -> None:
    record = run(tmp_path).records[0]
    home = tmp_path / "home"
    job = Job(run_id=record.run_id, label="TransE", spec=record.spec, home=home)
    logger = Memory(tmp_path)
    events: list[Event] = []
    logging = RunLogging({"memory": logger}, home, "small", events.append)
    rows = [RunProgress(job, "epoch", row) for row in record.history]
    for row in [*rows[:2], *rows[1:]]:  # the node was lost after epoch 2
        logging.on_event(row)
    assert logger.epochs() == [1, 2, 3]
    logging.on_event(RunEnded(job, Outcome(run_id=job.run_id, status="lost")))
    assert logger.calls[-1] == ("end", job.run_id, "interrupted", None)
    assert len(events) == 5


# --- names that are refused -------------------------------------------------------------------


def test_names_are_read_from_a_text(memory: type[Memory]) -> None:
    assert Execution.model_validate({"log": " memory,memory"}).log == ("memory",)
    with pytest.raises(ConfigError, match="log memory,,: a name is missing beside a comma"):
        Execution.model_validate({"log": "memory,,"})


def test_an_unknown_logger_is_refused_with_the_nearest(memory: type[Memory]) -> None:
    with pytest.raises(ConfigError, match="--log: unknown logger 'memori'; did you mean 'memory'"):
        Execution(log=("memori",))
    with pytest.raises(ConfigError, match="choose from memory, mlflow, tensorboard, wandb"):
        Execution(log=("x",))


@pytest.mark.parametrize("name", sorted(loggers.LOGGERS))
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"pip install -e '\.\[{name}\]'"):
        Execution(log=(name,))


def test_two_loggers_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for points in (
        [EntryPoint("wandb", "mine:Logger", loggers.GROUP)],
        [EntryPoint("own", f"{module}:Logger", loggers.GROUP) for module in ("a", "b")],
    ):
        _install(monkeypatch, *points)
        with pytest.raises(ConfigError, match=r"is registered twice: .* and "):
            Execution(log=(points[0].name,))
