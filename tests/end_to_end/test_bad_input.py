"""Bad input through the command line: one clear error, its exit code, nothing half-written."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
import torch

from harness.store import open_store

Run = Callable[..., Any]

ENTITIES, RELATIONS = 8, 3
TRAIN = [(e, (e + 3) % ENTITIES, e % RELATIONS) for e in range(ENTITIES)]

SUITE = """\
name: own
datasets: [{dataset: mine, features: files}]
rows: [mocme]
base:
  training: {epochs: 1}
  model: {dim: 8}
seeds: [0]
"""


def listed(names: list[str]) -> str:
    return "\n".join([str(len(names)), *(f"{name}\t{i}" for i, name in enumerate(names))]) + "\n"


def split(rows: list[tuple[int, int, int]], *, count: int | None = None) -> str:
    """A split file as published: a count, then rows of head, tail, relation."""
    lines = [" ".join(map(str, row)) for row in rows]
    return "\n".join([str(len(rows) if count is None else count), *lines]) + "\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A dataset of the user's own, with text features."""
    folder = tmp_path / "cache" / "datasets" / "mine"
    (folder / "features").mkdir(parents=True)
    (folder / "entity2id.txt").write_text(listed([f"e{i}" for i in range(ENTITIES)]))
    (folder / "relation2id.txt").write_text(listed([f"r{i}" for i in range(RELATIONS)]))
    for name in ("train", "valid", "test"):
        (folder / f"{name}2id.txt").write_text(split(TRAIN if name == "train" else TRAIN[:3]))
    np.save(folder / "features" / "text.npy", matrix())
    return folder


def matrix(rows: int = ENTITIES) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(SUITE)
    return path


def assert_refused(ended: Any, code: int, *fragments: str) -> None:
    """One error on stderr, with everything that ``fragments`` name; nothing on stdout."""
    assert ended.code == code, ended.err
    assert len(re.findall(r"^error: ", ended.err, re.MULTILINE)) == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    for fragment in fragments:
        assert re.search(fragment, ended.err), f"{fragment!r} is not in: {ended.err}"


def test_the_untouched_input_runs(harness: Run, mine: Path, suite: Path) -> None:
    ended = harness("run", suite)
    assert ended.code == 0, ended.err
    assert "Suite own" in ended.out


SPLITS = {
    "truncated": (split(TRAIN)[:-4], [r"train2id\.txt:9: need 'head tail relation'"]),
    "a header that promises more": (
        split(TRAIN, count=20),
        [r"train2id\.txt:1: the header says 20 rows, the file holds 8; was the file cut off"],
    ),
    "head relation tail": (
        split([(h, r, t) for h, t, r in TRAIN]),
        [
            r"train2id\.txt:\d+: ",
            "fits the order 'head relation tail'.* needs 'head tail relation'",
        ],
    ),
    "an entity out of range": (
        split([*TRAIN, (99, 0, 1)]),
        [r"train2id\.txt:10: .*99", f"0 to {ENTITIES - 1}"],
    ),
    "a negative id": (split([*TRAIN, (0, -1, 1)]), [r"train2id\.txt:10: .*-1"]),
    "words": ("2\n0 1 zero\n0 1 0\n", [r"train2id\.txt:2: .*zero"]),
    "empty": ("", [r"train2id\.txt.*empty"]),
}


@pytest.mark.parametrize("case", SPLITS)
def test_a_bad_split_file(harness: Run, mine: Path, suite: Path, tmp_path: Path, case: str) -> None:
    text, fragments = SPLITS[case]
    (mine / "train2id.txt").write_text(text)
    assert_refused(harness("run", suite), 3, *fragments)
    assert not (tmp_path / "results").exists()


def test_a_split_file_that_is_not_there(
    harness: Run, mine: Path, suite: Path, tmp_path: Path
) -> None:
    (mine / "valid2id.txt").unlink()
    assert_refused(harness("run", suite), 3, r"valid2id\.txt")
    assert not (tmp_path / "results").exists()


class Bomb:
    """A pickle that runs a command when it is opened."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def write_features(folder: Path, case: str, proof: Path) -> None:
    (folder / "text.npy").unlink()
    if case == "rows":
        np.save(folder / "text.npy", matrix(rows=ENTITIES - 1))
    elif case == "not a number":
        bad = matrix()
        bad[5, 2] = np.nan
        np.save(folder / "text.npy", bad)
    elif case == "objects":
        np.save(folder / "text.npy", np.array([{}] * ENTITIES), allow_pickle=True)
    elif case == "code":
        with (folder / "text.pth").open("wb") as file:
            pickle.dump(Bomb(proof), file)
    elif case == "code in a torch file":
        torch.save(Bomb(proof), folder / "text.pth")
    else:
        np.save(folder / "text.npy", matrix())
        content = (folder / "text.npy").read_bytes()
        (folder / "text.npy").write_bytes(content[: len(content) // 2])


FEATURES = {
    "rows": [rf"text\.npy: {ENTITIES - 1} rows found, {ENTITIES} expected"],
    "not a number": [r"text\.npy: row 5 holds NaN"],
    "objects": [r"text\.npy: not a complete \.npy file.*pickle"],
    "code": [r"text\.pth: not a complete file of plain tensors"],
    "code in a torch file": [r"text\.pth: not a complete file of plain tensors"],
    "truncated": [r"text\.npy: not a complete \.npy file"],
}


@pytest.mark.parametrize("case", FEATURES)
def test_bad_features(harness: Run, mine: Path, suite: Path, tmp_path: Path, case: str) -> None:
    proof = tmp_path / "it-ran"
    write_features(mine / "features", case, proof)
    assert_refused(harness("run", suite), 3, *FEATURES[case])
    assert not proof.exists()
    assert not (tmp_path / "results").exists()


LINES = {
    "model": ("rows: [mocme]", "rows: [mocmee]", 3, "mocmee.*did you mean 'mocme'"),
    "dataset": ("dataset: mine", "dataset: mien", 2, "mien.*did you mean 'mine'|unknown dataset"),
    "feature set": ("features: files", "features: flies", 2, "did you mean 'files'"),
    "key": ("training: {epochs: 1}", "training: {epoch: 1}", 5, "did you mean 'epochs'"),
    "section": ("  model: {dim: 8}", "  modle: {dim: 8}", 6, "did you mean 'model'"),
    "option": ("  model: {dim: 8}", "  model: {dimm: 8}", 6, "did you mean 'dim'"),
    "modality": ("{dim: 8}", "{dim: 8}\n  data: {modalities: [txet]}", 7, "mean 'text'"),
    "value": ("{epochs: 1}", "{epochs: many}", 5, "training.epochs"),
    "twice": ("rows: [mocme]", "rows: [mocme]\nrows: [transe]", 4, "rows"),
    "broken": ("rows: [mocme]", "rows: [mocme", 4, ""),
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_suite(harness: Run, mine: Path, suite: Path, tmp_path: Path, case: str) -> None:
    good, bad, line, fragment = LINES[case]
    suite.write_text(SUITE.replace(good, bad))
    assert_refused(harness("run", suite), 2, rf"own\.yaml:{line}: ", fragment)
    assert not (tmp_path / "results").exists()


def test_a_modality_to_leave_out_that_there_is_not(harness: Run, mine: Path, suite: Path) -> None:
    suite.write_text(SUITE.replace("rows: [mocme]", "rows: [{model: mocme, drop: txet}]"))
    assert_refused(
        harness("run", suite), 2, "no modality is called 'txet', to leave out; did you mean"
    )


def test_an_alias_bomb(harness: Run, suite: Path, tmp_path: Path) -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    suite.write_text("\n".join(layers) + "\n")
    assert_refused(harness("run", suite), 2, r"own\.yaml(:\d+)?: .*alias")
    assert not (tmp_path / "results").exists()


def test_a_suite_that_is_not_there(harness: Run) -> None:
    assert_refused(harness("run", "quickstrat"), 2, "did you mean 'quickstart'")


def test_a_dataset_that_is_not_here(harness: Run, suite: Path, tmp_path: Path) -> None:
    suite.write_text("name: own\ndatasets: [mkg-w]\nrows: [transe]\n")
    assert_refused(harness("run", suite), 3, "harness data fetch mkg-w")
    assert not (tmp_path / "results").exists()


WORDS = {
    "set, key": (["--set", "training.epoch=1"], "did you mean 'epochs'"),
    "set, no value": (["--set", "training.epochs"], "training.epochs"),
    "only, value": (["--only", "model=rotate"], "no run has it"),
    "only, key": (["--only", "modle=rotate"], "did you mean 'model'"),
}


@pytest.mark.parametrize("case", WORDS)
def test_bad_options(harness: Run, mine: Path, suite: Path, tmp_path: Path, case: str) -> None:
    words, fragment = WORDS[case]
    assert_refused(harness("run", suite, *words), 2, fragment)
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there(harness: Run, mine: Path, suite: Path, tmp_path: Path) -> None:
    assert_refused(harness("run", suite, "--device", "cuda"), 4, "'cuda'.* 0 GPUs")
    assert_refused(harness("run", suite, "--device", "cda"), 2, "choose auto, cpu")
    assert not (tmp_path / "results").exists()


def test_kernels_that_there_are_not(harness: Run, mine: Path, suite: Path, tmp_path: Path) -> None:
    ended = harness("run", suite, HARNESS_KERNELS="bogus")
    assert_refused(ended, 2, "HARNESS_KERNELS=bogus: choose reference or auto")
    assert not (tmp_path / "results").exists()


def test_a_folder_of_data_that_is_not_there(harness: Run, mine: Path, suite: Path) -> None:
    nowhere = {"HARNESS_DATA": "/nonexistent"}
    message = "HARNESS_DATA=/nonexistent: no such folder"
    assert_refused(harness("run", suite, **nowhere), 2, message)
    for words in (("list",), ("show", "mkg-w"), ("verify", "--all")):
        assert_refused(harness("data", *words, **nowhere), 2, message)


def test_a_database_of_a_newer_version(
    harness: Run, mine: Path, suite: Path, tmp_path: Path
) -> None:
    database = tmp_path / "results" / "harness.db"
    with closing(open_store(database)) as store, store.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE harness_schema SET version_num = '9999'"))
    assert_refused(harness("run", suite), 4, r"harness\.db: .*newer")
    assert not (tmp_path / "results" / "runs").exists()


def test_a_file_that_is_no_database(harness: Run, mine: Path, suite: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "harness.db").write_text("not a database, " * 100)
    assert_refused(harness("run", suite), 4, r"harness\.db: not a database")


@pytest.mark.slow
def test_workers_on_a_disk_that_is_full(
    harness: Run, mine: Path, suite: Path, tmp_path: Path
) -> None:
    """No file may grow beyond 1 MB: the database fits, the checkpoint of a wide model does not."""
    suite.write_text(SUITE.replace("rows: [mocme]", "rows: [transe]"))
    words = ("run", suite, "--set", "model.dim=40000", "--workers", "2")
    assert_refused(harness(*words, largest_file=10**6), 4, str(tmp_path / "results"))
    assert not list((tmp_path / "results").rglob("record.json"))
    assert not list((tmp_path / "results").rglob("*.tmp"))
    assert harness(*words).code == 0  # there is room again


@pytest.fixture
def other(tmp_path: Path) -> int:
    """A user whom permissions stop (0: the one who runs the tests); root is not stopped by any."""
    if os.getuid() != 0:
        return 0
    code = [Path(os.__file__), Path(pytest.__file__), Path(__file__)]
    folders = {folder for file in code for folder in file.resolve().parents}
    closed = [folder for folder in folders if not folder.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"other users than root cannot run the code: {closed[0]} is closed to them")
    # pytest closes its folder to other users, again at its next start.
    for folder in tmp_path.parents:
        if not (mode := folder.stat().st_mode) & 0o001:
            folder.chmod(mode | 0o001)
    return 65534


@pytest.mark.parametrize("part", [".", "runs"])
def test_results_that_cannot_be_written(
    harness: Run, mine: Path, suite: Path, tmp_path: Path, part: str, other: int
) -> None:
    home = tmp_path / "results"
    (home / "runs").mkdir(parents=True)
    for folder in (tmp_path, home):
        folder.chmod(0o777)
    if part == "runs":
        open_store(home / "harness.db").close()
        for file in home.glob("harness.db*"):
            file.chmod(0o666)
    (home / part).chmod(0o555)
    ended = harness("run", suite, user=other)
    assert_refused(ended, 4, f"{home}.*(cannot write|ermission)")
    assert not list(home.rglob("record.json"))
    (home / part).chmod(0o777)


def test_a_suite_that_may_not_be_read(
    harness: Run, suite: Path, tmp_path: Path, other: int
) -> None:
    tmp_path.chmod(0o777)
    suite.chmod(0o000)
    ended = harness("run", suite, user=other)
    assert_refused(ended, 2, r"own\.yaml: .*[Pp]ermission")
