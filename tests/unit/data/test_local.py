"""Datasets of the user's own: found by folder, imported after one reading, run like any other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.analysis.results import RowResult, SeedRun
from harness.cli.data import app
from harness.data import folders
from harness.data.load import load_dataset, source, sources
from harness.data.local import LocalSource, find_local, import_local
from harness.data.verify import verify
from harness.errors import ConfigError, DataError, MissingDataError
from harness.report.leak_notes import leak_notes
from harness.store.records import RunRecord

TRIPLES = "freon\tis a\torganic compound\ncoolant\tused for\tice\n"


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of the user's own with features of one modality, not yet known to the harness."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    folder = tmp_path / "downloads"
    (folder / "features").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.tsv").write_text(TRIPLES)
    np.save(folder / "features" / "image.npy", np.eye(4, 3, dtype=np.float32))
    return folder


def test_a_folder_in_the_data_folder_is_a_dataset(
    downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads.rename(downloads.parent / "My-Graph")
    with pytest.raises(ConfigError, match="unknown dataset 'my-graph'"):
        source("my-graph")
    monkeypatch.setenv("HARNESS_DATA", str(downloads.parent))
    graph = load_dataset("MY-graph").graph
    assert graph.name == "my-graph"
    assert graph.entities == ("freon", "organic compound", "coolant", "ice")
    assert source("My-Graph").card.title == "My-Graph"
    with pytest.raises(ConfigError, match=r"'my-grahp'; did you mean 'my-graph'\?"):
        source("my-grahp")


def test_an_entity_has_one_readable_name(downloads: Path) -> None:
    (downloads / "entity_names.tsv").write_text("ice\tIce\nfreon\tFreon\nice\tEis\n")
    with pytest.raises(
        DataError, match=r"names\.tsv:3: entity 'ice' is there twice, first on .* 1"
    ):
        import_local(downloads, "mine")


def test_import_copies_graph_and_features_under_the_new_name(downloads: Path) -> None:
    folder = import_local(downloads, "mine")
    assert folder == folders.datasets_folder() / "mine"
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
    loaded = load_dataset("mine", "files")
    assert loaded.features.tables["image"].present.tolist() == [True, True, True, False]
    assert import_local(downloads, "mine") == folder


def test_another_graph_does_not_replace_one_of_that_name(downloads: Path) -> None:
    import_local(downloads, "mine")
    (downloads / "test.tsv").write_text("ice\tis a\tcoolant\n")
    with pytest.raises(DataError, match="holds another dataset"):
        import_local(downloads, "Mine")
    assert load_dataset("mine").graph.splits["test"].shape == (2, 3)


def test_a_folder_that_does_not_read_is_not_imported(downloads: Path) -> None:
    (downloads / "test.tsv").write_text("ice\tis a\n")
    with pytest.raises(DataError, match=r"test\.tsv:1: need"):
        import_local(downloads, "mine")
    assert not folders.datasets_folder().exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"text.csv": "entity,x\nfreon,1\ncoolnt,2\n"}, r"text\.csv:3: 'coolnt' is no entity"),
        (
            {"text.csv": "entity,x\nice,1\n", "text.tsv": "entity\tx\nice\t1\n"},
            "modality 'text' has several files, keep one",
        ),
        ({"text.csv": "entity,x\nice,nan\n"}, r"text\.csv:2: column 'x' holds NaN or infinity$"),
        ({"txt.csv": "entity,x\nice,1\n"}, r"txt\.csv: 'txt' is no modality"),
        ({"audio.present.npy": ""}, r"audio\.present\.npy: lies beside no feature file"),
    ],
)
def test_features_that_the_set_files_refuses_are_not_imported(
    downloads: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (downloads / "features" / name).write_text(content)
    with pytest.raises(DataError, match=message):
        import_local(downloads, "mine")
    assert not folders.datasets_folder().exists()


def test_a_second_file_of_a_modality_does_not_reach_an_imported_dataset(downloads: Path) -> None:
    folder = import_local(downloads, "mine")
    (downloads / "features" / "image.npy").unlink()
    (downloads / "features" / "image.csv").write_text("entity,x\nice,1\n")
    with pytest.raises(DataError, match=r"'image' has several .*image\.csv.*image\.npy"):
        import_local(downloads, "mine")
    assert [path.name for path in (folder / "features").iterdir()] == ["image.npy"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("extra.npz", "features are read from features/<modality>"),
        ("text.csv", "features are read from features/<modality>"),
        ("numeric.tsv", "features are read from features/<modality>"),
        ("Image.parquet", "features are read from features/<modality>"),
        ("text.ids.tsv", "features are read from features/<modality>"),
        ("vectors.csv.gz", "unpack it to vectors.csv"),
        ("text.npz.gz", "unpack it to text.npz"),
        ("features/text.npz.gz", "unpack it to text.npz"),
        ("emb.bin", r"cannot read '\.bin'"),
        ("text.onnx", r"cannot read '\.onnx'"),
        ("text.unheard", r"cannot read '\.unheard'"),
    ],
)
def test_features_that_nobody_would_read_are_refused(
    name: str, message: str, downloads: Path
) -> None:
    (downloads / name).touch()
    with pytest.raises(DataError, match=rf"^{downloads / name}: .*{message}"):
        import_local(downloads, "mine")
    assert not folders.datasets_folder().exists()


def test_arrays_in_other_folders_are_named_one_by_one_when_they_are_not_copied(
    downloads: Path,
) -> None:
    (downloads / "sub" / "deep").mkdir(parents=True)
    names = [f"sub/deep/{i}.npz" for i in range(9)] + ["sub/model.onnx.gz", "weights.ckpt"]
    for name in (*names, "notes.md", "sub/notes.md"):
        (downloads / name).touch()
    told = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"]).stderr
    for name in names:
        assert f"{downloads / name}: not copied; features are read from" in told
    assert "no part of a dataset: notes.md, sub/\n" in told


def test_import_says_what_a_graph_and_its_features_hold(downloads: Path) -> None:
    lines = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"]).stderr
    sizes = "mine: 4 entities, 2 relations, 2 train, 2 valid, 2 test triples"
    assert f"{sizes}; features 'files': image of 3 entities\n" in lines
    np.save(downloads / "features" / "image.npy", np.eye(4, 1, dtype=np.float32))
    lines = CliRunner().invoke(app, ["import", str(downloads), "--name", "small"]).stderr
    assert "features 'files': image of 1 entity\n" in lines
    (downloads / "features" / "image.npy").unlink()
    lines = CliRunner().invoke(app, ["import", str(downloads), "--name", "plain"]).stderr
    assert f"{sizes.replace('mine', 'plain')}\n" in lines


def test_files_that_are_copied_but_never_read_are_named(downloads: Path) -> None:
    for name in ("names.tsv", "entity2text.txt", "entity_names.tsv"):
        (downloads / name).write_text("ice\tfrozen water\n")
    result = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"])
    assert result.exit_code == 0
    assert "copied, but not read: entity2text.txt, names.tsv (names of entities" in result.stderr
    assert "are read from entity_names.tsv" in result.stderr
    for name in ("names.tsv", "entity2text.txt"):
        (downloads / name).unlink()
    result = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"])
    assert "not read" not in result.stderr


@pytest.mark.parametrize("name", ["valid.tsv", "notes.txt", "features/text.npy", "tokens"])
def test_a_link_that_leads_out_of_the_folder_is_not_followed(downloads: Path, name: str) -> None:
    elsewhere = downloads.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "visual.npy").write_bytes(b"")
    (elsewhere / "valid.tsv").write_text(TRIPLES)
    (downloads / name).unlink(missing_ok=True)
    (downloads / name).symlink_to(elsewhere if name == "tokens" else elsewhere / "valid.tsv")
    with pytest.raises(DataError, match=rf"^{downloads / name}.*: leads out of the folder, to "):
        import_local(downloads, "mine")
    assert not folders.datasets_folder().exists()


def test_a_link_within_the_folder_is_copied_as_the_file_that_it_names(downloads: Path) -> None:
    (downloads / "valid.tsv").unlink()
    (downloads / "valid.tsv").symlink_to("test.tsv")
    downloads.rename(downloads.parent / "elsewhere")
    downloads.symlink_to("elsewhere")
    copied = import_local(downloads, "mine") / "valid.tsv"
    assert not copied.is_symlink()
    assert copied.read_text() == TRIPLES


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["valid.tsv", "notes.txt", "features/text.npy"])
def test_a_folder_with_a_pipe_is_not_imported(downloads: Path, name: str) -> None:
    (downloads / name).unlink(missing_ok=True)
    os.mkfifo(downloads / name)
    result = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"])
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(f"{downloads / name}: is not a regular file")
    assert not folders.datasets_folder().exists()


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".hidden", "synthetic:x", "", "a,b", "my graph", "-x", "a\n", "a=b"]
)
def test_a_name_that_no_dataset_may_have_is_refused_with_the_rule(
    name: str, downloads: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^--name .*name is made of letters, digits"):
        import_local(downloads, name)
    assert not folders.datasets_folder().exists()


@pytest.mark.parametrize("name", ["FB15k-237", "my_graph.v2", "图谱", "2wiki"])
def test_names_of_letters_digits_and_the_usual_marks_are_taken(name: str, downloads: Path) -> None:
    import_local(downloads, name)
    assert load_dataset(name).graph.n_entities == 4


def test_a_folder_whose_name_no_dataset_may_have_is_left_out_and_listed(
    downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = downloads.rename(downloads.parent / "my graph")
    monkeypatch.setenv("HARNESS_DATA", str(folder.parent))
    with pytest.raises(ConfigError, match=r"'my graph': a dataset's name is made of"):
        source("My Graph")
    assert not any(isinstance(entry, LocalSource) for entry in sources())
    told = CliRunner().invoke(app, ["list"]).stderr
    assert f"{folder}: left out, rename it: a dataset's name is made of" in told


def test_a_registered_name_is_never_taken_by_a_folder(downloads: Path) -> None:
    folder = import_local(downloads, "synthetic-copy")
    folder.rename(folder.parent / "synthetic")
    assert not isinstance(source("synthetic"), LocalSource)
    assert not any(isinstance(entry, LocalSource) for entry in sources())


def test_an_own_dataset_has_no_published_features(downloads: Path) -> None:
    import_local(downloads, "mine")
    own = find_local("mine")
    assert own is not None
    assert own.modalities("files") == ("image",)
    assert own.modalities("none") == ()
    assert "published" not in own.feature_sets
    with pytest.raises(ConfigError, match="has no feature set 'published'"):
        own.features("published", own.graph())
    with pytest.raises(ConfigError, match="has no feature set 'published'"):
        own.modalities("published")


@pytest.mark.parametrize(
    ("name", "modality"),
    [("mine-visual", "image"), ("mine-textual", "text"), ("img_features", "image")],
)
def test_published_file_names_are_refused_in_an_own_dataset(
    downloads: Path, name: str, modality: str
) -> None:
    features = downloads / "features"
    (features / "image.npy").rename(features / f"{name}.npy")
    with pytest.raises(DataError, match=rf"{name}\.npy: .*rename it to {modality}\.npy"):
        import_local(downloads, "mine")


def test_token_files_make_the_set_of_an_own_dataset(downloads: Path) -> None:
    import_local(downloads, "mine")
    own = find_local("mine")
    assert own is not None
    assert "tokens" not in own.feature_sets
    with pytest.raises(MissingDataError, match=r"mine-visual\.json"):
        own.features("tokens", own.graph())
    (own.folder / "tokens").mkdir()
    (own.folder / "tokens" / "mine-visual.json").write_text("{}")
    assert "tokens" in own.feature_sets


def test_the_audit_of_own_features_is_stored_for_the_notes_of_tables(
    downloads: Path, make_record: Callable[..., RunRecord]
) -> None:
    folder = import_local(downloads, "mine")
    loaded = load_dataset("mine", "files")

    def note(**changes: object) -> str:
        values = {
            "dataset": "mine",
            "dataset_digest": loaded.graph.digest,
            "features": "files",
            "feature_digest": loaded.features.digest,
            "modalities": ("image",),
            **changes,
        }
        record = make_record("r1", **values)
        run = SeedRun(0, "r1", record)
        row = RowResult("Row", record.dataset, "files", (run,))
        return next(leak_notes(record.dataset, [row]))

    command = "`harness data audit mine --features files`."
    assert note() == f"features 'files' were not audited for leaks: {command}"
    audited = CliRunner().invoke(app, ["audit", "mine", "--features", "files"])
    assert f"stored for the notes of tables: {folder / 'audits' / 'files.json'}" in audited.stderr
    assert "features 'files' are not audited; too few triples to audit image" in audited.stdout
    assert note() == (
        "features 'files', audited for leaks: too few triples to audit image vectors."
    )
    other = (
        f"features 'files' were not audited for leaks in the files that these runs read: {command}"
    )
    assert note(feature_digest="another") == note(dataset_digest="another") == other
    cleaned = {"dataset": "mine@clean", "dataset_digest": "another"}
    assert note(**cleaned) == note()
    assert note(**cleaned, feature_digest="another") == other
    (folder / "audits" / "files.json").write_text("{")
    assert note() == f"features 'files' were not audited for leaks: {command}"


def test_an_audit_that_cannot_be_stored_is_still_printed(downloads: Path) -> None:
    folder = import_local(downloads, "mine")
    (folder / "audits").touch()
    audited = CliRunner().invoke(app, ["audit", "mine", "--features", "files"])
    assert "the audit is not stored (File exists)" in audited.stderr
    assert "image vectors" in audited.stdout


def test_only_what_is_a_dataset_by_name_gets_a_stored_audit(downloads: Path) -> None:
    CliRunner().invoke(app, ["audit", str(downloads), "--features", "files"])
    assert not (downloads / "audits").exists()
    folder = import_local(downloads, "mine")
    CliRunner().invoke(app, ["audit", "mine@clean", "--features", "files"])
    assert not (folder / "audits").exists()
    CliRunner().invoke(app, ["audit", str(folder), "--features", "files"])
    assert (folder / "audits" / "files.json").is_file()


def test_a_cleaned_variant_does_not_replace_the_audit_of_its_original(
    downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card of a public dataset's variant has the files, so the folder, of the original."""
    folder = import_local(downloads, "mine")
    monkeypatch.setattr("harness.data.datasets.folder_of", lambda entry: folder)
    for name, stored in (("mine@clean", False), ("mine", True)):
        CliRunner().invoke(app, ["audit", name, "--features", "files"])
        assert (folder / "audits" / "files.json").is_file() == stored


def test_the_commands_treat_an_own_dataset_like_any_other(downloads: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["import", str(downloads), "--name", "mine"])
    assert result.exit_code == 0
    assert result.stdout.strip() == str(folders.datasets_folder() / "mine")
    listing = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    assert listing[-1]["name"] == "mine"
    assert listing[-1]["folder"] == str(folders.datasets_folder() / "mine")
    assert "freon | is a | organic compound" in runner.invoke(app, ["show", "mine"]).stdout
    report = verify(source("mine"), "files")
    assert report.modalities == {"image": 3}
    assert "2 of 2 test rows stand in train." in report.notes
    absent = runner.invoke(app, ["import", str(downloads / "absent"), "--name", "mine"])
    assert isinstance(absent.exception, MissingDataError)
