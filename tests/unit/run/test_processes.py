"""A worker's process seen from its executor, with a shell script in its place."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.run.processes import Messages, _Child
from tests.executing import make_job

StartWorker = Callable[[str], tuple[_Child, Messages]]


@pytest.fixture
def start_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartWorker:
    def start(script: str) -> tuple[_Child, Messages]:
        program = tmp_path / "worker.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        messages: Messages = queue.Queue()
        return _Child(make_job(tmp_path), messages), messages

    return start


def test_a_worker_killed_within_a_line_has_failed(start_worker: StartWorker) -> None:
    child, messages = start_worker(
        """echo '{"kind": "epoch", "epoch": 1}'; printf '{"kind": "epoch", "epo'; kill -9 $$"""
    )
    run_id = child.job.run_id
    assert messages.get(timeout=30) == (run_id, {"kind": "epoch", "epoch": 1})
    assert messages.get(timeout=30) == (run_id, None)
    outcome = child.outcome()
    assert outcome.status == "failed"
    assert "killed (SIGKILL)" in outcome.message


def test_a_worker_ended_by_a_signal_without_a_name_has_failed(start_worker: StartWorker) -> None:
    child, messages = start_worker("kill -40 $$")
    assert messages.get(timeout=30) == (child.job.run_id, None)
    assert "ended by signal 40" in child.outcome().message


def test_a_worker_that_has_just_ended_can_be_asked_to_stop(start_worker: StartWorker) -> None:
    child, messages = start_worker("exit 3")
    assert messages.get(timeout=30) == (child.job.run_id, None)
    child.ask_to_stop()
    assert "left with code 3" in child.outcome().message
