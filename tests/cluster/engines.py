"""Slurm and Ray on loopback: started here, stopped by their own process ids."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

# Ray reads these when it is imported: only who has the token may run code on the clusters of tests.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")

SLURM_CONF = """\
ClusterName=loop
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=5
MinJobAge=300
InactiveLimit=0
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
SlurmdParameters=config_overrides
{nodes}
PartitionName=low Nodes={names} Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=30
PartitionName=high Nodes={names} MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE = (
    "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=1 "
    "RealMemory=4000 State=UNKNOWN"
)


def missing_slurm() -> str:
    """Why no Slurm can be started here, "" when one can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    lacking = [
        p for p in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(p, path=path)
    ]
    try:
        import submitit  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        lacking.append("submitit")
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def missing_ray() -> str:
    """Why no Ray can be started here, "" when one can."""
    try:
        import ray  # noqa: F401
    except ImportError:
        return "not installed: ray"
    return ""


class Slurm:
    """munge, slurmctld and two slurmd of one processor each.

    Args:
        folder: empty folder with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.nodes = ("n1", "n2")

    def start(self) -> None:
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        socket_path = self.folder / "munge.socket"
        self._spawn(
            "munged",
            *("--foreground", "--force", f"--key-file={key}", f"--socket={socket_path}"),
            f"--pid-file={self.folder / 'munged.pid'}",
            f"--log-file={self.folder / 'munged.log'}",
            *(f"--seed-file={self.folder / 'munged.seed'}", "--num-threads=2"),
        )
        wait_for(socket_path.exists, 20)
        lines = []
        for name in self.nodes:
            (self.folder / f"spool-{name}").mkdir()
            lines.append(NODE.format(name=name, port=free_port()))
        conf = SLURM_CONF.format(
            user=subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip(),
            folder=self.folder,
            port=free_port(),
            nodes="\n".join(lines),
            names=",".join(self.nodes),
        )
        (self.folder / "slurm.conf").write_text(conf)
        self.start_controller()
        for name in self.nodes:
            self.start_node(name)
        wait_for(lambda: self.states() == dict.fromkeys(self.nodes, "idle"), 60)

    @property
    def environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        return {**os.environ, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start_controller(self) -> None:
        self._spawn("slurmctld", "-D")

    def start_node(self, name: str) -> None:
        self._spawn("slurmd", "-D", "-N", name, key=name)

    def kill_node(self, name: str) -> None:
        """The machine dies: its slurmd, the steps of its jobs and all they started."""
        victims = [self.processes[name].pid]
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                conf = environment.get("SLURM_CONF") == str(self.folder / "slurm.conf")
                if conf and environment.get("SLURMD_NODENAME") == name:
                    victims.append(process.pid)
                if (
                    "slurmstepd" in " ".join(process.info["cmdline"] or ())
                    and (parent := process.parent()) is not None
                    and any(c.pid in victims for c in process.children(recursive=True))
                    and parent.pid != os.getpid()
                ):
                    victims.append(process.pid)
        victims += [
            p.pid
            for p in psutil.process_iter(["cmdline"])
            if "slurmstepd" in " ".join(p.info["cmdline"] or ())
            and any(child.pid in victims for child in p.children(recursive=True))
        ]
        for pid in dict.fromkeys(victims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.processes.pop(name).wait()

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words, capture_output=True, text=True, env=self.environment, timeout=60
        )
        return done.stdout if not done.returncode else done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        text = self.command("sinfo", "-h", "-N", "-p", "low", "-o", "%N %t")
        return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)

    def start_held_jobs(self) -> None:
        """Start what waits for the two minutes that Slurm waits after a requeue."""
        for job in self.command("squeue", "-h", "-r", "-t", "PD", "-o", "%i").split():
            self.command("scontrol", "update", f"jobid={job}", "StartTime=now")

    def stop(self) -> None:
        self.command("scancel", "--full", "--user", "root")
        for process in reversed(self.processes.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def _spawn(self, *words: str, key: str = "") -> None:
        log = (self.folder / f"{key or words[0]}.out").open("ab")
        with log:
            self.processes[key or words[0]] = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment
            )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float, every: float = 0.2) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(every)


@contextlib.contextmanager
def slurm_cluster() -> Iterator[Slurm]:
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # sockets have short paths
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Ray:
    """A head and a second node of one processor each.

    Args:
        folder: empty folder with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.0.0.2:{6399 + secrets.randbelow(400)}"

    def start(self) -> None:
        self._ray(
            *("--head", f"--port={self.address.partition(':')[2]}", "--node-ip-address=127.0.0.2"),
            *("--include-dashboard=false", f"--temp-dir={self.folder}"),
        )
        self.start_node()

    def start_node(self, resources: str = "{}", **environment: str) -> None:
        words = f"--address={self.address}", "--node-ip-address=127.0.0.3"
        self._ray(*words, f"--resources={resources}", **environment)

    def _ray(self, *words: str, **environment: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--num-cpus=1"]
        command += ["--object-store-memory=100000000", "--disable-usage-stats"]
        command += ["--memory=4000000000"]
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def pids(self, word: str = "") -> list[int]:
        """Processes of this cluster; those with ``word`` on their command line."""
        pids = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            ours = str(self.folder) in line or self.address in line
            if not ours and line.startswith("ray::"):
                with contextlib.suppress(psutil.Error):
                    token = process.environ().get("RAY_AUTH_TOKEN")
                    ours = token == os.environ["RAY_AUTH_TOKEN"]
            if ours and word in line and process.pid != os.getpid():
                pids.append(process.pid)
        return pids

    def kill_node(self) -> None:
        """The second machine dies; its workers notice at once that their raylet is gone."""
        for pid in self.pids("--node_ip_address=127.0.0.3"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def stop(self) -> None:
        for number in (15, 9):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self.pids(), 5)


@contextlib.contextmanager
def ray_cluster() -> Iterator[Ray]:
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    cluster = Ray(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
