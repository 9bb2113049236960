"""Runs jobs in processes of their own, several at once; also the entrance of such a process.

A child (``python -m harness.run.processes JOB.json``) reports events as JSON lines on its
standard output. On its standard input a byte asks it to stop, and the end of the input, which comes
whenever the parent is gone, ends it at once. A child that dies (out of memory, kill -9) fails its
job alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, MachineError
from harness.run.jobs import Job, OnProgress, Outcome

__all__ = ["ProcessExecutor", "stop_signals_blocked", "threads_per_worker", "usable_cores"]

Message = dict[str, Any]
Messages = queue.Queue[tuple[str, Message | None]]
"""(run id, message), and (run id, None) when the child has ended."""


def usable_cores() -> int:
    """Return the number of cores that this process may use (``taskset``, Slurm, cpuset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_per_worker(workers: int) -> int:
    """Divide the cores that this process may use between workers."""
    return max(1, usable_cores() // workers)


class ProcessExecutor:
    """Runs up to ``workers`` jobs at once and divides the machine between them.

    Args:
        workers: processes at a time.
        threads: CPU threads of each; 0 divides the cores.
        devices: devices that runs are spread over ("cuda:0", "cuda:1", ...), the least busy first;
            empty leaves the job's own.
    """

    def __init__(self, workers: int, threads: int = 0, devices: Sequence[str] = ()) -> None:
        self.workers = workers
        self.threads = threads or threads_per_worker(workers)
        self.devices = tuple(devices)

    def run(
        self, jobs: Sequence[Job], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """See ``harness.run.jobs.Executor.run``.

        Raises:
            MachineError: a child cannot write its results; the others are ended.
        """
        waiting = list(reversed(jobs))
        running: dict[str, _Child] = {}
        messages: Messages = queue.Queue()
        try:
            while running or (waiting and not should_stop()):
                while waiting and len(running) < self.workers and not should_stop():
                    job = self._placed(waiting.pop(), [child.job for child in running.values()])
                    running[job.run_id] = _Child(job, messages)
                    on_event(job, "stage", {"stage": "start", "total": 0})
                if should_stop():
                    for child in running.values():
                        child.ask_to_stop()
                try:  # a stop is noticed within this time
                    run_id, message = messages.get(timeout=0.2)
                except queue.Empty:
                    continue
                child = running[run_id]
                if message is not None:
                    on_event(child.job, message.pop("kind"), message)
                    continue
                del running[run_id]
                yield child.outcome()
        finally:
            # Reached early by an error or a second Ctrl-C: checkpoints are whole at any moment.
            for child in running.values():
                child.kill()

    def _placed(self, job: Job, running: Sequence[Job]) -> Job:
        """Return a job with its threads and, of several devices, the one with the fewest runs."""
        changes: dict[str, Any] = {"threads": job.threads or self.threads}
        if self.devices:
            load = Counter(other.device for other in running)
            changes["device"] = min(self.devices, key=lambda device: load[device])
        return job.model_copy(update=changes)


class _Child:
    def __init__(self, job: Job, messages: Messages) -> None:
        from harness.store.failures import disk_error

        self.job = job
        self.errors = job.folder / "stderr.log"
        path = job.folder / "job.json"
        # Torch reads it when it is imported, before the job can set a number of threads.
        environment = dict(os.environ, OMP_NUM_THREADS=str(job.threads))
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(job.portable().model_dump_json(), encoding="utf-8")
            errors = self.errors.open("wb")
        except OSError as error:
            raise disk_error(job.folder, error) from error
        with errors, stop_signals_blocked():
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "harness.run.processes", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then asks nicely
            )
        self._stop_requested = False
        self._last: Message = {}
        threading.Thread(target=self._read, args=(messages,), daemon=True).start()

    def ask_to_stop(self) -> None:
        if not self._stop_requested:
            self._stop_requested = True
            assert self.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                self.process.stdin.write(b"s")
                self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close_input()

    def outcome(self) -> Outcome:
        """Return the outcome of the job, once the child has ended."""
        self._close_input()
        if self._last.get("status") == "machine":
            raise MachineError(self._last["message"])
        if self._last:
            status, text = self._last["status"], self._last["message"]
            return Outcome(run_id=self.job.run_id, status=status, message=text)
        return Outcome(run_id=self.job.run_id, status="failed", message=self._how_it_died())

    def _read(self, messages: Messages) -> None:
        assert self.process.stdout is not None
        try:
            with self.process.stdout as lines:
                for line in lines:
                    if not line.endswith(b"\n"):  # the child was killed while it wrote it
                        break
                    message = json.loads(line)
                    if message["kind"] == "outcome":
                        self._last = message
                    else:
                        messages.put((self.job.run_id, message))
        finally:  # without its end the executor would wait for the child for ever
            self.process.wait()  # ``outcome`` reads the exit code
            messages.put((self.job.run_id, None))

    def _close_input(self) -> None:
        # Not in the reading thread: ``ask_to_stop`` may write until the main thread knows the end.
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of a byte that nobody read
            self.process.stdin.close()

    def _how_it_died(self) -> str:
        code = self.process.returncode
        if code == -signal.SIGKILL:
            return "the worker was killed (SIGKILL), by hand or for lack of memory"
        ending = f"was ended by {_signal_name(-code)}" if code < 0 else f"left with code {code}"
        tail = self.errors.read_text(errors="replace").strip().splitlines()[-1:]
        return f"the worker {ending}" + (f": {tail[0]}" if tail else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


_STOPPING = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
"""Signals that ask a child to stop. Slurm sends its own to every process of a job."""


@contextlib.contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Let a process that is started in the block receive ``_STOPPING`` only once it handles
    them."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _child(path: Path) -> int:
    # What a library or a model prints goes to stderr.log, not between the messages.
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    stop = threading.Event()
    for number in _STOPPING:
        signal.signal(number, lambda number, frame: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()

    def send(kind: str, values: Message) -> None:
        try:
            messages.write(json.dumps({"kind": kind, **values}) + "\n")
        except BrokenPipeError:
            os._exit(1)

    job = Job.model_validate_json(path.read_bytes())
    from harness.run.worker import execute_job

    try:
        outcome = execute_job(job, lambda _, kind, values: send(kind, values), stop.is_set)
        send("outcome", {"status": outcome.status, "message": outcome.message})
    except MachineError as error:
        send("outcome", {"status": "machine", "message": str(error)})
    except HarnessError as error:
        send("outcome", {"status": "failed", "message": str(error)})
    return 0


def _listen(stop: threading.Event) -> None:
    """Wait for the parent to ask for a stop, and leave when it is gone."""
    while os.read(0, 1):
        stop.set()
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(_child(Path(sys.argv[1])))
