"""Digest of the source code that a user's model is made of."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["is_shipped", "source_digest"]

SHIPPED = ("harness", "models")
"""Packages whose changes a ``numerics`` version announces."""


def is_shipped(entry: type) -> bool:
    """Tell whether a class belongs to the harness or to its own models."""
    return entry.__module__.partition(".")[0] in SHIPPED


@cache
def source_digest(*entries: type) -> str:
    """Return the sha256 (16 hex digits) of the source of classes from outside the package.

    The source is each class's file, the files of its own package that this one imports, directly or
    not, and the ``__init__.py`` of their folders. Libraries, data files and modules whose name is
    computed are not covered. Computed once per process, like the import itself.

    Args:
        entries: classes; those of the package are skipped.

    Returns:
        "" where nothing remains, or where a class was not read from a file.
    """
    files = {
        name: file for entry in entries if not is_shipped(entry) for name, file in _files(entry)
    }
    if not files:
        return ""
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _files(entry: type) -> Iterator[tuple[str, Path]]:
    """Yield the files of a class's source, each with its path below the package's folder."""
    file = getattr(sys.modules.get(entry.__module__), "__file__", None)
    if file is None or not Path(file).is_file():
        return
    package, *inner = entry.__module__.split(".")
    path = Path(file)
    if not inner and path.stem != "__init__":  # a module that is in no package
        yield path.name, path
        return
    depth = len(inner) + (path.stem == "__init__")
    root = path.parents[depth - 1]
    files = {path}
    waiting = [path]
    while waiting:
        for found in _imported(waiting.pop(), root, package):
            if found not in files:
                files.add(found)
                waiting.append(found)
    for one in files:
        yield one.relative_to(root).as_posix(), one


def _imported(file: Path, root: Path, package: str) -> Iterator[Path]:
    """Yield the files below ``root`` that a file imports, and the ``__init__.py`` above it."""
    folders = [root / folder for folder in file.relative_to(root).parents]
    yield from (init for folder in folders if (init := folder / "__init__.py").is_file())
    if file.suffix != ".py":
        return
    for module in _modules(ast.parse(file.read_bytes()), file.relative_to(root), package):
        for length in range(1, len(module) + 1):
            target = root.joinpath(*module[:length])
            candidates = (target.with_name(f"{target.name}.py"), target / "__init__.py")
            yield from (path for path in candidates if path.is_file())


def _modules(tree: ast.AST, file: Path, package: str) -> Iterator[tuple[str, ...]]:
    """Yield the modules that code imports, as their names below the package.

    What follows "from x import" may be a module or a name in one; both are yielded.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _below(alias.name.split("."), package)
        elif isinstance(node, ast.ImportFrom):
            named = node.module.split(".") if node.module else []
            if node.level:
                # one dot is the file's own folder, also for an __init__.py
                base = (*file.parent.parts[: len(file.parent.parts) - node.level + 1], *named)
            else:
                base = _below(named, package)
            yield base
            yield from ((*base, alias.name) for alias in node.names)


def _below(module: list[str], package: str) -> tuple[str, ...]:
    """Return an absolute name without the package: a file may import its neighbours by either."""
    return tuple(module[1:] if module[0] == package else module)
