"""Checkpoints that are whole or not there.

A checkpoint is a tensor file and a small ``state.json`` that names it. The tensor file is written
and synchronised first, then ``state.json`` is replaced in one step: whenever the process dies, the
folder holds the previous checkpoint or the new one. Tensor files that no state names are removed
afterwards. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import DataError, MachineError

__all__ = ["CheckpointFolder", "flatten", "unflatten"]

FORMAT = 1


def flatten(
    nested: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split nested dictionaries into tensors and plain JSON values, keyed by "/"-joined paths."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for key, value in nested.items():
        path = f"{prefix}{key}"
        if isinstance(value, Tensor):
            tensors[path] = value
        elif isinstance(value, Mapping):
            inner_tensors, inner_plain = flatten(value, path + "/")
            tensors.update(inner_tensors)
            plain.update(inner_plain)
        else:
            plain[path] = value
    return tensors, plain


def unflatten(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    """Undo ``flatten`` (all keys come back as text)."""
    nested: dict[str, Any] = {}
    for path, value in {**plain, **tensors}.items():
        *parents, leaf = path.split("/")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return nested


class CheckpointFolder:
    """The checkpoints of one run: the last state, to resume, and the best, to test.

    Args:
        folder: made when it does not exist.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _machine_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def save(
        self, model: Mapping[str, Tensor], rest: Mapping[str, Any], *, epoch: int, best: bool
    ) -> None:
        """Write the state after ``epoch`` epochs.

        Args:
            model: the model's state dict.
            rest: nested dictionaries of tensors and plain values (optimisers, history, stopper).
            epoch: epochs done.
            best: keep this model as the best too.
        """
        previous = self._read() or {}
        tensors, plain = flatten(rest)
        names = {"last": f"last-{epoch}.safetensors", "best": previous.get("best")}
        if best:
            names["best"] = f"best-{epoch}.safetensors"
        with _machine_errors(self.folder):
            if best:
                self._write_tensors(f"best-{epoch}.safetensors", model)
            self._write_tensors(
                f"last-{epoch}.safetensors",
                {f"model/{k}": v for k, v in model.items()}
                | {f"rest/{k}": v for k, v in tensors.items()},
            )
            state = {"format": FORMAT, "epoch": epoch, **names, "plain": plain}
            self._replace("state.json", json.dumps(state).encode())
        for file in self.folder.glob("*.safetensors"):
            if file.name not in names.values():
                file.unlink(missing_ok=True)

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Return (epochs done, model state, rest) of the last checkpoint, None when there is none.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
        """
        state = self._read()
        if state is None:
            return None
        tensors = self._read_tensors(state["last"])
        model = {k[6:]: v for k, v in tensors.items() if k.startswith("model/")}
        rest = {k[5:]: v for k, v in tensors.items() if k.startswith("rest/")}
        return state["epoch"], model, unflatten(rest, state["plain"])

    def load_best(self) -> dict[str, Tensor] | None:
        """Return the best model's state dict, None when nothing was validated yet."""
        state = self._read()
        return self._read_tensors(state["best"]) if state and state.get("best") else None

    def best_digest(self) -> str:
        """Return the sha256 of the best model's file, "" when nothing was validated yet.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
        """
        state = self._read()
        path = self.folder / str(state.get("best") if state else None)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def has_best(self) -> bool:
        """Tell whether ``load_best`` finds a model.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
        """
        state = self._read()
        return state is not None and (self.folder / str(state.get("best"))).is_file()

    def copy_from(self, other: Path) -> None:
        """Take over the checkpoints of another folder, as they are now.

        Where the disk allows it their files are shared: none is ever written to again.

        Raises:
            DataError: the other folder's checkpoint is damaged or of a newer format.
            MachineError: this folder cannot be written.
        """
        state = CheckpointFolder(other)._read()
        if state is None:
            return
        with _machine_errors(self.folder):
            for name in {state["last"], state["best"]} - {None}:
                _share(other / name, self.folder / name)
            self._replace("state.json", json.dumps(state).encode())

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / "state.json"
        try:
            state: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: damaged checkpoint ({error}); "
                f"`harness runs rm {self.folder.name}` removes it"
            ) from error
        if state.get("format") != FORMAT:
            raise DataError(
                f"{path}: checkpoint format {state.get('format')}, this version reads {FORMAT}; "
                f"remove {self.folder} to train again"
            )
        return state

    def _read_tensors(self, name: str) -> dict[str, Tensor]:
        path = self.folder / name
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{path}: damaged checkpoint ({error}); remove {self.folder}"
            ) from error

    def _write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        temporary = self.folder / f".{name}.tmp"
        plain = {k: v.detach().to("cpu", copy=False).contiguous() for k, v in tensors.items()}
        try:
            save_file(plain, temporary)
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from error
        _synchronise(temporary)
        os.replace(temporary, self.folder / name)

    def _replace(self, name: str, content: bytes) -> None:
        temporary = self.folder / f".{name}.tmp"
        temporary.write_bytes(content)
        _synchronise(temporary)
        os.replace(temporary, self.folder / name)
        _synchronise(self.folder)


def _share(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _machine_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(f"{folder}: cannot write a checkpoint: {error}") from error
