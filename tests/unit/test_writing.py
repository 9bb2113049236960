"""Files that are written whole: permissions, and what a killed process leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.writing import replacing, staging_folder, use_umask

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.writing import replacing, staging_folder
kind, target = sys.argv[1], Path(sys.argv[2])
with {"file": replacing, "folder": staging_folder}[kind](target):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def killed(kind: str, target: Path) -> None:
    """Write to ``target`` in a process that is killed in the middle of it."""
    subprocess.run([sys.executable, "-c", KILLED, kind, str(target)], check=False)


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    write(tmp_path / "file", b"new")
    with staging_folder(tmp_path / "set") as folder:
        assert mode(folder) == 0o777 & ~umask
    (tmp_path / "of a library").touch(mode=0o600)
    use_umask(tmp_path / "of a library")
    assert mode(tmp_path / "file") == mode(tmp_path / "of a library") == 0o666 & ~umask


def test_an_old_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o640)
    write(tmp_path / "file", b"new")
    assert mode(tmp_path / "file") == 0o640


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed("file", tmp_path / "record.json")
    killed("folder", tmp_path / "TIVA")
    assert len(list(tmp_path.iterdir())) == 2
    write(tmp_path / "record.json", b"whole")
    with staging_folder(tmp_path / "TIVA"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_files_that_another_process_writes_and_those_of_the_user_stay(tmp_path: Path) -> None:
    (tmp_path / ".record.json.swp").touch()
    with replacing(tmp_path / "record.json") as first, staging_folder(tmp_path / "TIVA") as folder:
        write(tmp_path / "record.json", b"second")
        with staging_folder(tmp_path / "TIVA"):
            first.write(b"first")
        assert folder.is_dir()
    assert (tmp_path / "record.json").read_bytes() == b"first"
    assert {path.name for path in tmp_path.iterdir()} == {".record.json.swp", "record.json"}


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "file", b"old")
    with pytest.raises(TypeError), replacing(tmp_path / "file") as file:
        file.write("no bytes")  # type: ignore[call-overload]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
