"""``<suite>.ranks.npz``: the arrays of all rank files of a suite, each array once.

Runs on one dataset share the test triples and the counts of candidates, which are most of a rank
file. A member is named by a digest of its content; the lines of ``<suite>.jsonl.gz`` say which
members make up the ranks of a run. Further parts, ``<suite>.ranks-2.npz`` and so on, keep every
file below the size that hosts of repositories accept.
"""

from __future__ import annotations

import glob
import hashlib
import io
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.evaluation.ranks import UNREADABLE
from harness.store.archive.rank_files import Array, RankFile

__all__ = [
    "PART_BYTES",
    "Load",
    "Members",
    "RankArchive",
    "digests_of",
    "encode_parts",
    "kept_name",
    "kept_parts",
    "part_names",
]

PART_BYTES = 12 * 2**20
"""Size at which a part is closed; it exceeds it by one array at most."""
_DIGITS = 24
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date of a zip archive: the same arrays make the same bytes at any time."""

Members = Mapping[str, str]
"""Array of a rank file -> digest, which names its member of the archive."""
Load = Callable[[], Array]


def digest_of(array: Array) -> str:
    """Return the digest of an array's type, shape and values."""
    content = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:_DIGITS]


def digests_of(file: RankFile) -> tuple[dict[str, str], dict[str, Load]]:
    """Return the digests of a rank file by array, and a function by digest that loads the array.

    Raises:
        DataError: the file is damaged.
    """
    members = {name: digest_of(array) for name, array in file.read(None).items()}
    return members, {digest: partial(_one_array, file, n) for n, digest in members.items()}


def _one_array(file: RankFile, name: str) -> Array:
    return file.read([name])[name]


def part_names(name: str, count: int) -> list[str]:
    """Return the file names of an archive's parts."""
    return [f"{name}.ranks{f'-{i}' if i > 1 else ''}.npz" for i in range(1, count + 1)]


def kept_name(name: str, content: bytes) -> str:
    """Return the file name of a copy of a part, which is there while an export replaces parts."""
    return f"{name}.ranks-kept-{hashlib.sha256(content).hexdigest()[:_DIGITS]}.npz"


def kept_parts(folder: Path, name: str) -> list[Path]:
    """Return the copies of parts that an interrupted export left behind."""
    return sorted(folder.glob(f"{glob.escape(name)}.ranks-kept-*.npz"))


def encode_parts(loaders: Mapping[str, Load], size: int | None = None) -> list[bytes]:
    """Return the contents of an archive's parts.

    Args:
        loaders: digest -> function that loads the array.
        size: bytes at which a part is closed; ``PART_BYTES`` when None.
    """
    limit = PART_BYTES if size is None else size
    parts: list[bytes] = []
    pending = list(loaders.items())
    while pending:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            while pending and buffer.tell() < limit:
                digest, load = pending.pop(0)
                member = zipfile.ZipInfo(f"{digest}.npy", _EPOCH)
                member.create_system, member.external_attr = 3, 0o644 << 16
                encoded = io.BytesIO()
                np.lib.format.write_array(encoded, load(), allow_pickle=False)
                archive.writestr(member, encoded.getvalue(), zipfile.ZIP_DEFLATED, 9)
        parts.append(buffer.getvalue())
    return parts


@dataclass(frozen=True)
class RankArchive:
    """The parts of an archive.

    Attributes:
        parts: files, each with its content as it was when the archive was opened: whoever writes
            them anew meanwhile does not matter.
        members: digest -> file that holds the array.
    """

    parts: Mapping[Path, zipfile.ZipFile] = field(default_factory=dict)
    members: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def open(cls, parts: Sequence[Path]) -> RankArchive:
        """Read the directories of an archive's parts.

        Raises:
            DataError: a part is missing, cut off or holds something else; the message names it.
        """
        opened: dict[Path, zipfile.ZipFile] = {}
        members: dict[str, Path] = {}
        for path in parts:
            try:
                opened[path] = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
            except FileNotFoundError:
                raise DataError(f"{path} is missing; put it beside the records") from None
            except UNREADABLE as error:
                raise DataError(f"{path}: not a complete file of ranks ({error})") from error
            members |= {name.removesuffix(".npy"): path for name in opened[path].namelist()}
        return cls(opened, members)

    def array(self, digest: str) -> Array:
        """Load one array.

        Raises:
            DataError: it is missing, or its content is damaged; the message names the file.
        """
        path = self.members.get(digest)
        if path is None:
            files = ", ".join(map(str, self.parts)) or "no file of ranks"
            raise DataError(f"{files}: array {digest} is missing")
        try:
            content = io.BytesIO(self.parts[path].read(f"{digest}.npy"))
            array = np.lib.format.read_array(content, allow_pickle=False)
        except UNREADABLE as error:
            raise DataError(f"{path}: array {digest} cannot be read ({error})") from error
        if digest_of(array) != digest:
            raise DataError(f"{path}: array {digest} holds other values than its name says")
        return array

    def loaders(self, digests: Iterable[str]) -> dict[str, Load]:
        """Return a function by digest that loads the array."""
        return {digest: partial(self.array, digest) for digest in digests}

    def file(self, members: Members) -> RankFile:
        """Return the rank file that some members make up."""
        paths = dict.fromkeys(str(self.members[d]) for d in members.values() if d in self.members)
        return RankFile(", ".join(paths), partial(self._arrays, members))

    def _arrays(self, members: Members, only: Collection[str] | None) -> dict[str, Array]:
        return {n: self.array(digest) for n, digest in members.items() if only is None or n in only}
