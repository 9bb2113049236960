"""Feature files by entity: keys, masks and tables, and what is refused beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from harness.cli.data import app
from harness.data import folders
from harness.data.feature_files import read_feature_file
from harness.data.load import load_dataset
from harness.data.local import import_local
from harness.errors import DataError, MissingDataError

ENTITIES = ("anna", "bert", "carla", "http://www.wikidata.org/entity/Q42")
VECTORS = np.arange(1.0, 9.0, dtype=np.float32).reshape(4, 2)


def _rows(path: Path) -> list[list[float]]:
    return read_feature_file(path, "image", 4, ENTITIES).matrix.tolist()


def _refused(path: Path, entities: tuple[str, ...] = ENTITIES) -> str:
    with pytest.raises(DataError) as caught:
        read_feature_file(path, "image", len(entities), entities)
    assert str(caught.value).startswith(str(path.parent))
    return str(caught.value).removeprefix(f"{path.parent}/")


def _csv(tmp_path: Path, text: str, name: str = "image.csv") -> Path:
    (tmp_path / name).write_text(text, "utf-8")
    return tmp_path / name


@pytest.mark.parametrize(
    "text",
    [
        "entity,x,y\ncarla,5,6\nanna,1,2\n",
        "Name,x,y\ncarla,5,6\nanna,1,2\n",
        "whatever,x,y\ncarla,5,6\nanna,1,2\n",
        ",0,1\ncarla,5,6\nanna,1,2\n",
        "x,y,entity\n5,6,carla\n1,2,anna\n",
        "id,x,y\n2,5,6\n0,1,2\n",
        "id,x,y\ncarla,5,6\nanna,1,2\n",
        "entity,0,1\ncarla,5,6\nanna,1,2\n",
        'entity,x,y\n"carla",5.0,6e0\n"anna",1, 2\n',
        "carla,5,6\nanna,1,2\n",
        "entity,present,x,y\ncarla,1,5,6\nbert,0,3,4\nanna,TRUE,1,2\n",
        "\ufeffentity,x,y\r\ncarla,5,6\r\nanna,1,2\r\n",
    ],
)
@pytest.mark.parametrize("ending", [",", "\t"])
def test_a_table_has_a_column_of_entities_and_the_others_are_absent(
    tmp_path: Path, text: str, ending: str
) -> None:
    if ending == "\t":
        text = text.replace('"', "")
    name = "image.tsv" if ending == "\t" else "image.csv"
    path = _csv(tmp_path, text.replace(",", ending), name)
    table = read_feature_file(path, "image", 4, ENTITIES)
    assert table.matrix.tolist() == [[1, 2], [0, 0], [5, 6], [0, 0]]
    assert table.present.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "entity,x\nanna,1\nbrt,2\n",
            ":3: 'brt' is no entity of the dataset; did you mean 'bert'?",
        ),
        ("entity,x\nQ42,1\n", ":2: 'Q42' is no entity of the dataset; did you mean 'http://www.w"),
        (
            "entity,x\nzz,1\nyy,2\n",
            ":2: 'zz' is no entity of the dataset (2 such keys); take the line out, or map "
            "the keys in image.ids.tsv",
        ),
        ("entity,x\nanna,1\nbert,2\nanna,3\n", ":4: 'anna' is there twice, first in "),
        (
            "id,x\n0,1\n4,2\n",
            ":2: '0' is no entity of the dataset (2 such keys); entity numbers run",
        ),
        ("id,x\n0,1\nbert,2\n", ":2: '0' is no entity"),
        ("id,x\n00,1\n1,2\n", ":2: '00' is no entity"),
        ("id,x\n-1,1\n1,2\n", ":2: '-1' is no entity"),
        ("entity,x\n0,1\n", ":2: '0' is no entity of the dataset; entity numbers are read only"),
        ("item,x\n0,1\n1,2\n", ": the first column holds numbers, and no column is called id, en"),
        ("x,y\n0,1\n1,2\n", ": the first column holds numbers"),
        ("id,name,x\n0,anna,1\n", ": several columns name the entities: 'id', 'name'; keep one"),
        (",entity,x\n0,anna,1\n", ": column 1 ('') has no name of its own"),
        ("entity,x\nanna,one\n", ":2: column 2 ('x') holds 'one'; need a number"),
        ("entity,x\nanna,\n", ":2: column 2 ('x') holds ''; need a number"),
        ("entity,x\nanna,1_0\n", ":2: column 2 ('x') holds '1_0'"),
        ("entity,x\nanna,nan\n", ":2: column 'x' holds NaN or infinity"),
        (
            "entity,x,mask,y\nanna,1,1,2\nbert,3,1,inf\ncarla,nan,1,nan\n",
            ":3: column 'y' holds NaN or infinity (2 such rows)",
        ),
        ("entity,x\nanna,1e300\n", ":2 holds what float32 cannot"),
        ("entity,x\nanna,1,2\n", ":2: has 3 columns, the first line 2"),
        ("entity,x\n\nanna,1\n", ":2: "),
        ("entity;x\nanna;1\n", ":1: has one column; need an entity and its numbers, with a comma"),
        ("entity,x\n", ": holds a header and no entity"),
        ("entity,mask\nanna,1\n", ": has no column of numbers beside 'entity'"),
        ("entity,mask,x\nanna,2,1\n", ":2: column 'mask' holds '2'; need true or false"),
        ("entity,mask,present,x\nanna,1,0,1\n", ": several columns are masks"),
        ("entity,mask,x\nanna,0,1\n", ": no entity has the modality 'image' (mask: column 'mask'"),
        ('entity,x\n"anna,1\n', ":2: "),
        ("item,0,1\nanna,1,2\n", ":1: 'item' is no entity of the dataset; in a header"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    assert _refused(_csv(tmp_path, text)).startswith(f"image.csv{message}")


def test_the_second_place_of_a_repeated_entity_is_named_with_the_first(tmp_path: Path) -> None:
    message = _refused(_csv(tmp_path, "entity,x\nanna,1\nbert,2\nanna,3\n"))
    assert "image.csv:4: " in message
    assert message.endswith("image.csv:2; keep one")


def test_integers_that_may_be_identifiers_or_numbers_are_refused(tmp_path: Path) -> None:
    path = _csv(tmp_path, "id,x\n0,1\n1,2\n")
    assert read_feature_file(path, "image", 2, ("0", "1")).matrix.tolist() == [[1], [2]]
    assert "'0' is the identifier of entity 1 and the number of another" in _refused(
        path, ("1", "0")
    )
    assert "'1' is the identifier of entity 2" in _refused(path, ("a", "b", "1"))
    assert read_feature_file(
        _csv(tmp_path, "entity,x\n0,1\n1,2\n"), "image", 2, ("1", "0")
    ).matrix.tolist() == [[2], [1]]
    assert read_feature_file(
        _csv(tmp_path, "id,x\n70,1\n71,2\n"), "image", 2, ("71", "70")
    ).matrix.tolist() == [[2], [1]]


def test_a_first_line_that_may_be_a_header_or_an_entity_is_refused(tmp_path: Path) -> None:
    path = _csv(tmp_path, "name,1\nanna,2\n")
    assert "may be the name of the column or an entity" in _refused(path, ("name", "anna"))
    path = _csv(tmp_path, "entity,x\nname,1\nanna,2\n")
    assert read_feature_file(path, "image", 2, ("name", "anna")).matrix.tolist() == [[1], [2]]


def test_rows_of_an_archive_are_those_of_the_entities_it_names(tmp_path: Path) -> None:
    path = tmp_path / "image.npz"
    expected = VECTORS[[1, 0, 2, 3]].tolist()
    np.savez(path, VECTORS[[1, 0, 2, 3]])
    assert _rows(path) == expected
    for keys in (np.array([1, 0]), np.array(["bert", "anna"]), np.array([b"bert", b"anna"])):
        np.savez(path, features=VECTORS[:2], ids=keys)
        assert _rows(path) == [*VECTORS[[1, 0]].tolist(), [0, 0], [0, 0]]
    np.savez(path, features=VECTORS[:2], entities=np.array([1, 0]))
    assert "'1' is no entity of the dataset (2 such keys); entity numbers" in _refused(path)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (
            {"prsent": np.ones(4, bool)},
            "array 'prsent' beside 'features' is not known; take it out",
        ),
        ({"matrix": VECTORS}, "array 'matrix' beside 'features' is not known"),
        ({"ids": np.array([0, 1, 1, 2])}, "row 2 of 'ids' (counted from 0): '1' is there twice"),
        ({"ids": np.array([0, 1, 2, 4])}, "row 0 of 'ids' (counted from 0): '0' is no entity"),
        ({"ids": np.array([0, 1, 2])}, "'ids' has 3 keys for 4 rows"),
        ({"ids": np.array([0.0, 1, 2, 3])}, "'ids' holds float64 [4]; need one integer or string"),
        ({"ids": np.array([[0, 1, 2, 3]])}, "'ids' holds int64 [1, 4]"),
        ({"ids": np.array([b"\xff", b"", b"", b""])}, "'ids' holds |S1 [4]; need one integer"),
        ({"mask": np.ones(4)}, "the mask 'mask' is float64 [4]; need bool [4]"),
        ({"present": np.ones(3, bool)}, "the mask 'present' is bool [3]; need bool [4]"),
        (
            {"present": np.ones(4, bool), "mask": np.arange(4) != 2},
            "tensor 'present' in the file and tensor 'mask' in the file contradict each other in",
        ),
        (
            {"ids": np.array([0, 1, 3, 2]), "entities": np.array(ENTITIES)},
            "array 'ids' and array 'entities' contradict each other in row 2",
        ),
        ({"ids": np.array([["a"], 1, 2, 3], object)}, "not a complete .npz file"),
    ],
)
def test_what_lies_beside_features_is_used_or_refused(
    tmp_path: Path, beside: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "image.npz", features=VECTORS, **beside)
    assert _refused(tmp_path / "image.npz").startswith(f"image.npz: {message}")


def test_masks_and_keys_that_agree_are_both_there(tmp_path: Path) -> None:
    mask = np.array([True, False, True, True])
    np.savez(tmp_path / "image.npz", features=VECTORS[::-1], ids=np.array([3, 2, 1, 0]),
             keys=np.array(ENTITIES[::-1]), mask=mask, present=mask)  # fmt: skip
    assert _rows(tmp_path / "image.npz") == [[1, 2], [3, 4], [0, 0], [7, 8]]


def test_a_mask_beside_must_not_contradict_the_file(tmp_path: Path) -> None:
    mask = np.array([True, False, True, True])
    np.save(tmp_path / "image.present.npy", mask)
    np.savez(tmp_path / "image.npz", features=VECTORS, present=~mask)
    assert "contradicts the tensor 'present' in the file image.npz" in _refused(
        tmp_path / "image.npz"
    )
    np.savez(tmp_path / "image.npz", **dict.fromkeys(ENTITIES, VECTORS[0]))
    assert "contradicts the keys of image.npz at entity 1" in _refused(tmp_path / "image.npz")
    np.savez(tmp_path / "image.npz", features=VECTORS, ids=np.array([1, 0, 2, 3]))
    assert "in the order of the entities or of the rows" in _refused(tmp_path / "image.npz")
    np.savez(tmp_path / "image.npz", features=VECTORS, ids=np.array([0, 1, 3, 2]))
    assert _rows(tmp_path / "image.npz") == [[1, 2], [0, 0], [7, 8], [5, 6]]


def test_the_rows_of_a_plain_array_may_be_named_line_by_line(tmp_path: Path) -> None:
    path, ids = tmp_path / "image.npy", tmp_path / "image.ids.tsv"
    np.save(path, VECTORS[:2])
    ids.write_text("carla\nanna\n")
    table = read_feature_file(path, "image", 4, ENTITIES)
    assert table.matrix.tolist() == [[3, 4], [0, 0], [1, 2], [0, 0]]
    assert table.provenance["ids_file"]["file"] == "image.ids.tsv"
    ids.write_text("carla\nana\n")
    assert _refused(path).startswith("image.ids.tsv:2: 'ana' is no entity of the dataset; did you")
    ids.write_text("carla\ncarla\n")
    assert _refused(path).startswith("image.ids.tsv:2: 'carla' is there twice, first in ")
    ids.write_text("carla\n")
    assert _refused(path).startswith("image.ids.tsv: 1 lines for 2 rows of image.npy")
    ids.write_text("x\tcarla\ny\tanna\n")
    assert _refused(path).startswith("image.ids.tsv:1: image.npy has rows without keys")


def test_a_map_that_repeats_a_key_or_an_entity_is_refused_with_both_lines(tmp_path: Path) -> None:
    path, ids = tmp_path / "image.csv", tmp_path / "image.ids.tsv"
    _csv(tmp_path, "entity,x\nIMG1,1\nIMG2,2\n")
    ids.write_text("IMG1\tbert\nIMG2\tanna\n")
    assert _rows(path)[:2] == [[2], [1]]
    ids.write_text("IMG1\tbert\nIMG1\tanna\n")
    assert _refused(path) == "image.ids.tsv:2: key 'IMG1' is there twice, first on line 1"
    ids.write_text("IMG1\tbert\nIMG2\tbert\n")
    assert _refused(path) == "image.ids.tsv:2: entity 'bert' is there twice, first on line 1"
    ids.write_text("IMG1\tbert\n")
    assert _refused(path).startswith("image.csv:3: 'IMG2' is not in image.ids.tsv")


def test_a_dictionary_of_tensors_is_read_by_entity(tmp_path: Path) -> None:
    vectors = {name: torch.tensor(VECTORS[i]) for i, name in enumerate(ENTITIES) if i != 1}
    save_file(vectors, tmp_path / "image.safetensors")
    torch.save(vectors, tmp_path / "image.pt")
    for name in ("image.safetensors", "image.pt"):
        table = read_feature_file(tmp_path / name, "image", 4, ENTITIES)
        assert table.matrix.tolist() == [[1, 2], [0, 0], [5, 6], [7, 8]]
        assert table.present.tolist() == [True, False, True, True]
    torch.save({**vectors, "brt": vectors["anna"]}, tmp_path / "image.pt")
    assert "key 'brt' is no entity of the dataset; did you mean 'bert'?" in _refused(
        tmp_path / "image.pt"
    )
    torch.save({**vectors, "present": torch.ones(4) > 0}, tmp_path / "image.pt")
    assert "'present' beside one array per entity is not used" in _refused(tmp_path / "image.pt")


def test_groups_of_an_h5_file_are_identifiers_with_slashes_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.h5"
    with h5py.File(path, "w") as file:
        for i, name in enumerate(ENTITIES):
            file[name] = VECTORS[i]
    assert _rows(path) == VECTORS.tolist()
    with h5py.File(path, "w") as file:
        file["features"], file["extra/x"] = VECTORS, VECTORS
    assert "group 'extra' beside 'features' is not known" in _refused(path)
    with h5py.File(path, "w") as file:
        file["features"] = VECTORS
        file.create_group("present")
    assert "'present' is an empty group; need an array" in _refused(path)
    with h5py.File(path, "w") as file:
        file["anna"], file["loop"] = VECTORS[0], file["/"]
    assert "group 'loop' contains itself" in _refused(path)


def test_nested_dictionaries_of_a_pt_file_are_refused_and_notes_are_not(tmp_path: Path) -> None:
    path = tmp_path / "image.pt"
    torch.save({"features": torch.tensor(VECTORS), "encoder": "clip", "layers": 3}, path)
    assert _rows(path) == VECTORS.tolist()
    torch.save({"features": torch.tensor(VECTORS), "present": {"anna": True}}, path)
    assert "'present' is a group (a dictionary) where an array is expected" in _refused(path)
    torch.save({"features": torch.tensor(VECTORS), "present": True}, path)
    assert "'present' is among single values and is not read there" in _refused(path)
    torch.save({"features": torch.tensor(VECTORS), "mask": [True, False, True, True]}, path)
    assert _rows(path)[1] == [0, 0]


def _external_link(file: h5py.File, other: Path) -> None:
    file["features"] = h5py.ExternalLink(str(other), "features")


def _soft_link_out(file: h5py.File, other: Path) -> None:
    file["out"] = h5py.ExternalLink(str(other), "/")
    file["features"] = h5py.SoftLink("/out/features")


def _external_storage(file: h5py.File, other: Path) -> None:
    raw = other.with_suffix(".raw")
    VECTORS.tofile(raw)
    file.create_dataset("features", (4, 2), "f4", external=[(str(raw), 0, VECTORS.nbytes)])


def _virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource(str(other), "features", (4, 2))
    file.create_virtual_dataset("features", layout)


def _dangling(file: h5py.File, other: Path) -> None:
    file["features"] = h5py.SoftLink("/nothing")


@pytest.mark.parametrize(
    "link", [_external_link, _soft_link_out, _external_storage, _virtual, _dangling]
)
def test_an_h5_file_that_leads_out_of_itself_is_refused_by_name(tmp_path: Path, link) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["features"] = VECTORS
    with h5py.File(tmp_path / "image.h5", "w") as file:
        link(file, other)
    assert any(name in _refused(tmp_path / "image.h5") for name in ("'features'", "'out'"))
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["stored"], file["features"] = VECTORS, VECTORS
        del file["features"]
        file["ids"] = h5py.SoftLink("/stored")
    assert "'ids' holds float32 [4, 2]" in _refused(tmp_path / "image.h5")


@pytest.mark.parametrize("place", ["file", "features"])
def test_a_mask_in_the_attributes_of_an_h5_file_is_refused(tmp_path: Path, place: str) -> None:
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["features"] = VECTORS
        (file if place == "file" else file["features"]).attrs["present"] = np.ones(4, bool)
    assert "'present' is among attributes of " in _refused(tmp_path / "image.h5")


def test_keys_in_the_metadata_of_a_safetensors_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.safetensors"
    save_file({"features": torch.tensor(VECTORS)}, path, {"ids": "[0, 1]"})
    assert "'ids' is among its metadata" in _refused(path)


def test_parquet_without_its_reader_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "image.parquet").touch()
    with pytest.raises(MissingDataError, match=r"pip install -e '\.\[parquet\]'"):
        read_feature_file(tmp_path / "image.parquet", "image", 4, ENTITIES)


def test_a_parquet_file_that_is_wrong_is_refused_by_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "image.parquet"

    def message(**columns) -> str:
        pq.write_table(pa.table(columns), path)
        return _refused(path)

    assert "row 1 has no value in column 'x'" in message(entity=["anna", "bert"], x=[1.0, None])
    assert "column 'x' is string; need numbers" in message(entity=["anna"], x=["1"])
    assert "row 1: 'brt' is no entity" in message(entity=["anna", "brt"], x=[1, 2])
    assert "row 1: 'anna' is there twice" in message(entity=["anna", "anna"], x=[1, 2])
    assert "row 1 holds 1 numbers" in message(entity=["anna", "bert"], v=[[1.0, 2.0], [1.0]])
    nan = float("nan")
    assert "row 0: column 'y' holds NaN" in message(entity=["anna"], x=[1.0], y=[nan])
    assert "row 0 holds NaN or infinity" in message(entity=["anna"], v=[[1.0, nan]])
    assert "column 'mask' is int64; need bool" in message(entity=["anna"], mask=[1], x=[1])
    assert "column 'entity' is double" in message(entity=[1.0], x=[1])
    assert "has no name of its own" in message(entity=["anna"], x=[1], __index_level_0__=[7])
    pq.write_table(pa.table({"x": [3, 1], "__index_level_0__": ["bert", "anna"]}), path)
    assert _rows(path) == [[1], [3], [0], [0]]
    pq.write_table(pa.table({"id": [1, 0], "x": [3, 1], "mask": [True, False]}), path)
    assert _rows(path) == [[0], [3], [0], [0]]


# Through the command line.


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of 20 entities without features."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    folder = tmp_path / "downloads"
    (folder / "features").mkdir(parents=True)
    lines = "".join(f"place {i}\tnext to\tplace {(i + 1) % 20}\n" for i in range(20))
    for split in ("train", "valid", "test"):
        (folder / f"{split}.tsv").write_text(lines)
    return folder


def _coverage(folder: Path) -> int:
    """Import a folder, verify it, and return how many entities have images."""
    assert CliRunner().invoke(app, ["import", str(folder), "--name", "mine"]).exit_code == 0
    result = CliRunner().invoke(app, ["verify", "mine", "--features", "files"])
    assert result.exit_code == 0, result.output
    return int(next(s for s in result.stdout.splitlines() if s.startswith("image")).split()[-1])


@pytest.mark.parametrize("name", ["present", "mask"])
@pytest.mark.parametrize("suffix", [".pt", ".h5", ".npz", ".safetensors"])
def test_verify_counts_who_the_mask_of_a_file_says(downloads: Path, name: str, suffix: str) -> None:
    path, mask = downloads / "features" / f"image{suffix}", np.arange(20) % 2 == 0
    features = np.random.default_rng(0).random((20, 3), np.float32)
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["features"], file[name] = features, mask
    elif suffix == ".npz":
        np.savez(path, **{"features": features, name: mask})
    else:
        tensors = {"features": torch.tensor(features), name: torch.tensor(mask)}
        (torch.save if suffix == ".pt" else save_file)(tensors, path)
    assert _coverage(downloads) == 10


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_rows_that_say_their_entity_are_put_in_its_place(downloads: Path, suffix: str) -> None:
    ids = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    tensors = {"features": ids[:, None] + torch.ones(20, 2), "ids": ids}
    save = torch.save if suffix == ".pt" else save_file
    save(tensors, downloads / "features" / f"image{suffix}")
    assert _coverage(downloads) == 20
    table = load_dataset("mine", "files").features.tables["image"]
    assert table.matrix[:, 0].tolist() == list(range(1, 21))


def test_import_takes_every_feature_file_that_can_be_read(downloads: Path) -> None:
    np.save(downloads / "features" / "image.npy", np.ones((20, 2), np.float32) + np.eye(20, 2))
    np.savez(downloads / "features" / "text.npz", features=np.eye(20, 3) + 1)
    _csv(downloads / "features", "entity,x\nplace 3,1\n", "numeric.csv")
    (downloads / "features" / "README.md").write_text("of my own")
    (downloads / "pictures").mkdir()
    result = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"])
    assert result.exit_code == 0
    assert "not copied, no part of a dataset: pictures/, features/README.md" in result.stderr
    assert set(load_dataset("mine", "files").features.tables) == {"image", "text", "numeric"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("features/text.pkl", "cannot read '.pkl': pickles can run code"),
        ("features/clip.pickle", "cannot read '.pickle': pickles can run code"),
        ("features/text.NPY", "the ending '.NPY' is not read; rename it to text.npy"),
        ("features/text.mat", "cannot read '.mat'; use one of .safetensors"),
        ("features/text.xml", "cannot read '.xml'; use one of .safetensors"),
        ("features/text", "cannot read a folder; use one of .safetensors"),
        ("img_features.pkl", "cannot read '.pkl': pickles can run code"),
        ("tokens/visual.pkl", "cannot read '.pkl': pickles can run code"),
    ],
)
def test_import_refuses_what_looks_like_features_and_cannot_be_read(
    downloads: Path, name: str, message: str
) -> None:
    np.save(downloads / "features" / "image.npy", np.eye(20, dtype=np.float32))
    (downloads / name).parent.mkdir(exist_ok=True)
    (downloads / name).touch() if "." in name else (downloads / name).mkdir()
    result = CliRunner().invoke(app, ["import", str(downloads), "--name", "mine"])
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(f"{downloads / name}: {message}")
    assert not folders.datasets_folder().exists()


@pytest.mark.parametrize("content", ["VECTORS", "dict(zip(['anna', 'bert'], VECTORS))"])
def test_the_advice_for_a_pickle_converts_it(tmp_path: Path, content: str) -> None:
    import pickle
    import shlex

    value = VECTORS if content == "VECTORS" else {"bert": VECTORS[1], "anna": VECTORS[0]}
    (tmp_path / "image.pkl").write_bytes(pickle.dumps(value))
    command = next(line for line in _refused(tmp_path / "image.pkl").splitlines() if "-c" in line)
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True)
    rows = _rows(tmp_path / "image.npz")
    assert rows[:2] == VECTORS[:2].tolist()
    assert rows[2:] == (VECTORS[2:].tolist() if content == "VECTORS" else [[0, 0], [0, 0]])


def test_importing_again_brings_new_feature_files_and_refuses_others(downloads: Path) -> None:
    folder = import_local(downloads, "mine")
    np.save(downloads / "features" / "image.npy", np.eye(20, dtype=np.float32))
    assert import_local(downloads, "mine") == folder
    assert (folder / "features" / "image.npy").is_file()
    np.save(downloads / "features" / "image.npy", 2 * np.eye(20, dtype=np.float32))
    with pytest.raises(DataError, match=r"mine/features/image\.npy: differs from"):
        import_local(downloads, "mine")


def test_importing_again_does_not_write_to_the_users_own_data_folder(
    downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(downloads, tmp_path / "data" / "mine")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    np.save(downloads / "features" / "image.npy", np.eye(20, dtype=np.float32))
    with pytest.raises(DataError, match=r"lacks features/image\.npy of .*copy it there"):
        import_local(downloads, "mine")
