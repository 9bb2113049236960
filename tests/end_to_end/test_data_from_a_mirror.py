"""A fresh machine gets MKG-W from a mirror, checks it, and reads it by name."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from harness.cli.data import app
from harness.data import acquire
from harness.data.load import load_dataset, source
from harness.data.sources import missing_sources, read_source, sources_folder
from harness.errors import DataError, MissingDataError

pytestmark = pytest.mark.data


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep stderr quiet."""


@pytest.fixture
def mirror(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on loopback with MKG-W's files where their URLs say."""
    with pytest.MonkeyPatch.context() as patch:
        # The cache's folder of originals has the layout of a mirror.
        patch.setenv("HARNESS_CACHE", str(tmp_path / "importing"))
        acquire.import_sources(published / "features", source("mkg-w").card.feature_sources)
        if (tmp_path / "importing").is_dir():
            (tmp_path / "importing" / "sources").rename(tmp_path / "mirror")
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
    fetched = runner.invoke(app, ["fetch", "mkg-w", "--no-features", "--base-url", mirror])
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
    assert load_dataset("mkg-w").graph.digest == report["digest"]


@pytest.fixture
def featured(mirror: str, tmp_path: Path) -> Path:
    """Folder that the mirror serves, which holds the originals of MKG-W's feature sets."""
    folder = tmp_path / "mirror"
    lacking = [s.location for s in SOURCES if not (folder / s.location).is_file()]
    if lacking:
        pytest.skip(f"the originals are not here: {', '.join(lacking)}")
    return folder


SOURCES = source("mkg-w").card.feature_sources
SUMMARIES = next(s for s in SOURCES if "mm_description" in s.path)


def _fetch(mirror: str) -> Result:
    return CliRunner().invoke(app, ["fetch", "mkg-w", "--base-url", mirror])


def test_fetch_brings_the_originals_of_feature_sets(mirror: str, featured: Path) -> None:
    fetched = _fetch(mirror)
    assert fetched.exit_code == 0, fetched.exception
    assert missing_sources(SOURCES) == []
    complete = "complete: descriptions, numeric, public, public-tokens, public-minilm\n"
    assert fetched.stderr.endswith(f"MKG-W: {complete}")
    licences = [line for line in fetched.stderr.splitlines() if ": licence" in line]
    assert len(licences) == len(set(licences)) == 5
    assert sum("none stated; fetched from its origin by you" in line for line in licences) == 3
    # The names, which belong to the dataset, are an original of the numbers too: fetched once.
    assert fetched.stderr.count("/ent_links.txt") == 1

    numbers = load_dataset("mkg-w", "numeric").features.tables["numeric"]
    assert int(numbers.present.sum()) == 2180

    again = _fetch(mirror)
    assert again.exit_code == 0
    assert mirror not in again.stderr
    assert "licence" not in again.stderr


def test_a_mirror_without_a_file_and_the_next_call(mirror: str, featured: Path) -> None:
    (featured / SUMMARIES.location).rename(featured / "elsewhere")
    fetched = _fetch(mirror)
    assert isinstance(fetched.exception, MissingDataError)
    assert SUMMARIES.path in str(fetched.exception)
    assert "the server answers 404" in str(fetched.exception)
    assert missing_sources(SOURCES) == [SUMMARIES]
    with pytest.raises(MissingDataError, match="harness data fetch mkg-w"):
        load_dataset("mkg-w", "public")
    # The triples are there, and so is a set that needs no such file.
    assert load_dataset("mkg-w", "numeric").features.tables

    (featured / "elsewhere").rename(featured / SUMMARIES.location)
    again = _fetch(mirror)
    assert again.exit_code == 0
    assert again.stderr.count(mirror) == 1
    assert missing_sources(SOURCES) == []


def test_a_changed_file_is_refused_and_nothing_of_it_is_kept(mirror: str, featured: Path) -> None:
    path = featured / SUMMARIES.location
    path.write_bytes(path.read_bytes().replace(b"Western", b"western"))
    fetched = _fetch(mirror)
    assert type(fetched.exception) is DataError
    assert fetched.exception.exit_code == 3
    assert SUMMARIES.sha256 in str(fetched.exception)
    assert missing_sources(SOURCES) == [SUMMARIES]
    assert not [p for p in sources_folder().rglob("*") if p.name == path.name]


def test_import_takes_a_folder_of_features_and_one_with_both(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (published / "features" / "MKG-W").is_dir():
        pytest.skip("no features there")
    monkeypatch.delenv("HARNESS_DATA")
    features = CliRunner().invoke(app, ["import", str(published / "features" / "MKG-W")])
    assert features.exit_code == 0, features.exception
    assert features.stdout == f"{sources_folder()}\n"
    assert "MKG-W: complete: none; missing for descriptions, numeric" in features.stderr
    assert hashlib.sha256(read_source(SUMMARIES)).hexdigest() == SUMMARIES.sha256

    both = tmp_path / "both"
    both.mkdir()
    (both / "MKG-W").symlink_to(published / "MKG-W")
    for part in ("MKG-Y", "DB15K", "shared"):
        shutil.copytree(published / "features" / part, both / "features" / part)
    imported = CliRunner().invoke(app, ["import", str(both)])
    assert imported.exit_code == 0, imported.exception
    assert "MKG-W: complete: descriptions, numeric, public" in imported.stderr
    assert load_dataset("mkg-w").graph.n_entities == 15000
    assert missing_sources(SOURCES) == []
