"""The results folder of a cluster: seen by every node, with locks that hold between them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from harness.run.jobs import Job
from harness.run.worker import LOCK
from harness.store.failures import disk_error, make_folder

__all__ = [
    "NETWORK_FILE_SYSTEMS",
    "Submission",
    "file_system",
    "lock_is_free",
    "new_submission",
    "sees",
    "submitting",
    "unlocked",
    "warnings",
]

FOLDER = "cluster"
"""Folder of a results folder that holds a folder per submission."""
NONCE, JOBS = "nonce", "jobs.json"
NETWORK_FILE_SYSTEMS = (
    *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "glusterfs", "afs"),
    *("9p", "orangefs", "panfs", "fuse"),
)


class Submission:
    """Jobs that were submitted together.

    Args:
        home: results folder, absolute.
        name: name of the submission's folder.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.folder, self.name = home / FOLDER / name, name

    @property
    def nonce(self) -> str:
        """Text that a node must read in the folder, "" where there is none."""
        try:
            return (self.folder / NONCE).read_text()
        except OSError:
            return ""

    @property
    def stages(self) -> Sequence[tuple[str, str]]:
        """(run id, last split that is ranked) of its jobs, in order."""
        try:
            content = json.loads((self.folder / JOBS).read_bytes())
            return [(run_id, stage) for run_id, stage in content]
        except (OSError, ValueError):
            return []


def new_submission(home: Path, jobs: Sequence[Job]) -> Submission:
    """Make the folder of a submission, before anything is submitted.

    Raises:
        MachineError: the results folder cannot be written.
    """
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    submission = Submission(home, f"{now}-{secrets.token_hex(4)}")
    try:
        submission.folder.mkdir(parents=True)
        (submission.folder / NONCE).write_text(secrets.token_hex(16))
        content = json.dumps([(job.run_id, job.stage) for job in jobs])
        (submission.folder / JOBS).write_text(content)
    except OSError as error:
        raise disk_error(submission.folder, error) from error
    return submission


@contextlib.contextmanager
def submitting(home: Path) -> Iterator[None]:
    """Let one command at a time look for submitted runs and submit what is missing."""
    make_folder(home / FOLDER)
    lock = FileLock(home / FOLDER / "lock")
    # Without locks, which are warned of, the queue still names what was submitted before.
    with contextlib.suppress(NotImplementedError, OSError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sees(home: Path, name: str, nonce: str) -> bool:
    """Tell whether this machine sees the results folder of the machine that submitted."""
    submission = Submission(home, name)
    with contextlib.suppress(OSError):
        os.listdir(submission.folder.parent)  # what NFS remembers of the folder may be old
    return bool(nonce) and submission.nonce == nonce


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of a folder's file system, "" where it is not known."""
    best, kind = "", ""
    path = str(folder.resolve())
    for line in mounts.read_text().splitlines() if mounts.is_file() else ():
        point, kind_there = line.split(" ")[1:3]
        point = point.replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, kind_there
    return kind


def is_network(kind: str) -> bool:
    """Tell whether a type of file system is one that machines share."""
    return kind.partition(".")[0] in NETWORK_FILE_SYSTEMS


def lock_is_free(folder: Path) -> bool:
    """Tell whether the lock of a run folder could be had now."""
    try:
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


def unlocked(folder: Path) -> str:
    """Return the problem with locks in a folder, "" when one of two is refused.

    Raises:
        MachineError: the folder cannot be written.
    """
    path = folder / f".lock-{secrets.token_hex(4)}"
    try:
        with path.open("w") as first, path.open("w") as second:
            try:
                fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                return f"files cannot be locked ({error.strerror})"
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return ""
            return "a lock that is held is given away again"
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        path.unlink(missing_ok=True)


def warnings(home: Path) -> Iterator[str]:
    """Yield warnings about a results folder that a cluster shares.

    Args:
        home: results folder, which exists.
    """
    from harness.store import store_address

    kind = file_system(home)
    if is_network(kind) and isinstance(store_address(home), Path):
        yield (
            f"{home} is on a network file system ({kind}): SQLite is not safe there when several "
            "commands write; a database server is: HARNESS_STORE=postgresql+psycopg://..."
        )
    if problem := unlocked(home):
        yield (
            f"{home}: {problem}; two commands at the same time could train one run twice: mount "
            "the folder with locks (NFS: without nolock; Lustre: with flock)"
        )
