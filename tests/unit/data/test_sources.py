"""Original files of feature sets: fetched and imported one by one, checked, stored once."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.data import acquire
from harness.data.card import FeatureSource, FileCard
from harness.data.load import source
from harness.data.sources import (
    is_verified,
    missing_sources,
    read_source,
    refuse_missing,
    source_path,
    sources_folder,
)
from harness.errors import ConfigError, DataError, MissingDataError

CONTENT = {
    "texts/a b.txt": b"0\tan apple\n",
    "numbers.txt": b"0\theight\t3\n",
    "tokens.pkl": b"]",
}


def _source(path: str, **changes: object) -> FeatureSource:
    content = CONTENT[path]
    fields = {
        "repository": "owner/toy",
        "commit": "0123abc",
        "path": path,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    return FeatureSource(**(fields | changes))


SOURCES = tuple(map(_source, CONTENT))


class _Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; of the one that ``cut`` names, half is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {f"/{_source(path).location}": content for path, content in CONTENT.items()}
        self.cut = ""
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        path = self.path.replace("%20", " ")
        self.server.requests.append(path)
        content = self.server.files.get(path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = bool(self.server.cut) and path.endswith(self.server.cut)
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_: object) -> None:
        """Keep stderr quiet."""


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _stored() -> list[str]:
    """Return the files in the cache, those of staging folders too."""
    cache = sources_folder().parent
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())


def _places(*paths: str) -> list[str]:
    return sorted(f"sources/owner/toy/0123abc/{path}" for path in paths)


# --- fetching -------------------------------------------------------------------------------


def test_fetch_stores_each_original_in_the_layout_of_a_mirror(server: _Server) -> None:
    acquire.fetch_sources(SOURCES, base_url=server.url)
    assert _stored() == _places(*CONTENT)
    assert [read_source(source) for source in SOURCES] == list(CONTENT.values())


def test_an_address_is_quoted_and_pinned_by_commit() -> None:
    assert SOURCES[0].url.endswith("/owner/toy/0123abc/texts/a%20b.txt")


def test_what_is_there_is_not_fetched_again(server: _Server) -> None:
    acquire.fetch_sources(SOURCES, base_url=server.url)
    server.requests.clear()
    source_path(SOURCES[1]).write_bytes(b"0\theight\t4\n")
    acquire.fetch_sources(SOURCES, base_url=server.url)
    assert server.requests == [f"/{SOURCES[1].location}"]
    assert all(map(is_verified, SOURCES))


def test_an_interrupted_fetch_is_continued(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(url: str, file: FileCard, folder: Path) -> None:
        if "numbers" in url:
            raise KeyboardInterrupt
        download(url, file, folder)

    download = acquire._download
    monkeypatch.setattr(acquire, "_download", interrupt)
    with pytest.raises(KeyboardInterrupt):
        acquire.fetch_sources(SOURCES, base_url=server.url)
    assert _stored() == _places("texts/a b.txt")
    monkeypatch.setattr(acquire, "_download", download)
    server.requests.clear()
    acquire.fetch_sources(SOURCES, base_url=server.url)
    assert len(server.requests) == 2
    assert _stored() == _places(*CONTENT)


def test_a_download_that_is_cut_off_leaves_no_part_of_it(server: _Server) -> None:
    server.cut = "numbers.txt"
    with pytest.raises(DataError, match="cut off"):
        acquire.fetch_sources(SOURCES, base_url=server.url)
    assert _stored() == _places("texts/a b.txt", "tokens.pkl")


def test_a_changed_source_is_named_and_the_others_arrive(server: _Server) -> None:
    server.files[f"/{SOURCES[1].location}"] = b"0\theight\t4\n"
    with pytest.raises(DataError, match=r"1 of 3 files.*(?s:.)*numbers\.txt.*sha256"):
        acquire.fetch_sources(SOURCES, base_url=server.url)
    assert _stored() == _places("texts/a b.txt", "tokens.pkl")


def test_a_source_that_moved_is_named_and_the_others_arrive(server: _Server) -> None:
    del server.files[f"/{SOURCES[0].location}"]
    with pytest.raises(MissingDataError, match=r"(?s)1 of 3 files.*a%20b\.txt.*404"):
        acquire.fetch_sources(SOURCES, base_url=server.url)
    assert _stored() == _places("numbers.txt", "tokens.pkl")


def test_an_unreachable_server_is_tried_once() -> None:
    announced: list[str] = []
    with pytest.raises(MissingDataError, match="cannot be reached"):
        acquire.fetch_sources(SOURCES, base_url="http://127.0.0.1:9", announce=announced.append)
    assert sum("http://" in line for line in announced) == 1


def test_a_mirror_must_be_a_web_address() -> None:
    with pytest.raises(ConfigError, match="--base-url"):
        acquire.fetch_sources(SOURCES, base_url="ftp://mirror")


def test_each_licence_is_announced_once(server: _Server) -> None:
    announced: list[str] = []
    free = _source("tokens.pkl", repository="owner/other", licence="MIT")
    server.files[f"/{free.location}"] = CONTENT["tokens.pkl"]
    acquire.fetch_sources((*SOURCES, free), base_url=server.url, announce=announced.append)
    assert [line for line in announced if "licence" in line] == [
        "owner/toy: licence none stated; fetched from its origin by you, not redistributed",
        "owner/other: licence MIT",
    ]


def test_what_no_repository_serves_is_not_fetched(server: _Server) -> None:
    joined = _source("tokens.pkl", repository="joined", fetched=False)
    assert not joined.url
    acquire.fetch_sources([joined], base_url=server.url)
    assert server.requests == []


# --- importing ------------------------------------------------------------------------------


def test_import_recognises_originals_by_content_at_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "renamed").write_bytes(CONTENT["numbers.txt"])
    (folder / "toy__a b.txt.gz").write_bytes(gzip.compress(CONTENT["texts/a b.txt"]))
    (folder / "other.txt").write_bytes(b"something else")
    recognised = acquire.import_sources(folder, SOURCES)
    assert {source.path for source in recognised} == {"texts/a b.txt", "numbers.txt"}
    assert _stored() == _places("texts/a b.txt", "numbers.txt")
    assert missing_sources(SOURCES) == [SOURCES[2]]


def test_a_file_of_the_same_size_and_another_content_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_bytes(b"0\theight\t4\n")
    assert acquire.import_sources(tmp_path, SOURCES) == []
    assert _stored() == []


def test_a_damaged_compressed_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(CONTENT["numbers.txt"]))
    content[12] ^= 0xFF
    (tmp_path / "numbers.txt.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"numbers\.txt\.gz: damaged"):
        acquire.import_sources(tmp_path, SOURCES)


# --- reading --------------------------------------------------------------------------------


def test_a_changed_file_in_the_cache_is_refused(tmp_path: Path) -> None:
    path = source_path(SOURCES[1])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0\theight\t4\n")
    with pytest.raises(DataError, match=r"numbers\.txt: sha256 .*harness data import"):
        read_source(SOURCES[1])


def test_a_missing_original_names_the_command_that_gets_it() -> None:
    with pytest.raises(MissingDataError, match="get it with `harness data import DIR`"):
        read_source(SOURCES[0])
    (mkg_y,) = (s for s in source("mkg-y").card.feature_sources if s.path.endswith("ent2id.pkl"))
    with pytest.raises(MissingDataError, match="get it with `harness data fetch mkg-y`, or"):
        read_source(mkg_y)
    with pytest.raises(MissingDataError, match=r"(?s)'public' lacks 3.*tokens\.pkl.*fetch toy"):
        refuse_missing("toy", "public", SOURCES)


def test_a_dataset_and_a_package_may_hold_an_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Toy").mkdir()
    (tmp_path / "Toy" / "n.txt").write_bytes(CONTENT["numbers.txt"])
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert is_verified(_source("numbers.txt", dataset_file="Toy/n.txt"))
    package = tmp_path / "toy_package_of_tokens"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tokens.pkl").write_bytes(CONTENT["tokens.pkl"])
    packaged = _source("tokens.pkl", package="toy_package_of_tokens/tokens.pkl", fetched=False)
    assert not is_verified(packaged)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert is_verified(packaged)
    with pytest.raises(MissingDataError, match=r"pip install -e '\.\[glosses\]'"):
        refuse_missing("toy", "glosses", [packaged])


def test_a_changed_file_of_a_package_names_the_distribution_to_install_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "toy_package_of_pieces"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tokens.pkl").write_bytes(b"[")
    (tmp_path / "toy_pieces-1.0.dist-info").mkdir()
    (tmp_path / "toy_pieces-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: toy-pieces\nVersion: 1.0\n"
    )
    (tmp_path / "toy_pieces-1.0.dist-info" / "top_level.txt").write_text(f"{package.name}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    packaged = _source("tokens.pkl", package=f"{package.name}/tokens.pkl", fetched=False)
    with pytest.raises(DataError, match=r"pip install --force-reinstall toy-pieces`"):
        read_source(packaged)
    (package / "tokens.pkl").unlink()
    with pytest.raises(MissingDataError, match=r"pip install -e '\.\[glosses\]'"):
        read_source(packaged)
