"""Digest of the source code of a user's model."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["is_shipped", "source_digest", "source_files"]

SHIPPED = ("harness", "models")
"""Packages of the harness, whose changes of results ``Capabilities.numerics`` records."""


def is_shipped(entry: type) -> bool:
    """Return True for classes of the harness and its models."""
    return entry.__module__.partition(".")[0] in SHIPPED


@cache
def source_digest(*entries: type) -> str:
    """Return the SHA-256 (16 hex digits) of the source of classes from outside the package.

    The source consists of the class's file, the files of its own package that it imports, directly
    or indirectly, and the ``__init__.py`` of their folders. Libraries, data files and modules with
    computed names are not covered. Cached, as modules are.

    Args:
        entries: classes; those of the harness are skipped.

    Returns:
        "" if no class remains, or one has no file.
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


def source_files(*entries: type) -> list[Path]:
    """Return the files that ``source_digest`` covers, those of classes of the harness included."""
    return [file for entry in entries for _, file in _files(entry)]


def _files(entry: type) -> Iterator[tuple[str, Path]]:
    """Yield the files of a class's source as (path within the package, file)."""
    file = getattr(sys.modules.get(entry.__module__), "__file__", None)
    if file is None or not Path(file).is_file():
        return
    package, *inner = entry.__module__.split(".")
    path = Path(file)
    if not inner and path.stem != "__init__":  # a module outside any package
        yield path.name, path
        return
    depth = len(inner) + (path.stem == "__init__")
    root = path.parents[depth - 1]
    files = {path}
    waiting = [path]
    while waiting:
        for imported in _imported(waiting.pop(), root, package):
            if imported not in files:
                files.add(imported)
                waiting.append(imported)
    for source_file in files:
        yield source_file.relative_to(root).as_posix(), source_file


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
    """Yield the modules that code imports, as name parts within the package.

    A name after "from x import" may be a module or a name in x; both are yielded.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _below(alias.name.split("."), package)
        elif isinstance(node, ast.ImportFrom):
            names = node.module.split(".") if node.module else []
            if node.level:
                # One dot is the folder of the file, also for an __init__.py.
                base = (*file.parent.parts[: len(file.parent.parts) - node.level + 1], *names)
            else:
                base = _below(names, package)
            yield base
            yield from ((*base, alias.name) for alias in node.names)


def _below(module: list[str], package: str) -> tuple[str, ...]:
    """Drop the package from an absolute name; files may import neighbours with or without it."""
    return tuple(module[1:] if module[0] == package else module)
