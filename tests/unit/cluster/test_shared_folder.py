"""The results folder of a cluster: nonce, file system, locks."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from harness.plan.spec import RunSpec
from harness.run.cluster import folder
from harness.run.cluster.folder import file_system, new_submission, sees, unlocked, warnings
from harness.run.cluster.locks import LockWatch
from harness.run.jobs import Job
from harness.run.worker import LOCK

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
scratch /home/ann/my\\040scratch lustre rw,flock 0 0
"""


def make_job(home: Path, run_id: str = "run") -> Job:
    spec = RunSpec.model_validate({"model": {"name": "random"}, "data": {"dataset": "atlas"}})
    return Job(run_id=run_id, label="random", spec=spec, home=home)


def test_a_submission_is_recognised_by_its_nonce(tmp_path: Path) -> None:
    submission = new_submission(tmp_path, [make_job(tmp_path)])
    assert submission.stages == [("run", "test")]
    assert sees(tmp_path, submission.name, submission.nonce)
    assert not sees(tmp_path / "another", submission.name, submission.nonce)
    assert not sees(tmp_path, submission.name, "another")
    assert not sees(tmp_path, "removed", ""), "a text that could not be read is none"


def test_what_is_damaged_of_a_submission_names_no_runs(tmp_path: Path) -> None:
    submission = new_submission(tmp_path, [make_job(tmp_path)])
    (submission.folder / "jobs.json").write_text('[["run", "te')
    assert submission.stages == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/results", "ext4"),
        ("/home/ann/results", "nfs4"),
        ("/home/ann/my scratch/results", "lustre"),
        ("/homes", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_mount(path: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert file_system(Path(path), tmp_path / "mounts") == kind


def test_sqlite_on_a_network_file_system_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "file_system", lambda home: "fuse.sshfs")
    assert "SQLite is not safe there" in next(warnings(tmp_path))
    assert "HARNESS_STORE=postgresql" in next(warnings(tmp_path))
    monkeypatch.setenv("HARNESS_STORE", "postgresql+psycopg://db/harness")
    assert list(warnings(tmp_path)) == []


def test_a_local_folder_with_locks_is_not_warned_of(tmp_path: Path) -> None:
    assert list(warnings(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_locks_that_do_nothing_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert unlocked(tmp_path) == "a lock that is held is given away again"
    assert "could train one run twice" in next(warnings(tmp_path))


def test_a_file_system_without_locks_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert unlocked(tmp_path) == "files cannot be locked (Function not implemented)"


EPOCH = {"epoch": 1.0, "loss": 0.5}


def test_a_lock_that_holds_on_its_node_alone_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on long after its lock was free here."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    job, told = make_job(tmp_path), list[str]()
    job.folder.mkdir(parents=True)
    (job.folder / LOCK).touch()
    watch = LockWatch(told.append)
    watch.watch(job, [EPOCH])
    assert told == []
    now = 5.0
    watch.watch(job, [EPOCH])
    now = 20.0
    watch.watch(job, [])
    assert told == [], "late messages of a run that has ended are no sign"
    watch.watch(job, [EPOCH])
    watch.watch(job, [EPOCH])
    assert len(told) == 1
    assert "do not hold between the nodes" in told[0]


def test_a_lock_that_holds_is_looked_at_once(tmp_path: Path) -> None:
    job, told = make_job(tmp_path), list[str]()
    job.folder.mkdir(parents=True)
    with (job.folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        watch = LockWatch(told.append)
        watch.watch(job, [EPOCH])
    watch.watch(job, [EPOCH])
    watch.watch(job, [EPOCH])
    assert told == []
