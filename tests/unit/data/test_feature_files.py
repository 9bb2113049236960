"""Feature files: what is read, what is refused, and who counts as having the modality."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.data.feature_files import file_sha256, read_feature_file
from harness.data.feature_presence import filler_rows
from harness.errors import DataError, MissingDataError

N = 40


def _features(n: int = N, d: int = 6) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1))


def _write_npy(path: Path, x: Tensor) -> None:
    np.save(path, x.numpy())


def _write_h5(path: Path, x: Tensor) -> None:
    with h5py.File(path, "w") as file:
        file["anything"] = x.numpy()


def _write_safetensors(path: Path, x: Tensor) -> None:
    save_file({"anything": x}, path)


def _write_pth(path: Path, x: Tensor) -> None:
    torch.save(x, path)


WRITERS: dict[str, Callable[[Path, Tensor], None]] = {
    ".npy": _write_npy,
    ".h5": _write_h5,
    ".safetensors": _write_safetensors,
    ".pth": _write_pth,
}
formats = pytest.mark.parametrize("suffix", WRITERS)


@formats
def test_a_matrix_survives_the_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, _features())
    table = read_feature_file(path, "image", N)
    assert torch.equal(table.matrix, _features())
    assert bool(table.present.all())
    assert table.provenance["sha256"] == file_sha256(path)
    assert table.provenance["reader"] == suffix[1:]


@formats
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, _features(N, 500))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"image\.[a-z0-9]+: not a complete"):
        read_feature_file(path, "image", N)


@formats
def test_an_empty_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="not a complete"):
        read_feature_file(path, "image", N)


@formats
def test_the_wrong_number_of_rows_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, _features(N - 1))
    with pytest.raises(DataError, match="39 rows found, 40 expected"):
        read_feature_file(path, "image", N)


@formats
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_name_their_row(tmp_path: Path, suffix: str, bad: float) -> None:
    features = _features()
    features[7, 2] = bad
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, features)
    with pytest.raises(DataError, match="row 7 holds NaN or infinity"):
        read_feature_file(path, "image", N)


@formats
def test_integers_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, torch.zeros(N, 3, dtype=torch.int64))
    with pytest.raises(DataError, match="int64"):
        read_feature_file(path, "image", N)


@formats
def test_a_vector_is_no_feature_matrix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, torch.zeros(N))
    with pytest.raises(DataError, match=r"need \[N, d\]"):
        read_feature_file(path, "image", N)


@formats
@pytest.mark.parametrize("shape", [(N, 0), (N, 3, 0), (N, 0, 3)])
def test_a_matrix_without_columns_is_refused(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, torch.zeros(shape))
    with pytest.raises(DataError, match=r"image\.[a-z0-9]+: shape .* holds no feature"):
        read_feature_file(path, "image", N)


@formats
@pytest.mark.parametrize("images", [1, 2])
def test_what_does_not_fit_single_precision_names_file_and_row(
    tmp_path: Path, suffix: str, images: int
) -> None:
    features = _features().double()[:, None].repeat(1, images, 1)
    features[7, 0, 2] = 1e300
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path, features.squeeze(1))
    with pytest.raises(DataError, match=r"image\.[a-z0-9]+: row 7 holds what float32 cannot"):
        read_feature_file(path, "image", N)


def test_values_of_entities_without_the_modality_need_not_fit(tmp_path: Path) -> None:
    features, present = _features().double(), torch.arange(N) != 7
    features[7] = 1e300
    save_file({"features": features, "present": present}, tmp_path / "image.safetensors")
    table = read_feature_file(tmp_path / "image.safetensors", "image", N)
    assert table.present.equal(present)


def test_a_modality_that_nobody_has_is_refused_with_the_place_of_its_mask(tmp_path: Path) -> None:
    nobody = torch.zeros(N, dtype=torch.bool)
    path = tmp_path / "image.safetensors"
    save_file({"features": _features(), "present": nobody}, path)
    with pytest.raises(DataError, match=r"image\.safetensors: no entity has .*tensor 'present'"):
        read_feature_file(path, "image", N)
    save_file({"features": _features()}, path)
    np.save(tmp_path / "image.present.npy", nobody.numpy())
    with pytest.raises(DataError, match=r"no entity has .*image\.present\.npy"):
        read_feature_file(path, "image", N)
    (tmp_path / "image.present.npy").unlink()
    save_file({"features": torch.zeros(N, 3)}, path)
    with pytest.raises(DataError, match=r"no entity has the modality 'image' .*exact zeros"):
        read_feature_file(path, "image", N)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["image.h5", "image.present.npy", "image.ids.tsv"])
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    _write_keys(tmp_path / "image.h5", {"a": [[1, 2]], "b": [[3, 4]]})
    if name == "image.present.npy":
        _write_h5(tmp_path / "image.h5", _features(2))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: is not a regular file"):
        read_feature_file(tmp_path / "image.h5", "image", 2, ("a", "b"))


@formats
def test_several_rows_per_entity_are_averaged_over_the_available_ones(
    tmp_path: Path, suffix: str
) -> None:
    features = torch.zeros(N, 3, 2)
    features[:, 0] = torch.arange(1.0, N + 1)[:, None]
    features[0, 1] = torch.tensor([3.0, 5.0])
    path = tmp_path / f"text{suffix}"
    WRITERS[suffix](path, features)
    table = read_feature_file(path, "text", N)
    assert table.matrix[0].tolist() == [2.0, 3.0]
    assert table.matrix[1].tolist() == [2.0, 2.0]
    assert "mean" in table.provenance["pooling"]
    assert "k=3" in table.provenance["pooling"]


def test_half_precision_is_kept_and_double_becomes_single(tmp_path: Path) -> None:
    _write_npy(tmp_path / "half.npy", _features().half())
    _write_npy(tmp_path / "double.npy", _features().double())
    assert read_feature_file(tmp_path / "half.npy", "image", N).matrix.dtype == torch.float16
    double = read_feature_file(tmp_path / "double.npy", "image", N)
    assert double.matrix.dtype == torch.float32
    assert double.provenance["dtype"] == "float64"


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.mark, "code was run")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "image.pth"
    torch.save({"features": _features(), "bomb": _Bomb(mark)}, path)
    with pytest.raises(DataError, match=r"plain tensors.*\n.*save_file"):
        read_feature_file(path, "image", N)
    assert not mark.exists()


def test_a_plain_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for name in ("image.pth", "image.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(_Bomb(mark)))
        with pytest.raises(DataError):
            read_feature_file(tmp_path / name, "image", N)
    assert not mark.exists()


def test_an_npy_of_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.array([{"a": 1}] * N, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickle"):
        read_feature_file(tmp_path / "image.npy", "image", N)


def test_an_npy_that_claims_more_than_fits_in_memory_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "image.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (N, 10**15)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match=r"image\.npy: not a complete \.npy file"):
        read_feature_file(tmp_path / "image.npy", "image", N)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.eye(N).to_sparse(), "sparse_coo"),
        (torch.empty(N, 6, device="meta"), "without data"),
    ],
)
def test_a_tensor_that_is_not_dense_is_refused(tmp_path: Path, tensor: Tensor, said: str) -> None:
    torch.save(tensor, tmp_path / "image.pth")
    with pytest.raises(DataError, match=f"image.pth: .*{said}"):
        read_feature_file(tmp_path / "image.pth", "image", N)


def test_a_state_dict_with_one_tensor_is_read(tmp_path: Path) -> None:
    torch.save({"weight": torch.nn.Parameter(_features())}, tmp_path / "image.pth")
    table = read_feature_file(tmp_path / "image.pth", "image", N)
    assert torch.equal(table.matrix, _features())
    assert not table.matrix.requires_grad


def test_several_tensors_need_one_called_features(tmp_path: Path) -> None:
    save_file({"a": _features(), "b": _features()}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="holds a, b"):
        read_feature_file(tmp_path / "x.safetensors", "image", N)
    save_file({"matrix": _features(), "present": torch.ones(N) > 0}, tmp_path / "x.safetensors")
    assert torch.equal(
        read_feature_file(tmp_path / "x.safetensors", "image", N).matrix, _features()
    )


def test_unknown_endings_and_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"image\.npy"):
        read_feature_file(tmp_path / "image.npy", "image", N)
    (tmp_path / "image.xml").write_text("1,2")
    with pytest.raises(DataError, match=r"'\.xml'.*\.safetensors"):
        read_feature_file(tmp_path / "image.xml", "image", N)


def test_a_mask_in_the_file_is_preferred_to_guessing(tmp_path: Path) -> None:
    features = _features()
    features[3] = 0.0  # present all the same
    present = torch.ones(N, dtype=torch.bool)
    present[5] = False
    save_file({"features": features, "present": present}, tmp_path / "x.safetensors")
    table = read_feature_file(tmp_path / "x.safetensors", "image", N)
    assert torch.equal(table.present, present)
    assert not bool(table.matrix[5].any())
    assert table.provenance["mask"] == {"rule": "tensor 'present' in the file"}


def test_a_mask_beside_the_file_is_preferred_to_guessing(tmp_path: Path) -> None:
    present = np.arange(N) % 2 == 0
    _write_pth(tmp_path / "image.pth", _features())
    np.save(tmp_path / "image.present.npy", present)
    table = read_feature_file(tmp_path / "image.pth", "image", N)
    assert table.present.tolist() == present.tolist()
    assert table.provenance["mask"]["file"] == "image.present.npy"


def test_a_mask_of_the_wrong_shape_or_type_is_refused(tmp_path: Path) -> None:
    _write_npy(tmp_path / "image.npy", _features())
    for wrong in (np.ones(N - 1, dtype=bool), np.ones(N)):
        np.save(tmp_path / "image.present.npy", wrong)
        with pytest.raises(DataError, match=r"image\.present\.npy: the mask is"):
            read_feature_file(tmp_path / "image.npy", "image", N)


def test_zero_mean_and_repeated_rows_are_fillers(tmp_path: Path) -> None:
    features = _features(100, 4)
    features[:5] = 0.0
    features[5:20] = 2.5  # 15 times the same row
    real = features[20:90]
    features[90:] = 0.0
    features[90:93] = features[5:90].mean(0)  # keeps the mean of the non-zero rows
    filler, counts = filler_rows(features)
    assert counts == {"zero": 12, "mean": 3, "duplicate": 15}
    assert filler.nonzero().flatten().tolist() == [*range(20), *range(90, 100)]
    _write_npy(tmp_path / "image.npy", features)
    table = read_feature_file(tmp_path / "image.npy", "image", 100)
    assert torch.equal(table.matrix[20:90], real)
    assert int(table.present.sum()) == 70
    assert table.provenance["mask"]["filler"] == counts


def test_ten_equal_rows_are_still_real() -> None:
    features = _features()
    features[:10] = 1.0
    assert not bool(filler_rows(features)[0].any())
    features[10] = 1.0
    assert int(filler_rows(features)[0].sum()) == 11


def test_in_a_small_matrix_a_row_may_be_the_mean() -> None:
    assert not bool(filler_rows(torch.tensor([[1.0], [2.0], [3.0]]))[0].any())


def _write_keys(path: Path, rows: dict[str, list[list[float]]]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in rows.items():
            file[key] = np.asarray(value, dtype=np.float32)


def test_an_h5_file_may_hold_one_dataset_per_entity(tmp_path: Path) -> None:
    path = tmp_path / "image.h5"
    _write_keys(path, {"b": [[1, 2], [3, 4]], "c": [[5, 6]]})
    table = read_feature_file(path, "image", 3, ("a", "b", "c"))
    assert table.matrix.tolist() == [[0, 0], [2, 3], [5, 6]]
    assert table.present.tolist() == [False, True, True]
    assert table.provenance["unknown_keys"] == 0
    assert table.provenance["mask"] == {"rule": "entities named by the keys of the file"}


def test_a_published_h5_file_may_hold_more_keys_than_its_map_but_not_without_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "image.h5"
    _write_keys(path, {"anna": [[1, 2]], "elsewhere": [[0, 0]]})
    with pytest.raises(DataError, match=r"key 'elsewhere' is no entity .*map .*image\.ids\.tsv"):
        read_feature_file(path, "image", 2, ("anna", "bert"))
    (tmp_path / "image.ids.tsv").write_text("anna\tbert\n")
    table = read_feature_file(path, "image", 2, ("anna", "bert"))
    assert table.matrix.tolist() == [[0, 0], [1, 2]]
    assert table.provenance["unknown_keys"] == 1


def test_the_keys_of_an_h5_file_may_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "image.h5"
    _write_keys(path, {"IMG1": [[1, 2]], "IMG2": [[3, 4]]})
    with pytest.raises(DataError, match=r"'IMG1'.*image\.ids\.tsv"):
        read_feature_file(path, "image", 2, ("a", "b"))
    (tmp_path / "image.ids.tsv").write_text("IMG1\tb\nIMG2\ta\n")
    assert read_feature_file(path, "image", 2, ("a", "b")).matrix.tolist() == [[3, 4], [1, 2]]
    (tmp_path / "image.ids.tsv").write_bytes(b"IMG1\tb\nIMG2\t\xe7\n")
    with pytest.raises(DataError, match=r"image\.ids\.tsv:2: not UTF-8"):
        read_feature_file(path, "image", 2, ("a", "b"))
    (tmp_path / "image.ids.tsv").write_text("IMG1\tb\nIMG2\tz\n")
    with pytest.raises(DataError, match=r"image\.ids\.tsv:2: 'IMG2\tz'"):
        read_feature_file(path, "image", 2, ("a", "b"))


def test_the_datasets_of_an_h5_file_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "image.h5"
    _write_keys(path, {"a": [[1, 2]], "b": [[3, 4, 5]]})
    with pytest.raises(DataError, match="key 'b': width 3, others 2"):
        read_feature_file(path, "image", 2, ("a", "b"))
    _write_keys(path, {"a": [[1, 2]], "b": [[3, float("nan")]]})
    with pytest.raises(DataError, match=r"key 'b' \(row 1\) holds NaN"):
        read_feature_file(path, "image", 2, ("a", "b"))
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.array([1.0, 2.0]), np.array([1e300, 2.0])
    with pytest.raises(DataError, match=r"image\.h5: key 'b' holds what float32 cannot"):
        read_feature_file(path, "image", 2, ("a", "b"))


def test_the_other_byte_order_is_read_and_text_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", _features().numpy().astype(">f4"))
    assert torch.equal(read_feature_file(tmp_path / "image.npy", "image", N).matrix, _features())
    np.save(tmp_path / "image.npy", np.array([["a"]] * N))
    with pytest.raises(DataError, match="holds <U1"):
        read_feature_file(tmp_path / "image.npy", "image", N)
    np.savez(tmp_path / "image.npz", _features().numpy())
    (tmp_path / "image.npz").rename(tmp_path / "image.npy")
    with pytest.raises(DataError, match="not an archive"):
        read_feature_file(tmp_path / "image.npy", "image", N)
