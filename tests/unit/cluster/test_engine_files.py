"""Engine files: what they say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.run.cluster.settings import RaySettings, SlurmSettings, read_engine
from harness.run.cluster.slurm import sbatch_parameters
from harness.run.executors import Execution, devices_of, make_executor
from harness.run.jobs import Needs


def written(folder: Path, text: str) -> Path:
    path = folder / "engine.yaml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    assert read_engine(None, SlurmSettings) == SlurmSettings()
    assert read_engine(None, RaySettings).address == "local"


def test_a_file_says_where_runs_go_and_what_they_need(tmp_path: Path) -> None:
    text = "partition: gpu\nneeds: {cpus: 4, gpus: 1, memory: 8G}\nsbatch: {constraint: a100}\n"
    engine = read_engine(written(tmp_path, text), SlurmSettings)
    assert (engine.partition, engine.needs.gpus, engine.needs.memory) == ("gpu", 1, 8192)
    assert engine.sbatch == {"constraint": "a100"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("partitoin: gpu\n", ":1: partitoin: unknown key; did you mean 'partition'?"),
        ("needs: {gpu: 1}\n", ":1: needs.gpu: unknown key; did you mean 'gpus'?"),
        ("\nneeds:\n  memory: much\n", ":3: needs.memory: 'much' is no size; write 8G or 500M"),
        ("attempts: 0\n", ":1: attempts: input should be greater than or equal to 1, got 0"),
        ("on_interrupt: leaf\n", ":1: on_interrupt: 'leaf' is not a choice; did you mean 'leave'?"),
        ("sbatch: {array: 0-3}\n", ":1: sbatch: 'array' is set by the harness: arrays are made"),
        ("sbatch: {cpus_per_task: 4}\n", "'cpus_per_task' is set by the harness: write needs.cpus"),
        ("sbatch: {ntasks: 4}\n", "'ntasks' is set by the harness: a run is one task on one node"),
        ("sbatch: {wait: true}\n", "it reads what sbatch prints, and does not wait"),
        ("needs: {minutes: 3}\n", "needs.minutes: 3 min leave no time before signal_seconds (120)"),
        ("needs: {max_minutes: 2}\n", "needs.max_minutes: 2 min leave no time"),
        ("- partition\n", "needs a mapping"),
    ],
)
def test_a_wrong_file_is_refused_with_line_key_and_nearest_choice(
    text: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_engine(written(tmp_path, text), SlurmSettings)
    assert problem in str(refusal.value)


def test_a_client_of_ray_is_no_machine_of_its_cluster(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'ray://h:10001' is no address; write HOST:PORT"):
        read_engine(written(tmp_path, "address: ray://h:10001\n"), RaySettings)


def test_a_key_of_the_other_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="partition: unknown key"):
        read_engine(written(tmp_path, "partition: gpu\n"), RaySettings)


@pytest.mark.parametrize(
    ("text", "size"), [("500M", 500), ("8G", 8192), ("8GiB", 8192), ("1T", 2**20), ("700", 700)]
)
def test_sizes_are_read_as_mebibytes(text: str, size: int, tmp_path: Path) -> None:
    path = written(tmp_path, f"needs: {{memory: '{text}'}}\n")
    assert read_engine(path, SlurmSettings).needs.memory == size


@pytest.mark.parametrize("text", ["time: '2:00:00'\n", "time: 2:00:00\n"])
def test_a_time_needs_no_quotes(text: str, tmp_path: Path) -> None:
    assert read_engine(written(tmp_path, text), SlurmSettings).time == "2:00:00"


def test_needs_and_options_reach_sbatch() -> None:
    settings = SlurmSettings(
        partition="gpu", qos="long", sbatch={"mail_type": "END", "exclusive": True, "nice": False}
    )
    parameters = sbatch_parameters(settings, Needs(cpus=4, gpus=1, memory=8192, minutes=60), "n")
    assert parameters["cpus_per_task"] == 4
    assert parameters["time"] == 60
    assert parameters["additional_parameters"] == {
        "requeue": True,
        "partition": "gpu",
        "qos": "long",
        "mem": "8192M",
        "gpus-per-node": 1,
        "mail-type": "END",
        "exclusive": True,
    }


def test_a_fixed_time_limit_takes_the_place_of_the_estimate() -> None:
    parameters = sbatch_parameters(SlurmSettings(time="2:00:00"), Needs(minutes=60), "n")
    assert parameters["time"] is None
    assert parameters["additional_parameters"]["time"] == "2:00:00"


def test_what_is_not_known_is_left_to_the_cluster() -> None:
    parameters = sbatch_parameters(SlurmSettings(), Needs(), "n")
    assert parameters["time"] is None
    assert parameters["additional_parameters"] == {"requeue": True}


@pytest.mark.parametrize(
    ("executor", "fields", "problem"),
    [
        ("slrum", {}, "unknown executor 'slrum'; did you mean 'slurm'?"),
        ("processes", {"detach": True}, "are for clusters: --executor slurm or ray"),
        ("", {"engine": Path("slurm.yaml")}, "are for clusters: --executor slurm or ray"),
        ("slurm", {"devices": ("cuda:0",)}, "--devices names GPUs of this machine"),
        ("ray", {"detach": True}, "are for Slurm"),
        ("ray", {"on_interrupt": "leave"}, "are for Slurm"),
    ],
)
def test_options_that_do_not_fit_an_executor_are_refused(
    executor: str, fields: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_executor(executor, Execution(executor=executor, **fields))


def test_devices_of_a_login_node_are_not_looked_for() -> None:
    with pytest.raises(ConfigError, match="--devices names GPUs of this machine"):
        devices_of("cuda:0", "slurm")
