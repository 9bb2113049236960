"""A fresh machine gets MKG-W from a mirror, checks it, and reads it by name."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from harness.cli.data import app
from harness.data.load import load, source

pytestmark = pytest.mark.data


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep stderr quiet."""


@pytest.fixture
def mirror(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on loopback with MKG-W's files where their URLs say."""
    for file in source("mkg-w").card.files:
        place = tmp_path / "mirror" / urlsplit(file.url).path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(published / "MKG-W" / file.path, place)
    monkeypatch.delenv("HARNESS_DATA")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(_Quiet, directory=str(tmp_path / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_fetch_verify_and_show(mirror: str, tmp_path: Path) -> None:
    runner = CliRunner()
    fetched = runner.invoke(app, ["fetch", "mkg-w", "--base-url", mirror])
    assert fetched.exit_code == 0, fetched.exception
    folder = tmp_path / "cache" / "datasets" / "MKG-W"
    assert fetched.stdout == f"{folder}\n"
    assert fetched.stderr.count(mirror) == 7

    verified = runner.invoke(app, ["verify", "mkg-w", "--json"])
    assert verified.exit_code == 0
    (report,) = json.loads(verified.stdout)
    assert {file["state"] for file in report["files"]} == {"ok"}
    assert report["counts"] == report["published"]

    shown = json.loads(runner.invoke(app, ["show", "mkg-w", "--json"]).stdout)
    assert shown["samples"][0] == ["My Darling Clementine", "cast member", "Linda Darnell"]
    assert load("mkg-w").graph.digest == report["digest"]
