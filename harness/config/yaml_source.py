"""YAML files as plain data that remembers the line of every key.

YAML 1.2 with plain values only: text, numbers, true/false, null, lists and mappings. Tags, merge
keys and repeated keys are refused; size, depth and the number of values (aliases expanded) are
limited, so a hostile file costs little.

``include: FILE`` (relative to the file it stands in) brings in a fragment. In a mapping the
fragment's keys are merged below the mapping's own, which win; mappings inside are merged in turn,
lists are replaced. As an item of a list it stands for the items of the list the fragment holds.
A fragment must lie in the folder of the file that was asked for, or below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, PrivateAttr, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from harness.config.base import Config, KeyPath, problems, show_path
from harness.config.storable import text_problem
from harness.encoding import decoded
from harness.errors import ConfigError, suggest

__all__ = [
    "Document",
    "Origin",
    "SourcedConfig",
    "load_yaml",
    "parse_value",
    "read_yaml",
    "validate",
]

MAX_BYTES = 256 * 1024
"""Largest file that is read; the shipped suites have a few kilobytes."""
MAX_DEPTH = 32
"""Deepest nesting of lists and mappings."""
MAX_VALUES = 20_000
"""Most values a document may hold once aliases and includes are expanded."""

T = TypeVar("T", bound=BaseModel)


class Origin(NamedTuple):
    """File and line of a value."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Document:
    """Plain data and the place of each of its values.

    Attributes:
        data: dicts, lists, text, numbers, booleans and None.
        origins: path of a value -> where its key (or list item) stands.
    """

    data: Any
    origins: Mapping[KeyPath, Origin]

    def origin(self, path: KeyPath) -> Origin:
        """Return where ``path`` was written, or the nearest thing around it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins[path]


class SourcedConfig(Config):
    """A configuration that knows the lines of its file."""

    _document: Document | None = PrivateAttr(default=None)

    def origin(self, path: KeyPath) -> str:
        """Return ``file:line: key`` of a value (``key`` for a configuration without a file)."""
        key = show_path(path)
        return key if self._document is None else f"{self._document.origin(path)}: {key}"


def load_yaml(path: Path, model: type[T]) -> T:
    """Read a YAML file into a configuration model.

    Raises:
        ConfigError: the file cannot be read, is not plain YAML, or does not fit the model; every
            misfit has a line ``file:line: key: what is wrong; did you mean 'x'?``.
    """
    return validate(read_yaml(path), model)


def validate(document: Document, model: type[T]) -> T:
    """Return the model that a document describes.

    Raises:
        ConfigError: it does not fit; see ``load_yaml``.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        lines = [
            f"{document.origin(p.path)}: {show_path(p.path) or 'document'}: {p.message}"
            for p in problems(error, model)
        ]
        raise ConfigError("\n".join(lines)) from None


def read_yaml(path: Path) -> Document:
    """Read a YAML file, its includes resolved.

    Raises:
        ConfigError: the file or a fragment cannot be read or is refused (file and line are named).
    """
    node = _Reader(path).file(path)
    data, origins = _plain(node)
    return Document(data, origins)


def parse_value(text: str, source: str) -> Any:
    """Return the plain value of a YAML text without includes (a value on the command line).

    Args:
        text: the YAML.
        source: what it is called in messages.

    Raises:
        ConfigError: it is not plain YAML.
    """
    return _plain(_Reader(None).text(text, source))[0]


@dataclass(frozen=True)
class _Node:
    """A value with its place; mappings and lists hold nodes."""

    value: Any
    origin: Origin


class _Reader:
    """Reads one document; counts the values of all its files together."""

    def __init__(self, root: Path | None) -> None:
        self.folder = None if root is None else root.parent.resolve()
        self.values = 0
        self.open: list[Path] = []

    def file(self, path: Path) -> _Node:
        resolved = path.resolve()
        if resolved in self.open:
            chain = " -> ".join(p.name for p in (*self.open, resolved))
            raise ConfigError(f"{path}: includes itself: {chain}")
        self.open.append(resolved)
        node = self._included(self.text(_text_of(path), str(path)))
        self.open.pop()
        return node

    def text(self, text: str, source: str) -> _Node:
        try:
            root = _composed(text)
        except MaxDepthExceededError as error:
            line = error.problem_mark.line + 1
            raise ConfigError(f"{source}:{line}: nested deeper than {MAX_DEPTH}") from None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            reason = ", ".join(text for text in (error.context, error.problem) if text)
            raise ConfigError(f"{source}:{line}: {reason}") from None
        except YAMLError as error:
            raise ConfigError(f"{source}: {str(error).splitlines()[0]}") from None
        if root is None:
            return _Node(None, Origin(source, 1))
        return self._convert(root, source)

    def _convert(self, node: Any, source: str, depth: int = 0) -> _Node:
        origin = Origin(source, node.start_mark.line + 1)
        self.values += 1
        if self.values > MAX_VALUES or depth > MAX_DEPTH:
            raise ConfigError(
                f"{origin}: too many values: more than {MAX_VALUES} once aliases are expanded, "
                f"or nested deeper than {MAX_DEPTH}"
            )
        if isinstance(node, ScalarNode):
            return _Node(_scalar(node, origin), origin)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise ConfigError(f"{origin}: tag {node.tag} is not allowed; write plain values")
        if isinstance(node, SequenceNode):
            return _Node([self._convert(n, source, depth + 1) for n in node.value], origin)
        assert isinstance(node, MappingNode)
        return _Node(dict(self._items(node, source, depth)), origin)

    def _items(self, node: Any, source: str, depth: int) -> Iterator[tuple[str, _Node]]:
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            origin = Origin(source, key_node.start_mark.line + 1)
            key = _scalar(key_node, origin) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                raise ConfigError(f"{origin}: a key must be text, got {key_node.value!r}")
            if key in lines:
                raise ConfigError(f"{origin}: {key}: repeats the key of line {lines[key]}")
            lines[key] = origin.line
            value = self._convert(value_node, source, depth + 1)
            yield key, _Node(value.value, origin)

    def _included(self, node: _Node) -> _Node:
        if isinstance(node.value, list):
            items: list[_Node] = []
            for item in node.value:
                included = self._included(item)
                spliced = isinstance(item.value, dict) and set(item.value) == {"include"}
                lists = spliced and isinstance(included.value, list)
                items.extend(included.value if lists else [included])
            return _Node(items, node.origin)
        if not isinstance(node.value, dict):
            return node
        values = {k: self._included(v) for k, v in node.value.items() if k != "include"}
        mapping = _Node(values, node.origin)
        if "include" not in node.value:
            return mapping
        return self._with_fragments(node.value["include"], mapping)

    def _with_fragments(self, include: _Node, mapping: _Node) -> _Node:
        names = include.value if isinstance(include.value, list) else [include]
        merged = _Node({}, mapping.origin)
        for name in names:
            fragment = self.file(self._fragment(name))
            if isinstance(fragment.value, list) and len(names) == 1 and not mapping.value:
                return fragment
            if not isinstance(fragment.value, dict):
                raise ConfigError(
                    f"{name.origin}: include: {name.value} does not hold a mapping; a list can "
                    "only be included as an item of a list"
                )
            merged = _merge(merged, fragment)
        return _merge(merged, mapping)

    def _fragment(self, name: _Node) -> Path:
        prefix = f"{name.origin}: include:"
        if self.folder is None or not isinstance(name.value, str):
            raise ConfigError(f"{prefix} must be the name of a file, got {_plain(name)[0]!r}")
        path = Path(name.origin.file).parent / name.value
        if not path.resolve().is_relative_to(self.folder):
            raise ConfigError(f"{prefix} {name.value} lies outside {self.folder}")
        if not path.is_file():
            near = suggest(path.name, [p.name for p in path.parent.glob("*.yaml")])
            raise ConfigError(f"{prefix} there is no file {path}{near}")
        return path


@lru_cache(maxsize=64)
def _composed(text: str) -> Any:
    """Compose a text into nodes, which are only read: one command reads a suite many times."""
    return _parser().compose(text)


def _parser() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    yaml.max_depth = MAX_DEPTH + 1  # it counts the values inside of lists and mappings too
    return yaml


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES // 1024} KiB")
    return decoded(raw, path, ConfigError)


def _scalar(node: Any, origin: Origin) -> Any:
    tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
    try:
        match tag:
            case "str":
                if problem := text_problem(node.value):
                    raise ConfigError(f"{origin}: {node.value!a}: {problem}")
                return str(node.value)
            case "null":
                return None
            case "bool":
                return node.value.lower() == "true"
            case "int":
                return int(node.value.replace("_", ""), 0)
            case "float":
                return float(_FLOATS.get(node.value.lower(), node.value.replace("_", "")))
    except ValueError:
        raise ConfigError(f"{origin}: {node.value!r} is not a number; quote it as text") from None
    hint = "use include" if tag == "merge" else "quote it as text"
    raise ConfigError(f"{origin}: {node.value!r} ({tag}) is not a plain value; {hint}")


_FLOATS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}


def _merge(below: _Node, above: _Node) -> _Node:
    """Merge mappings; what is above wins."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        merged[key] = _merge(merged[key], node) if key in merged else node
    return _Node(merged, above.origin)


def _plain(node: _Node) -> tuple[Any, dict[KeyPath, Origin]]:
    origins: dict[KeyPath, Origin] = {}

    def walk(node: _Node, path: KeyPath) -> Any:
        origins[path] = node.origin
        if isinstance(node.value, dict):
            return {k: walk(v, (*path, k)) for k, v in node.value.items()}
        if isinstance(node.value, list):
            return [walk(v, (*path, i)) for i, v in enumerate(node.value)]
        return node.value

    return walk(node, ()), origins
