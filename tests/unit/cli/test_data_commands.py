"""``harness data``: what goes to stdout, what to stderr, and the exit codes."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli.data import app
from harness.cli.main import app as main_app
from harness.data.card import FeatureSource
from harness.data.datasets import _announce_features, import_dataset
from harness.data.load import source, sources
from harness.data.sources import source_path
from harness.errors import ConfigError, DataError, Interrupted, MissingDataError
from harness.events import Event

FIVE = {"mkg-w", "mkg-y", "db15k", "tiva", "kvc16k"}


def _call(*arguments: str) -> Result:
    """Run a command; errors meant for the user are raised, as ``harness.cli.main`` gets them."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_summary_of_the_group_has_the_word_of_every_command() -> None:
    printed = CliRunner().invoke(main_app, ["data", "--help"]).stdout
    summary, _, commands = printed.partition("Options")
    words = set(re.findall(r"\w+", summary.lower()))
    names = set(re.findall(r"^\W*([a-z]+)  ", commands.partition("Commands")[2], re.MULTILINE))
    assert {"list", "import", "rm"} <= names <= words


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_list_shows_sizes_and_how_to_get_what_is_not_here(nothing_here: None) -> None:
    result = _call("list")
    assert result.exit_code == 0
    row = ["tiva", "11858", "16", "20071", "2000", "2000", "not", "downloaded"]
    assert row in _lines(result.stdout)
    assert "harness data fetch NAME" in result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_list_keeps_numbers_and_paths_whole(
    nothing_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / ("a-long-name-" * 8)
    mine = cache / "datasets" / "mine"
    mine.mkdir(parents=True)
    (mine / "train.tsv").write_text("a\tr\tb\n")
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    lines = _lines(_call("list").stdout)
    assert ["mine", *"-----", str(mine)] in lines
    assert ["kvc16k", "16015", "4", "180190", "22523", "22525", "not", "downloaded"] in lines


def test_list_as_json_holds_every_dataset(nothing_here: None) -> None:
    listing = {row["name"]: row for row in json.loads(_call("list", "--json").stdout)}
    assert set(listing) >= FIVE | {"synthetic"}
    assert listing["kvc16k"]["title"] == "KVC16K"
    assert listing["kvc16k"]["folder"] is None
    assert not listing["kvc16k"]["built_in"]
    assert listing["synthetic"]["built_in"]


def test_show_prints_the_card_without_the_data(nothing_here: None) -> None:
    text = " ".join(_call("show", "Kuai16K").stdout.split())
    for part in ("KVC16K", "none declared", "Kuaipedia: a", "none: structure", "fetch kvc16k"):
        assert part in text


def test_an_unknown_dataset_offers_the_nearest(nothing_here: None) -> None:
    for command in ("show", "fetch", "verify"):
        with pytest.raises(ConfigError, match="did you mean 'kvc16k'"):
            _call(command, "kvc15k")


def test_verify_needs_a_name_or_all(nothing_here: None) -> None:
    for arguments in ([], ["tiva", "--all"]):
        with pytest.raises(ConfigError, match="--all"):
            _call("verify", *arguments)


def test_verify_all_passes_over_what_is_not_here(nothing_here: None) -> None:
    result = _call("verify", "--all", "--json")
    assert result.exit_code == 0
    assert not FIVE & {report["name"] for report in json.loads(result.stdout)}
    assert "TIVA: not downloaded; harness data fetch tiva" in result.stderr
    with pytest.raises(MissingDataError, match="harness data fetch tiva"):
        _call("verify", "tiva")


def test_import_of_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no dataset that is known here"):
        _call("import", str(tmp_path))
    with pytest.raises(MissingDataError, match="no such folder"):
        _call("import", str(tmp_path / "absent"))


@pytest.mark.data
def test_show_prints_triples_by_name(published: Path) -> None:
    assert "My Darling Clementine | cast member | Linda Darnell" in _call("show", "mkgw").stdout
    shown = json.loads(_call("show", "tiva", "--json").stdout)
    assert shown["samples"][0] == ["freon", "0", "organic compound"]
    assert shown["feature_sets"]["none"]


def test_list_prints_the_sizes_of_the_files_where_table_1_has_others() -> None:
    listed = {row["name"]: row["counts"] for row in json.loads(_call("list", "--json").stdout)}
    assert (listed["db15k"]["valid"], listed["db15k"]["test"]) == (9904, 9902)


@pytest.mark.data
def test_verify_prints_table_1_beside_the_files(published: Path) -> None:
    result = _call("verify", "db15k")
    assert result.exit_code == 0
    assert ["valid", "9902", "9904", "differs"] in _lines(result.stdout)


def test_graphs_below_an_imported_folder_that_are_not_known_are_named(tmp_path: Path) -> None:
    folders = [tmp_path / "near", tmp_path / "data" / "a far"]
    for folder in folders:
        folder.mkdir(parents=True)
        for split in ("train", "valid", "test"):
            (folder / f"{split}.tsv").write_text("a\tr\tb\n")
    messages: list[Event] = []
    with pytest.raises(ConfigError, match="holds no dataset that is known here"):
        import_dataset(tmp_path, on_event=messages.append)
    assert [str(message).partition("; ")[2] for message in messages] == [
        f"harness data import {folders[0]} --name NAME",
        f"harness data import '{folders[1]}' --name NAME",
    ]


def test_originals_that_datasets_share_do_not_make_a_folder_all_of_theirs() -> None:
    originals = {entry.card.name: entry.card.feature_sources for entry in sources()}
    messages: list[str] = []
    _announce_features(originals["mkg-w"], set(), messages.append)
    titles = [text.partition(": complete:")[0] for text in messages if ": complete:" in text]
    assert titles == ["MKG-W"]
    messages.clear()
    shared = set(originals["mkg-w"]) & set(originals["mkg-y"])
    _announce_features(list(shared), set(), messages.append)
    assert {"MKG-W", "MKG-Y"} <= {text.partition(": complete:")[0] for text in messages}


@pytest.mark.data
@pytest.mark.parametrize("below", ["copies", "copies/data"])
def test_a_folder_of_datasets_is_imported_and_then_used(
    below: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TIVA", "MKG-Y"):
        shutil.copytree(published / name, tmp_path / below / f"my {name}")
    monkeypatch.delenv("HARNESS_DATA")
    result = _call("import", str(tmp_path / "copies"))
    assert [Path(line).name for line in result.stdout.splitlines()] == ["MKG-Y", "TIVA"]
    assert "MKG-Y: 15000 entities, 28 relations, 21310 train, 2665 valid" in result.stderr
    listing = {row["name"]: row["folder"] for row in json.loads(_call("list", "--json").stdout)}
    assert listing["tiva"] == str(tmp_path / "cache" / "datasets" / "TIVA")
    assert _call("verify", "tiva").exit_code == 0


@pytest.mark.data
def test_a_changed_file_is_not_imported_and_does_not_pass(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "TIVA"
    folder.mkdir(parents=True)
    for path in (published / "TIVA").iterdir():
        shutil.copyfile(path, folder / path.name)
    lines = (folder / "test2id.txt").read_text().splitlines()
    (folder / "test2id.txt").write_text("\n".join([*lines[:-1], "0 1 99"]) + "\n")
    with pytest.raises(DataError, match=r"test2id\.txt: sha256"):
        _call("import", str(folder))
    monkeypatch.setenv("HARNESS_DATA", str(folder.parent))
    result = _call("verify", "tiva")
    assert result.exit_code == 3
    text = " ".join(result.stdout.split())
    assert "test2id.txt has sha256" in text
    assert "test2id.txt:2001: relation id 99 is out of range" in text


def test_a_named_dataset_that_the_folder_lacks_is_an_error_whatever_else_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"an original"
    original = FeatureSource(
        repository="owner/toy",
        commit="0123abc",
        path="toy.txt",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    entry = source("mkg-w")
    changed = entry.card.model_copy(update={"feature_sources": (original,)})
    monkeypatch.setattr(type(entry), "card", changed)
    (tmp_path / "toy.txt").write_bytes(content)
    with pytest.raises(MissingDataError, match=r"lacks .* of MKG-W; .*leave out --name"):
        _call("import", str(tmp_path), "--name", "mkg-w")
    assert not source_path(original).exists()
    assert _call("import", str(tmp_path)).exit_code == 0
    assert source_path(original).read_bytes() == content


@pytest.mark.parametrize("command", ["fetch", "import"])
def test_help_has_no_line_that_ends_early(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    printed = _call(command, "--help").stdout
    prose = printed.partition("Usage:")[2].partition("Arguments")[0]
    lines = [line.strip() for line in prose.splitlines()]
    for line, following in itertools.pairwise(lines):
        if line and following:
            assert len(f"{line} {following.split()[0]}") > 78, line


def test_rm_asks_says_what_it_frees_and_keeps_what_is_not_its_own(
    nothing_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    graph = tmp_path / "graph"
    graph.mkdir()
    for split in ("train", "valid", "test"):
        (graph / f"{split}.txt").write_text("a\tr\tb\n")
    _call("import", str(graph), "--name", "mine")
    folder = tmp_path / "cache" / "datasets" / "mine"
    asked = CliRunner().invoke(app, ["rm", "mine"], input="n\n")
    assert asked.exit_code == 0
    assert f"Delete {folder} (3 files, " in asked.stderr
    assert "nothing was removed" in asked.stderr
    with pytest.raises(Interrupted, match="--yes does not ask"):
        _call("rm", "mine")
    assert folder.is_dir()
    assert "removed" in _call("rm", "mine", "--yes").stderr
    assert not folder.exists()
    assert len(list(graph.iterdir())) == 3


def test_rm_refuses_what_has_no_files_here_or_lies_in_a_folder_of_the_user(
    nothing_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match="built in"):
        _call("rm", "atlas", "--yes")
    with pytest.raises(ConfigError, match="made from tiva"):
        _call("rm", "tiva@clean", "--yes")
    with pytest.raises(MissingDataError, match="not on this machine"):
        _call("rm", "tiva", "--yes")
    own = tmp_path / "data" / "mine"
    own.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (own / f"{split}.txt").write_text("a\tr\tb\n")
    monkeypatch.setenv("HARNESS_DATA", str(own.parent))
    with pytest.raises(ConfigError, match=r"HARNESS_DATA.*`rm -r "):
        _call("rm", "mine", "--yes")
    assert len(list(own.iterdir())) == 3


def test_rm_of_a_link_removes_the_link_alone(
    nothing_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "own"
    own.mkdir()
    for split in ("train", "valid", "test"):
        (own / f"{split}.txt").write_text("a\tr\tb\n")
    link = tmp_path / "cache" / "datasets" / "mine"
    link.parent.mkdir(parents=True)
    link.symlink_to(own)
    _call("rm", "mine", "--yes")
    assert not link.exists()
    assert len(list(own.iterdir())) == 3
