"""A PostgreSQL server for tests: on loopback, in a folder of its own, gone when it is stopped."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.store import open_store

USER = "postgres"
TEMPLATE = "harness_template"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
}


def programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, None where PostgreSQL is not installed."""
    if pg_ctl := shutil.which("pg_ctl"):
        return Path(pg_ctl).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda p: int(p.parts[4]))
    return found[-1].parent if found else None


def missing() -> str:
    """Return why no server can be started, "" when one can."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (pip install -e '.[postgres]')"
    return "" if programs() else "PostgreSQL is not installed (apt-get install postgresql)"


class Server:
    """A running server.

    Args:
        folder: empty folder with a short path, for the sockets in it.
        settings: settings in place of ``SETTINGS``.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.settings = folder, {**SETTINGS, **settings}
        self.data, self.port = folder / "data", _free_port()
        self._names = (f"test{number}" for number in itertools.count())
        folder.chmod(0o755)
        (folder / "log").touch()
        if os.geteuid() == 0:  # the server refuses to run as root
            for path in (folder, folder / "log"):
                shutil.chown(path, USER)
        self._call(
            "initdb", "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"
        )
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {**self.settings, "unix_socket_directories": str(self.folder)}
        listed = " ".join(f"-c {name}={value}" for name, value in options.items())
        log = str(self.folder / "log")
        self._call("pg_ctl", "-w", "-l", log, "-o", f"-p {self.port} {listed}", "start")

    def stop(self) -> None:
        """Stop the server; its clients lose their connections."""
        self._call("pg_ctl", "-w", "-m", "fast", "stop")

    def url(self, database: str, user: str = USER) -> str:
        """Return the address of a database."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = USER) -> list[tuple[object, ...]]:
        """Run a statement outside of any transaction and return its rows."""
        import psycopg

        url = self.url(database).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template0") -> str:
        """Create a database and return its address."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def create_store(self) -> str:
        """Create an empty store, a copy of one that was migrated once, and return its address."""
        if (TEMPLATE,) not in self.execute("SELECT datname FROM pg_database"):
            self.execute(f"CREATE DATABASE {TEMPLATE}")
            open_store(self.url(TEMPLATE)).close()
        return self.create(TEMPLATE)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), "-D", str(self.data), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        log = self.folder / "calls"
        with log.open("ab") as output:  # a pipe would stay open in the server
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/")
        assert done.returncode == 0, log.read_text(errors="replace")


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Server]:
    """Run a server and remove everything of it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        server = Server(folder, **settings)
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
