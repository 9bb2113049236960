"""Runs jobs as tasks of Ray: it places and retries them, a relay on the node executes each.

Messages go through an actor on the submitting machine, which also says whether to stop. Ray ends
the tasks of a command that is gone, so there is nothing to adopt: the same command continues from
the checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.errors import ConfigError, MachineError
from harness.run.cluster.environment import for_nodes
from harness.run.cluster.folder import new_submission
from harness.run.cluster.locks import LockWatch
from harness.run.cluster.relay import Assignment, Forward, assignment_of, relay
from harness.run.cluster.settings import RaySettings
from harness.run.jobs import Attempt, Job, Needs, OnProgress, Outcome
from harness.run.processes import usable_cores

__all__ = ["RayExecutor", "connect"]

NODE_VARIABLES = frozenset(os.environ)
"""Variables of this process as its node started it; a command's do not take their place."""
FORWARD_S = 0.5
"""Seconds between two calls of the actor by a relay."""
WAIT_S = 0.3
STARVED_S = 60.0
"""Time without any run on a node after which the wait is worth a message."""
CONNECT_S = 10.0
"""Time that the head has to accept a connection."""
OBJECT_STORE = 100 * 2**20
"""Bytes of the object store of a cluster on this machine; nothing large passes through it."""


class _Mailbox:
    """Actor: messages of relays, and whether they shall stop."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.stopping = False

    def put(self, run_id: str, messages: list[dict[str, Any]]) -> bool:
        self.messages += [(run_id, message) for message in messages]
        return self.stopping

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        messages, self.messages = self.messages, []
        return messages

    def stop(self) -> None:
        self.stopping = True


class _Line:
    """A relay's line to the mailbox; messages wait a moment for others."""

    def __init__(self, mailbox: Any, run_id: str) -> None:
        self.mailbox, self.run_id = mailbox, run_id
        self.messages: list[dict[str, Any]] = []
        self.stopping = False
        self._called = 0.0

    def send(self, message: dict[str, Any]) -> None:
        """Send a message with the next call."""
        self.messages.append(message)

    def flush(self) -> None:
        """Send what waits, and ask whether to stop."""
        import ray

        messages, self.messages = self.messages, []
        self._called = time.monotonic()
        self.stopping = ray.get(self.mailbox.put.remote(self.run_id, messages))

    def should_stop(self) -> bool:
        """Tell whether the command was stopped; at most ``FORWARD_S`` old."""
        if not self.stopping and time.monotonic() - self._called > FORWARD_S:
            self.flush()
        return self.stopping


def _execute(assignment_json: str, mailbox: Any, environment: dict[str, str]) -> str | None:
    """Execute an assignment on a node; return its outcome as JSON, None after a stop."""
    import ray

    os.environ.update({k: v for k, v in environment.items() if k not in NODE_VARIABLES})
    assignment = Assignment.model_validate_json(assignment_json)
    line = _Line(mailbox, assignment.job.run_id)
    line.flush()
    if line.stopping:
        return None
    context = ray.get_runtime_context()
    attempt = Attempt(
        engine="ray",
        node=ray.util.get_node_ip_address(),
        number=1,
        task=context.get_task_id() or "",
    )

    def make_forward(first: dict[str, Any]) -> Forward:
        line.send(first)
        return line.send

    outcome = relay(assignment, attempt, make_forward, line.should_stop)
    line.flush()
    return outcome.model_dump_json()


def connect(settings: RaySettings, at_once: int = 0, cpus: int = 1) -> Any:
    """Return the module of Ray, connected to the cluster; a connection that there is stays.

    Args:
        settings: the engine file.
        at_once: runs at the same time on a cluster that is started here; 0 for as many as the
            usable cores are enough for.
        cpus: CPUs of each.

    Raises:
        ConfigError: Ray is not installed.
        MachineError: there is no cluster, or it has other versions of Python or Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray runs its workers, and so our training, at niceness 15 otherwise.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError("executor 'ray' needs Ray: pip install -e '.[ray]'") from None
    if ray.is_initialized():
        return ray
    _print_on_stderr(ray)
    options: dict[str, Any] = {"address": settings.address, "log_to_driver": False}
    if settings.runtime_env:
        options["runtime_env"] = settings.runtime_env
    if settings.address == "local":
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        # --threads may exceed the cores: Ray would wait for ever for a node that has as many. Ray's
        # own count is of the cores of the machine, not of those that this process may use.
        options["num_cpus"] = at_once * cpus or max(usable_cores(), cpus)
    else:
        _check_reachable(settings.address)
    try:
        with _own_sigterm():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise MachineError(_no_connection(settings.address, error)) from error
    return ray


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which asks the runs for checkpoints: Ray's exits at once."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # in others Ray sets none
            signal.signal(signal.SIGTERM, handler)


def _check_reachable(address: str) -> None:
    """Refuse an address that nothing listens on: Ray would try it for minutes, deaf to Ctrl-C."""
    host, _, port = address.rpartition(":")
    if not host:  # "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise MachineError(_no_connection(address, error)) from error


def _print_on_stderr(ray: Any) -> None:
    """Send what Ray says of workers that died to stderr: stdout is for results."""
    module = ray._private.worker
    printed = getattr(module, "print_to_stdstream", None)
    if printed is not None:  # it is not public, and may have another name tomorrow

        def print_on_stderr(data: dict[str, Any], *rest: Any, **more: Any) -> None:
            printed({**data, "is_err": True}, *rest, **more)

        module.print_to_stdstream = print_on_stderr


def _no_connection(address: str, error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    if "ersion mismatch" in text:
        return (
            f"the Ray cluster at {address} has other versions than this machine; install the same "
            f"Python and Ray on both: {text}"
        )
    hint = "; is its head running, and RAY_AUTH_TOKEN (or ~/.ray/auth_token) the same there?"
    return f"no Ray cluster at '{address}': {text}{hint * (address != 'local')}"


class _Tasks:
    """Tasks of Ray, at most ``at_once`` of them in its hands."""

    def __init__(
        self, ray: Any, submit: Callable[[Job], Any], jobs: Sequence[Job], at_once: int
    ) -> None:
        self.ray, self.submit, self.at_once = ray, submit, at_once or len(jobs)
        self.waiting = list(reversed(jobs))
        self.running: dict[Any, Job] = {}
        self._by_id = {job.run_id: job for job in jobs}
        self._begun: set[str] = set()

    def remain(self, stopping: bool) -> bool:
        """Tell whether there is anything to wait for, or to submit."""
        return bool(self.running or (self.waiting and not stopping))

    def wait(self, *, submit: bool) -> list[tuple[Any, Job]]:
        """Submit what there is room for, wait a moment, and return the tasks that have ended."""
        while submit and self.waiting and len(self.running) < self.at_once:
            job = self.waiting.pop()
            self.running[self.submit(job)] = job
        references = list(self.running)
        ended, _ = self.ray.wait(references, num_returns=len(references), timeout=WAIT_S)
        return [(reference, self.running.pop(reference)) for reference in ended]

    def begun(self, run_id: str) -> Job:
        """Take note that a node executes a run, and return its job."""
        self._begun.add(run_id)
        return self._by_id[run_id]

    def drop_waiting(self) -> None:
        """End tasks that no node executes: some may wait for a node that never comes."""
        for reference, job in self.running.items():
            if job.run_id not in self._begun:
                self.ray.cancel(reference)

    def end(self) -> None:
        """End all tasks at once."""
        for reference in self.running:
            with contextlib.suppress(Exception):
                self.ray.cancel(reference, force=True)


class RayExecutor:
    """Runs jobs as tasks of Ray.

    Args:
        settings: the engine file.
        at_once: most runs at the same time; 0 for as many as the cluster has room for.
        on_message: receives lines that a person should read.
    """

    def __init__(
        self,
        settings: RaySettings,
        *,
        at_once: int = 0,
        on_message: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings, self.at_once, self.on_message = settings, at_once, on_message
        self.command = secrets.token_hex(8)
        self._reported: set[Needs] = set()

    def run(
        self, jobs: Sequence[Job], on_event: OnProgress, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """See ``harness.run.jobs.Executor.run``.

        Raises:
            ConfigError, MachineError: see ``connect``.
        """
        if not jobs or should_stop():
            return
        ray = connect(self.settings, self.at_once, max(job.needs.cpus for job in jobs))
        jobs = [job.portable() for job in jobs]
        mailbox = self._mailbox(ray)
        tasks = _Tasks(ray, self._submitter(ray, mailbox, jobs), jobs, self.at_once)
        locks, stopping = LockWatch(self.on_message), False
        last_message = time.monotonic()
        try:
            while tasks.remain(stopping):
                ended = tasks.wait(submit=not stopping)
                for run_id, message in ray.get(mailbox.take.remote()):
                    last_message = time.monotonic()
                    job = tasks.begun(run_id)
                    on_event(job, message.pop("kind"), message)
                    locks.watch(job, [message])
                for reference, job in ended:
                    if outcome := self._outcome(ray, reference, job):
                        yield outcome
                if not stopping and should_stop():
                    stopping = True
                    ray.get(mailbox.stop.remote())
                    tasks.drop_waiting()
                if time.monotonic() - last_message > STARVED_S and not stopping:
                    last_message = time.monotonic()
                    self._report_starved(ray, tasks.running.values())
        except ray.exceptions.RayError as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise MachineError(
                f"the Ray cluster is gone; the same command continues from the checkpoints: {text}"
            ) from error
        finally:
            # Reached early by an error or a second Ctrl-C: checkpoints are whole at any moment.
            tasks.end()
            with contextlib.suppress(Exception):
                ray.kill(mailbox)

    def _mailbox(self, ray: Any) -> Any:
        """Start the mailbox on this machine: it lives as long as the command."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        local = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ray.remote(_Mailbox).options(num_cpus=0, scheduling_strategy=local).remote()

    def _submitter(self, ray: Any, mailbox: Any, jobs: Sequence[Job]) -> Callable[[Job], Any]:
        """Return a function that submits a job and returns the reference of its result."""
        function = ray.remote(_execute)
        visible = for_nodes(os.environ)
        environment = {k: v for k, v in visible.items() if k.startswith("HARNESS_")}
        submission = new_submission(jobs[0].home, jobs)

        def submit(job: Job) -> Any:
            assignment = assignment_of(job, self.command, submission, self.settings.attempts)
            options = {
                "name": job.title,
                "max_retries": self.settings.attempts,
                **_resources(job.needs, self.settings),
            }
            return function.options(**options).remote(
                assignment.model_dump_json(), mailbox, environment
            )

        return submit

    def _outcome(self, ray: Any, reference: Any, job: Job) -> Outcome | None:
        """Return the outcome of a task that has ended, None for one that never began."""
        try:
            text = ray.get(reference)
        except ray.exceptions.TaskCancelledError:
            return None
        except ray.exceptions.RayTaskError as error:
            reason = str(error.cause) or type(error.cause).__name__
            lost = f"the node could not execute it: {type(error.cause).__name__}: {reason}"
            return Outcome(run_id=job.run_id, status="lost", message=lost)
        except ray.exceptions.RayError as error:
            tried = f"lost {self.settings.attempts + 1} times, the last time: "
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            return Outcome(run_id=job.run_id, status="lost", message=tried + reason)
        return Outcome.model_validate_json(text) if text else None

    def _report_starved(self, ray: Any, jobs: Any) -> None:
        """Say which needs no node can serve, if any."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for needs in dict.fromkeys(job.needs for job in jobs):
            required = _required(needs, self.settings)
            able = any(all(node.get(k, 0) >= v for k, v in required.items()) for node in nodes)
            if not able and needs not in self._reported:
                self._reported.add(needs)
                self.on_message(f"no node of the Ray cluster has {needs}; waiting for one")


def _resources(needs: Needs, settings: RaySettings) -> dict[str, Any]:
    """Return the options of a task with these needs."""
    options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
    options |= {"memory": needs.memory * 2**20} if needs.memory else {}
    return options | ({"resources": settings.resources} if settings.resources else {})


def _required(needs: Needs, settings: RaySettings) -> dict[str, float]:
    """Return resources by the names that Ray's nodes have."""
    amounts = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory * 2**20}
    return {name: value for name, value in {**amounts, **settings.resources}.items() if value}
