"""Runs jobs in processes of their own, several at once; also the entrance of such a process.

A child (``python -m harness.execution.processes JOB.json``) reports events as JSON lines on its
standard output. A child that dies (out of memory, kill -9) fails its job alone.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.execution.base import Event, Job, Outcome

__all__ = ["ProcessExecutor"]


class ProcessExecutor:
    """Runs up to ``workers`` jobs at once and divides the machine between them.

    Args:
        workers: processes at a time.
        threads: CPU threads of each; 0 divides the cores.
        devices: devices handed out in turn ("cuda:0", "cuda:1", ...); empty leaves the job's own.
    """

    def __init__(self, workers: int, threads: int = 0, devices: Sequence[str] = ()) -> None:
        self.workers = workers
        self.threads = threads or max(1, (os.cpu_count() or 1) // workers)
        self.devices = tuple(devices)

    def run(
        self, jobs: Sequence[Job], on_event: Event, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """See ``harness.execution.base.Executor.run``."""
        waiting = list(reversed(jobs))
        free = list(reversed(self.devices)) if self.devices else []
        running: dict[str, _Child] = {}
        messages: queue.Queue[tuple[str, dict[str, Any] | None]] = queue.Queue()
        told_to_stop = False
        try:
            while running or (waiting and not should_stop()):
                while waiting and len(running) < self.workers and not should_stop():
                    job = waiting.pop()
                    changes: dict[str, Any] = {"threads": job.threads or self.threads}
                    if free:
                        changes["device"] = free.pop()
                    job = job.model_copy(update=changes)
                    running[job.run_id] = _Child(job, messages)
                if should_stop() and not told_to_stop:
                    told_to_stop = True
                    for child in running.values():
                        child.process.send_signal(signal.SIGTERM)
                try:
                    run_id, message = messages.get(timeout=0.2)
                except queue.Empty:
                    continue
                child = running[run_id]
                if message is not None:
                    on_event(child.job, message.pop("kind"), message)
                    continue
                del running[run_id]
                if self.devices:
                    free.append(child.job.device)
                yield child.outcome()
        finally:
            for child in running.values():
                child.process.terminate()


class _Child:
    def __init__(self, job: Job, messages: queue.Queue[tuple[str, dict[str, Any] | None]]) -> None:
        self.job = job
        job.folder.mkdir(parents=True, exist_ok=True)
        self.path = job.folder / "job.json"
        self.path.write_text(job.model_dump_json())
        self.errors = job.folder / "stderr.log"
        environment = dict(os.environ, OMP_NUM_THREADS=str(job.threads))
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "harness.execution.processes", str(self.path)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then asks nicely
            )
        self._last: dict[str, Any] = {}
        threading.Thread(target=self._read, args=(messages,), daemon=True).start()

    def _read(self, messages: queue.Queue[tuple[str, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a library printed something
            if message["kind"] == "outcome":
                self._last = message
            else:
                messages.put((self.job.run_id, message))
        self.process.wait()
        messages.put((self.job.run_id, None))

    def outcome(self) -> Outcome:
        if self._last:
            status, text = self._last["status"], self._last["message"]
            return Outcome(run_id=self.job.run_id, status=status, message=text)
        code = self.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        tail = self.errors.read_text(errors="replace").strip().splitlines()[-1:]
        text = f"the worker {how}" + (f": {tail[0]}" if tail else "")
        return Outcome(run_id=self.job.run_id, status="failed", message=text)


def _child(path: Path) -> int:
    from harness.execution.worker import execute_job

    job = Job.model_validate_json(path.read_bytes())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())

    def send(kind: str, values: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"kind": kind, **values}) + "\n")
        sys.stdout.flush()

    try:
        outcome = execute_job(job, lambda _, kind, values: send(kind, values), stop.is_set)
    except HarnessError as error:
        outcome = Outcome(run_id=job.run_id, status="failed", message=str(error))
    send("outcome", {"status": outcome.status, "message": outcome.message})
    return 0


if __name__ == "__main__":
    raise SystemExit(_child(Path(sys.argv[1])))
