"""Finding, fetching and importing datasets: all or nothing, and never without a right sha256."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.data import acquire, folders
from harness.data.card import DatasetCard, FileCard
from harness.errors import ConfigError, DataError, HarnessError, MachineError, MissingDataError

CONTENT = {
    "entity2id.txt": b"2\na 0\nb 1\n",
    "train2id.txt": b"1\n0 1 0\n",
    "names.txt": b"a\nb\n",
}
OPTIONAL = "names.txt"
PREFIX = "/owner/toy/0123abc/benchmarks/Toy-Folder/"


def _card() -> DatasetCard:
    return DatasetCard(
        name="toy",
        title="TOY",
        aliases=("toy-alias",),
        folder="Toy-Folder",
        description="two entities",
        files=tuple(
            FileCard(
                path=name,
                sha256=hashlib.sha256(content).hexdigest(),
                url=f"https://published.invalid{PREFIX}{name}",
                optional=name == OPTIONAL,
            )
            for name, content in CONTENT.items()
        ),
        licence="none",
        citation="none",
        source="a test",
    )


class _Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; ``cut`` names a file of which only half is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {PREFIX + name: content for name, content in CONTENT.items()}
        self.cut = ""
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = bool(self.server.cut) and self.path.endswith(self.server.cut)
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_: object) -> None:
        """Keep stderr quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local copy of the toy dataset, not yet known to the harness."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    folder = tmp_path / "downloads" / "copy"
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


def _held(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _nothing_is_left() -> bool:
    folder = folders.datasets_folder()
    return not folder.exists() or not list(folder.iterdir())


def test_what_a_killed_process_was_fetching_is_removed(local: Path) -> None:
    left = folders.datasets_folder() / ".Toy-Folder-x1y2"
    other = folders.datasets_folder() / ".Toy-Folder-Two-x1y2"
    for folder in (left, other):
        folder.mkdir(parents=True)
        (folder / "train.tsv").touch()
    acquire.import_folder(local, _card())
    assert not left.exists()
    assert other.exists(), "of another dataset"


# --- where data is looked for ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["Toy-Folder", "toy-folder", "toy", "TOY-ALIAS"])
def test_a_dataset_is_found_by_folder_name_or_alias(
    name: str, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(local, local.parent / name)
    monkeypatch.setenv("HARNESS_DATA", str(local.parent))
    assert folders.locate(_card()) == local.parent / name


def test_harness_data_comes_before_the_cache(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = acquire.import_folder(local, _card())
    assert imported == Path(os.environ["HARNESS_CACHE"]) / "datasets" / "Toy-Folder"
    assert folders.locate(_card()) == imported
    local.rename(local.parent / "toy")
    monkeypatch.setenv("HARNESS_DATA", str(local.parent))
    assert folders.locate(_card()) == local.parent / "toy"


def test_an_incomplete_folder_does_not_hide_a_complete_one(
    local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = acquire.import_folder(local, _card())
    (local.parent / "toy").mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(local.parent))
    assert folders.locate(_card()) == imported


def test_without_a_cache_variable_the_users_cache_folder_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HARNESS_CACHE")
    assert folders.datasets_folder().parts[-2:] == ("harness", "datasets")


def test_a_missing_dataset_names_the_commands_that_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    with pytest.raises(MissingDataError) as error:
        folders.locate(_card())
    for hint in ("harness data fetch toy", "harness data import DIR", "HARNESS_DATA"):
        assert hint in str(error.value)


def test_an_incomplete_dataset_names_what_it_lacks(
    local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (local / "train2id.txt").unlink()
    local.rename(local.parent / "toy")
    monkeypatch.setenv("HARNESS_DATA", str(local.parent))
    with pytest.raises(MissingDataError, match=r"toy lacks train2id\.txt"):
        folders.locate(_card())


# --- fetch ----------------------------------------------------------------------------------


def test_fetch_brings_every_file_from_the_mirror(server: _Server) -> None:
    told: list[str] = []
    folder = acquire.fetch(_card(), base_url=server.url + "/", announce=told.append)
    assert _held(folder) == CONTENT
    assert [path.name for path in folder.parent.iterdir()] == ["Toy-Folder"]
    assert server.asked == [PREFIX + name for name in CONTENT]
    assert told == [f"TOY: {server.url}{path}" for path in server.asked]


def test_fetch_takes_only_what_is_absent_or_wrong(server: _Server) -> None:
    folder = acquire.fetch(_card(), base_url=server.url)
    server.asked.clear()
    acquire.fetch(_card(), base_url=server.url)
    assert server.asked == []
    (folder / "train2id.txt").write_bytes(b"1\n1 0 0\n")
    (folder / "TOY-visual.npy").write_bytes(b"the user's own")
    acquire.fetch(_card(), base_url=server.url)
    assert server.asked == [PREFIX + "train2id.txt"]
    assert _held(folder) == {**CONTENT, "TOY-visual.npy": b"the user's own"}


def test_a_file_with_another_sha256_is_refused_and_nothing_is_left(server: _Server) -> None:
    server.files[PREFIX + "train2id.txt"] = b"1\n1 0 0\n"
    with pytest.raises(DataError, match=r"train2id\.txt: the 8 bytes that arrived have sha256"):
        acquire.fetch(_card(), base_url=server.url)
    assert _nothing_is_left()


def test_a_refused_file_leaves_the_copy_that_was_there(server: _Server) -> None:
    folder = acquire.fetch(_card(), base_url=server.url)
    (folder / "entity2id.txt").unlink()
    (folder / "train2id.txt").write_bytes(b"edited")
    server.files[PREFIX + "train2id.txt"] = b"wrong"
    with pytest.raises(DataError, match="nothing was kept"):
        acquire.fetch(_card(), base_url=server.url)
    rest = {"train2id.txt": b"edited", OPTIONAL: CONTENT[OPTIONAL]}
    assert _held(folder.parent) == {f"Toy-Folder/{name}": held for name, held in rest.items()}


def test_a_download_that_is_cut_off_leaves_nothing(server: _Server) -> None:
    server.cut = "train2id.txt"
    with pytest.raises(DataError, match=r"train2id\.txt: the download was cut off"):
        acquire.fetch(_card(), base_url=server.url)
    assert _nothing_is_left()


def test_a_file_that_is_not_there_leaves_nothing(server: _Server) -> None:
    del server.files[PREFIX + "train2id.txt"]
    with pytest.raises(MissingDataError, match=r"train2id\.txt: the server answers 404"):
        acquire.fetch(_card(), base_url=server.url)
    assert _nothing_is_left()


def test_an_optional_file_may_be_absent_but_not_wrong(server: _Server) -> None:
    content = server.files.pop(PREFIX + OPTIONAL)
    told: list[str] = []
    folder = acquire.fetch(_card(), base_url=server.url, announce=told.append)
    assert sorted(_held(folder)) == sorted(set(CONTENT) - {OPTIONAL})
    assert "goes without names.txt" in told[-1]
    server.files[PREFIX + OPTIONAL] = content + b"c\n"
    with pytest.raises(DataError, match="sha256"):
        acquire.fetch(_card(), base_url=server.url)
    assert OPTIONAL not in _held(folder)


def test_without_network_the_message_says_what_to_do(server: _Server) -> None:
    address = server.url
    server.server_close()
    with pytest.raises(MissingDataError) as error:
        acquire.fetch(_card(), base_url=address)
    assert "cannot be reached" in str(error.value)
    assert "harness data import DIR" in str(error.value)
    assert _nothing_is_left()


def test_a_mirror_must_be_a_web_address(server: _Server) -> None:
    with pytest.raises(ConfigError, match="https://"):
        acquire.fetch(_card(), base_url="/srv/mirror")


def test_a_dataset_without_files_is_neither_fetched_nor_imported(local: Path) -> None:
    generated = _card().model_copy(update={"files": ()})
    with pytest.raises(ConfigError, match="needs no download"):
        acquire.fetch(generated)
    with pytest.raises(ConfigError, match="is not imported"):
        acquire.import_folder(local, generated)


# --- import ---------------------------------------------------------------------------------


def test_import_copies_the_files_of_the_card_with_features_and_names(local: Path) -> None:
    (local / "TOY-visual.pth").write_bytes(b"features")
    (local / "features").mkdir()
    (local / "features" / "text.npy").write_bytes(b"own features")
    (local / "entity2name.tsv").write_bytes(b"0\ta\n")
    (local / "thesis.doc").write_bytes(b"not data")
    folder = acquire.import_folder(local, _card())
    extra = {
        "TOY-visual.pth": b"features",
        "entity2name.tsv": b"0\ta\n",
        "features/text.npy": b"own features",
    }
    assert _held(folder) == {**CONTENT, **extra}


def test_import_names_every_file_that_is_not_as_published(local: Path) -> None:
    (local / "entity2id.txt").write_bytes(b"edited")
    (local / OPTIONAL).write_bytes(b"edited too")
    with pytest.raises(DataError) as error:
        acquire.import_folder(local, _card())
    assert "entity2id.txt: sha256" in str(error.value)
    assert f"{OPTIONAL}: sha256" in str(error.value)
    assert "train2id.txt" not in str(error.value)
    assert _nothing_is_left()


def test_import_names_what_is_lacking(local: Path) -> None:
    (local / "train2id.txt").unlink()
    with pytest.raises(MissingDataError, match=r"lacks train2id\.txt of TOY"):
        acquire.import_folder(local, _card())
    with pytest.raises(MissingDataError, match="no such folder"):
        acquire.import_folder(local / "absent", _card())


@pytest.mark.timeout(30)
def test_import_refuses_what_is_not_a_regular_file(local: Path) -> None:
    for name in ("image.npy", "train2id.txt"):
        (local / name).unlink(missing_ok=True)
        os.mkfifo(local / name)
        with pytest.raises(DataError, match=f"{name}: is not a regular file"):
            acquire.import_folder(local, _card())
        (local / name).unlink()
    assert _nothing_is_left()


def test_importing_the_data_folder_itself_changes_nothing(local: Path) -> None:
    folder = acquire.import_folder(local, _card())
    assert acquire.import_folder(folder, _card()) == folder
    assert _held(folder) == CONTENT


def test_a_folder_is_identified_by_content_before_its_name(local: Path) -> None:
    other = _card().model_copy(
        update={"name": "copy", "files": (_card().files[0].model_copy(update={"sha256": "0"}),)}
    )
    assert acquire.identify(local, [other, _card()]) == _card()
    (local / "train2id.txt").write_bytes(b"edited")
    assert acquire.identify(local, [other, _card()]) == other
    assert acquire.identify(local, [_card()]) is None


# --- the machine ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_leaves_nothing(
    code: int, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(MachineError, match=os.strerror(code)) as error:
        acquire.import_folder(local, _card())
    assert error.value.exit_code == 4
    assert "HARNESS_CACHE" in str(error.value)
    assert _nothing_is_left()


def test_a_full_disk_while_downloading_leaves_nothing(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pooch.retrieve", refuse)
    with pytest.raises(MachineError, match="No space left"):
        acquire.fetch(_card(), base_url=server.url)
    assert _nothing_is_left()


def test_a_data_folder_that_cannot_be_made_is_named(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(HarnessError, match=str(tmp_path / "file")) as error:
        acquire.import_folder(local, _card())
    assert isinstance(error.value, MachineError)


@pytest.mark.parametrize("address", ["http://[::1", "http://x:y/", "http://", "ftp://x", "x"])
def test_a_mirror_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"--base-url .*: (is no|need an) address"):
        acquire.fetch(_card(), base_url=address)


def test_a_new_folder_comes_whole_and_an_old_one_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    target = tmp_path / "data" / "toy"

    def fsync(_: int) -> None:
        seen.append({path.name for path in target.rglob("*") if path.is_file()})

    monkeypatch.setattr("os.fsync", fsync)
    for files in ({"a.txt": "1", "b.txt": "2"}, {"b.txt": "3", "c.txt": "4"}):
        with acquire.staging(target) as staged:
            for name, content in files.items():
                (staged / name).write_text(content)
            acquire.install(staged, target)
        if not (target / "c.txt").exists():
            assert not any(seen)  # none of it was there before all of it was
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "a.txt": "1",
        "b.txt": "3",
        "c.txt": "4",
    }
    assert [path.name for path in target.parent.iterdir()] == ["toy"]
