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
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.config.base import Config, problems, show_path
from harness.errors import DataError, MachineError
from harness.training.state_file import STATE
from harness.writing import replacing, synchronise, use_umask

__all__ = ["CheckpointFolder", "flatten", "unflatten"]

FORMAT = 1

TensorFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.safetensors$")]
"""Name of a file in the folder of the checkpoint, never a path: these files are deleted."""


AnyFloat = Annotated[float, Field(allow_inf_nan=True)]


class Progress(Config):
    """Progress of a training, beside the state of the model and its optimisers."""

    best: AnyFloat
    """-inf before the first validation."""
    best_epoch: int
    waited: int
    history: list[dict[str, AnyFloat]]
    """One row per epoch."""


class _State(Config):
    """Content of ``state.json``."""

    format: int = FORMAT
    epoch: Annotated[int, Field(ge=0)]
    last: TensorFile
    best: TensorFile | None = None
    plain: dict[str, Any]
    """The state's values that are no tensors, keyed by "/"-joined paths."""

    @property
    def files(self) -> set[str]:
        """The tensor files of the checkpoint."""
        return {self.last} | ({self.best} if self.best else set())


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
        self,
        model: Mapping[str, Tensor],
        training_state: Mapping[str, Any],
        *,
        epoch: int,
        best: bool,
    ) -> None:
        """Write the state after ``epoch`` epochs.

        Args:
            model: the model's state dict.
            training_state: nested dictionaries of tensors and plain values (optimisers, history,
                stopper).
            epoch: epochs done.
            best: keep this model as the best too.
        """
        previous = self._read()
        tensors, plain = flatten(training_state)
        last, best_file = f"last-{epoch}.safetensors", previous.best if previous else None
        with _machine_errors(self.folder):
            if best:
                best_file = f"best-{epoch}.safetensors"
                self._write_tensors(best_file, model)
            self._write_tensors(
                last,
                {f"model/{k}": v for k, v in model.items()}
                | {f"rest/{k}": v for k, v in tensors.items()},
            )
            state = _State(epoch=epoch, last=last, best=best_file, plain=plain)
            self._write_state(state)
            self._remove_all_but(state.files)

    def clean(self) -> None:
        """Remove the tensor files that an interrupted ``save`` left.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
            MachineError: the folder cannot be written.
        """
        state = self._read()
        with _machine_errors(self.folder):
            self._remove_all_but(state.files if state else ())

    def _remove_all_but(self, names: Collection[str]) -> None:
        for file in self.folder.glob("*.safetensors"):
            if file.name not in names:
                file.unlink(missing_ok=True)

    def progress(self, epoch: int, training_state: Mapping[str, Any]) -> Progress:
        """Check what ``load`` returned beside tensors.

        Raises:
            DataError: a value is missing or cannot be, or there is not a row for each epoch.
        """
        try:
            progress = Progress.model_validate(
                {k: training_state[k] for k in Progress.model_fields if k in training_state}
            )
        except ValidationError as error:
            key, message = problems(error, Progress)[0]
            raise self._damaged(f"plain.{show_path(key)}: {message}") from None
        epochs = [row.get("epoch") for row in progress.history if "seconds" in row]
        if epochs != list(range(1, epoch + 1)):
            raise self._damaged(f"plain.history: not a row for each of {epoch} epochs")
        return progress

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Return (epochs done, model state, training state) of the last checkpoint; None without.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
        """
        state = self._read()
        if state is None:
            return None
        tensors = self._read_tensors(state.last)
        model = {k[6:]: v for k, v in tensors.items() if k.startswith("model/")}
        training_state = {k[5:]: v for k, v in tensors.items() if k.startswith("rest/")}
        try:
            return state.epoch, model, unflatten(training_state, state.plain)
        except (AttributeError, TypeError) as error:  # a value that is also a folder of values
            raise self._damaged(f"plain: {error}") from None

    def load_best(self) -> dict[str, Tensor] | None:
        """Return the best model's state dict, None when nothing was validated yet."""
        state = self._read()
        return self._read_tensors(state.best) if state and state.best else None

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Give a model, or what else trains, the state that ``load`` or ``load_best`` returned.

        Raises:
            DataError: it does not fit.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(
                f"{self.folder}: the checkpoint is of another model or of other settings "
                f"({reason}); `{self._remedy}` removes it"
            ) from error

    def best_digest(self) -> str:
        """Return the sha256 of the best model's file, "" when nothing was validated yet.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
        """
        path = self._best_file()
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""

    def has_best(self) -> bool:
        """Tell whether ``load_best`` finds a model.

        Raises:
            DataError: the checkpoint is damaged or of a newer format.
        """
        return self._best_file() is not None

    def _best_file(self) -> Path | None:
        state = self._read()
        path = self.folder / state.best if state and state.best else None
        return path if path and path.is_file() else None

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
            for name in state.files:
                _share(other / name, self.folder / name)
            self._write_state(state)

    def _read(self) -> _State | None:
        path = self.folder / STATE
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        version = content.get("format") if isinstance(content, dict) else FORMAT
        if version != FORMAT:
            raise DataError(
                f"{path}: checkpoint format {version}, this version reads {FORMAT}; "
                f"`{self._remedy}` removes it, to train again"
            )
        try:
            return _State.model_validate(content)
        except ValidationError as error:
            key, message = problems(error, _State)[0]
            raise self._damaged(": ".join(filter(None, (show_path(key), message)))) from None

    def _damaged(self, problem: str, name: str = STATE) -> DataError:
        return DataError(
            f"{self.folder / name}: damaged checkpoint ({problem}); `{self._remedy}` removes it"
        )

    @property
    def _remedy(self) -> str:
        return f"harness runs rm {shlex.quote(self.folder.name)}"

    def _read_tensors(self, name: str) -> dict[str, Tensor]:
        try:
            return load_file(self.folder / name)
        except (OSError, SafetensorError) as error:
            raise self._damaged(str(error), name) from error

    def _write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        temporary = self.folder / f".{name}.tmp"
        plain, storages = {}, set()
        for key, value in tensors.items():
            tensor = value.detach().to("cpu", copy=False).contiguous()
            storage = tensor.untyped_storage().data_ptr()
            # safetensors refuses tensors that share memory, such as tied weights.
            plain[key] = tensor.clone() if storage in storages else tensor
            storages.add(storage)
        try:
            save_file(plain, temporary)
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from error
        use_umask(temporary)
        synchronise(temporary)
        os.replace(temporary, self.folder / name)

    def _write_state(self, state: _State) -> None:
        with replacing(self.folder / STATE) as file:
            file.write(json.dumps(state.model_dump()).encode())
        synchronise(self.folder)


def _share(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


@contextlib.contextmanager
def _machine_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(f"{folder}: cannot write a checkpoint: {error}") from error
