"""Commands under faults: forked from a process that has run one of each kind, so that they start
within milliseconds."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import WITH_MODELS, Forker, forking
from tests.faults import films
from tests.faults.commands import Commands
from tests.faults.families import FAMILIES, Cases, Count, is_whole, write_table
from tests.faults.films import Place
from tests.faults.operations import Bench

COUNTS = pytest.StashKey[dict[str, Count]]()
MakeCases = Callable[[str], AbstractContextManager[Cases]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = {name: Count() for name in FAMILIES}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table once everything was tried."""
    counts = session.config.stash[COUNTS]
    if is_whole(counts):
        write_table(counts)


@pytest.fixture
def cases(pytestconfig: pytest.Config) -> MakeCases:
    """Return ``cases(family)``: counts what is added, fails in the end if something is wrong."""

    @contextmanager
    def collect(family: str) -> Iterator[Cases]:
        collected = Cases(family)
        yield collected
        count = pytestconfig.stash[COUNTS][family]
        count.tried += collected.tried
        count.survived += collected.survived
        if collected.problems:
            pytest.fail("\n".join(collected.problems), pytrace=False)

    return collect


@pytest.fixture(scope="session")
def _warm_forker() -> Iterator[Forker]:
    first = f"{WITH_MODELS}; from tests.faults import inside; inside.warm()"
    with forking(first, PYTHONPATH=str(REPOSITORY), NO_PROXY="127.0.0.1") as forker:
        yield forker


@pytest.fixture
def commands(_warm_forker: Forker, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(_warm_forker, tmp_path_factory.mktemp("streams"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Folders with data and suites, and no results."""
    return films.write_place(tmp_path / "place")


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server on loopback with the files of ``pinned``."""
    root = tmp_path_factory.mktemp("mirror")
    films.write_graph(root / films.MIRRORED.strip("/"))
    handler = functools.partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def bench(_warm_forker: Forker, tmp_path_factory: pytest.TempPathFactory, mirror: str) -> Bench:
    """The operations that faults disturb."""
    folder = tmp_path_factory.mktemp("operations")
    return Bench(Commands(_warm_forker, tmp_path_factory.mktemp("streams")), folder, mirror)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep stderr quiet."""
