"""What squeue prints, and what becomes of a Slurm that does not answer."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.run.cluster import squeue
from harness.run.cluster.squeue import parse_queue

PRINTED = """\
41_0|RUNNING|n1|None|harness-20261129-1-ab
41_1|PENDING||Resources|harness-20261129-1-ab
42|NODE_FAIL|n2|NodeDown|harness-20261129-2-cd
43|PENDING||Dependency|a name | with a bar
44_[2-9%2]|PENDING||Priority|harness-not-expanded
slurm_load_jobs error: something else
"""


def test_jobs_are_read_by_id() -> None:
    entries = parse_queue(PRINTED)
    assert list(entries) == ["41_0", "41_1", "42", "43"]
    assert entries["41_0"].node == "n1"
    assert (entries["41_1"].array_index, entries["42"].array_index) == (1, 0)
    assert entries["43"].name == "a name | with a bar"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED"])
def test_jobs_that_have_not_ended_are_active(state: str) -> None:
    assert parse_queue(f"1|{state}|||n")["1"].active


@pytest.mark.parametrize("state", ["COMPLETED", "NODE_FAIL", "TIMEOUT", "PREEMPTED", "CANCELLED"])
def test_jobs_that_have_ended_are_not(state: str) -> None:
    assert not parse_queue(f"1|{state}|||n")["1"].active


@pytest.mark.parametrize(
    ("state", "reason", "held"),
    [
        ("PENDING", "JobHeldUser", True),
        ("PENDING", "launch_failed_requeued_held", True),
        ("PENDING", "QOSMaxMemoryPerJob", True),
        ("REQUEUE_HOLD", "job requeued in held state", True),
        ("PENDING", "Resources", False),
        ("PENDING", "QOSMaxJobsPerUserLimit", False),
        ("RUNNING", "None", False),
    ],
)
def test_jobs_that_wait_for_a_person_are_known(state: str, reason: str, held: bool) -> None:
    assert parse_queue(f"1|{state}||{reason}|n")["1"].held is held


@pytest.mark.parametrize("name", ["SQUEUE_PARTITION", "SQUEUE_STATES", "SCANCEL_INTERACTIVE"])
def test_a_users_defaults_hide_no_job(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that squeue does not show would be submitted a second time."""
    monkeypatch.setenv(name, "gpu")
    script = f'[ -z "${name}" ] && echo "41|RUNNING|n1||h-1"; exit 0'
    command(tmp_path, "squeue", script, monkeypatch)
    assert list(squeue.queue("h-")) == ["41"]


def command(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a command of this name before all others."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_only_jobs_of_the_harness_are_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "printed").write_text(PRINTED)
    command(tmp_path, "squeue", f"cat {tmp_path / 'printed'}", monkeypatch)
    assert list(squeue.queue("harness-")) == ["41_0", "41_1", "42"]


def test_a_controller_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "printf 'squeue: retrying\\nsqueue: error: Unable to contact controller\\n' >&2; exit 1"
    command(tmp_path, "squeue", text, monkeypatch)
    with pytest.raises(MachineError, match=r"^squeue: error: Unable to contact controller$"):
        squeue.queue("harness-")


def test_a_machine_without_slurm_is_told_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"no squeue here: .*login nodes"):
        squeue.queue("harness-")


def test_many_ids_are_cancelled_by_several_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "scancel", f'echo $# >> "{tmp_path / "counts"}"', monkeypatch)
    squeue.cancel((str(i) for i in range(450)), pending=True)
    assert (tmp_path / "counts").read_text().split() == ["202", "202", "52"]


@pytest.mark.parametrize(("message", "raises"), [("", False), ("cannot contact controller", True)])
def test_jobs_that_have_ended_meanwhile_are_no_error(
    message: str, raises: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "scancel", f'printf "{message}" >&2; exit 1', monkeypatch)
    with pytest.raises(MachineError) if raises else contextlib.nullcontext():
        squeue.signal(["41_0"], "USR1")
