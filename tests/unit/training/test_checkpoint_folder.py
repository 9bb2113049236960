"""Checkpoint folders: what a state may name, and what an interrupted save leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import DataError
from harness.training.checkpoint import CheckpointFolder

MODEL = {"weight": torch.arange(3.0)}


def saved(folder: Path, epoch: int = 1) -> CheckpointFolder:
    checkpoints = CheckpointFolder(folder)
    checkpoints.save(
        MODEL, {"best": -math.inf, "history": [{"epoch": 1.0}]}, epoch=epoch, best=True
    )
    return checkpoints


def change(folder: Path, **values: Any) -> None:
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | values))


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    epoch, model, rest = saved(tmp_path).load()
    assert epoch == 1
    assert torch.equal(model["weight"], MODEL["weight"])
    assert rest == {"best": -math.inf, "history": [{"epoch": 1.0}]}


def test_weights_that_share_memory_are_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0)
    state = {"weight": weight, "tied": weight, "view": weight[2:], "other": torch.ones(2)}
    CheckpointFolder(tmp_path).save(state, {}, epoch=1, best=True)
    _, model, _ = CheckpointFolder(tmp_path).load()
    assert model.keys() == state.keys()
    assert all(torch.equal(model[key], state[key]) for key in state)


@pytest.mark.parametrize("key", ["last", "best"])
@pytest.mark.parametrize("name", ["{outside}", "../outside.safetensors", "a/b.safetensors", "x", 3])
def test_a_state_that_names_another_file_deletes_nothing(
    key: str, name: Any, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(b"precious")
    saved(tmp_path / "run")
    change(tmp_path / "run", **{key: str(outside) if name == "{outside}" else name})
    twin = CheckpointFolder(tmp_path / "twin")
    for use in (CheckpointFolder(tmp_path / "run").load, lambda: twin.copy_from(tmp_path / "run")):
        with pytest.raises(DataError, match=rf"state\.json: damaged checkpoint \({key}: "):
            use()
    assert outside.read_bytes() == b"precious"
    assert not list((tmp_path / "twin").iterdir())


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"format": 1}', "[" * 5000, "\udcff"])
def test_a_state_that_is_none_is_refused_with_the_remedy(content: str, tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "state.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"damaged checkpoint .*`harness runs rm r1` removes it"):
        CheckpointFolder(tmp_path / "r1").load()


def test_a_file_that_is_missing_or_damaged_is_named_with_the_remedy(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path / "r1")
    remedy = r"safetensors: damaged checkpoint \(.*; `harness runs rm r1` removes it"
    (tmp_path / "r1" / "last-1.safetensors").unlink()
    with pytest.raises(DataError, match=f"last-1.{remedy}"):
        checkpoints.load()
    (tmp_path / "r1" / "best-1.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=f"best-1.{remedy}"):
        checkpoints.load_best()
    change(tmp_path / "r1", format=2)
    with pytest.raises(DataError, match=r"format 2, .*; `harness runs rm r1` removes it"):
        checkpoints.load()


def test_what_an_interrupted_save_left_is_removed(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, epoch=2)
    for name in ("last-1.safetensors", "best-1.safetensors"):
        (tmp_path / name).write_bytes(b"stale")
    checkpoints.clean()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"state.json", "last-2.safetensors", "best-2.safetensors"}
