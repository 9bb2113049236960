"""The page of results over HTTP: made again when a run has ended."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.errors import MachineError
from harness.report.serve import PageServer
from harness.report.stored import page_server
from harness.run.suite import plan_line


@contextlib.contextmanager
def running(server: PageServer) -> Iterator[str]:
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        return str(answer.read().decode())


def test_a_page_is_made_again_only_when_its_version_changes() -> None:
    versions, made = [1, 1, 2], list[int]()

    def make() -> str:
        made.append(len(made))
        return f"page {len(made)}"

    with running(PageServer(make, lambda: versions.pop(0), 0)) as address:
        assert [get(address) for _ in range(3)] == ["page 1", "page 1", "page 2"]


def test_a_new_run_is_on_the_page_after_a_reload(tmp_path: Path) -> None:
    def run(model: str) -> None:
        harness.run_suite(plan_line([model], ["atlas"], name=model), home=tmp_path, device="cpu")

    with running(page_server(tmp_path)) as address:
        with pytest.raises(urllib.error.HTTPError) as empty:
            get(address)
        assert "holds no results to report" in empty.value.read().decode()
        run("random")
        assert "Random on atlas" in get(address)
        run("popularity")
        assert "Popularity on atlas" in get(address)


def test_a_port_that_is_taken_is_named() -> None:
    server = PageServer(lambda: "", lambda: 0, 0)
    port = int(server.address.rpartition(":")[2].strip("/"))
    with running(server), pytest.raises(MachineError, match=f"--port {port}: "):
        PageServer(lambda: "", lambda: 0, port)
