"""YAML in: plain values with their lines; everything else is refused, with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from ruamel.yaml import YAML

from harness.config import yaml_source
from harness.config.base import Config
from harness.config.yaml_source import load_yaml, read_yaml
from harness.errors import ConfigError


class Inner(Config):
    rate: float = 0.1
    kind: Literal["adam", "sgd"] = "adam"


class Outer(Config):
    name: str
    dropout: float = 0.0
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = ()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(path: Path, text: str, model: type[Config] = Outer) -> str:
    write(path, text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, model)
    return str(caught.value)


def test_values_are_plain_and_know_their_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "rate: 1e-4\nlist:\n  - yes\n  - {deep: 0x10, none: ~}\n")
    document = read_yaml(file)
    assert document.data == {"rate": 1e-4, "list": ["yes", {"deep": 16, "none": None}]}
    assert str(document.origin(("list", 1, "deep"))) == f"{file}:4"
    assert document.origin(("list", 1, "no such key")).line == 4


def test_equal_texts_are_parsed_once_and_a_changed_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[YAML] = []
    parser = yaml_source._parser

    def counted() -> YAML:
        made.append(parser())
        return made[-1]

    monkeypatch.setattr(yaml_source, "_parser", counted)
    first, second = (write(tmp_path / name, "deep: [once, and, no, more]\n") for name in "ab")
    assert read_yaml(first).data == read_yaml(second).data
    assert (len(made), str(read_yaml(second).origin(()))) == (1, f"{second}:1")
    write(first, "deep: [twice]\n")
    assert read_yaml(first).data == {"deep": ["twice"]}
    assert len(made) == 2


def test_an_unknown_key_gets_the_nearest_valid_one(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    message = refusal(file, "name: x\ndropuot: 1\n")
    assert message == f"{file}:2: dropuot: unknown key; did you mean 'dropout'?"


def test_a_key_of_another_group_is_found(tmp_path: Path) -> None:
    message = refusal(tmp_path / "a.yaml", "name: x\nrate: 1\n")
    assert "did you mean 'inner.rate'?" in message


def test_every_misfit_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    lines = refusal(file, "inner:\n  kind: adm\nparts:\n  - {rate: fast}\n").splitlines()
    assert lines == [
        f"{file}:1: name: is missing",
        f"{file}:2: inner.kind: 'adm' is not a choice; did you mean 'adam'?",
        f"{file}:4: parts[0].rate: input should be a valid number, unable to parse string as a "
        "number, got 'fast'",
    ]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: x\nname: y\n", 2, "repeats the key of line 1"),
        ("name: !!python/object/apply:os.system [ls]\n", 1, "not allowed"),
        ("name: !secret x\n", 1, "not a plain value"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", 3, "use include"),
        ("name: x\nday: 2024-01-01\n", 2, "quote it"),
        ("1: x\n", 1, "must be text"),
        ("name: [x\n", 2, "expected"),
        ("a: 1\n---\nb: 2\n", 2, "single document"),
        ("a: " + "[" * 500 + "]" * 500, 1, "nested deeper"),
        (f"a: {'9' * 5000}", 1, "not a number"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str, line: int, said: str) -> None:
    file = tmp_path / "a.yaml"
    message = refusal(file, text)
    assert message.startswith(f"{file}:{line}: ")
    assert said in message


def test_an_alias_bomb_costs_little(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "too many values" in refusal(tmp_path / "bomb.yaml", "\n".join(levels))


def test_a_value_that_contains_itself_is_refused(tmp_path: Path) -> None:
    assert "too many values" in refusal(tmp_path / "a.yaml", "a: &a [*a]\n")


def test_large_and_binary_and_absent_files_are_refused(tmp_path: Path) -> None:
    assert "larger than" in refusal(tmp_path / "a.yaml", "# " + "x" * 300_000)
    file = tmp_path / "b.yaml"
    file.write_bytes(b"name: x\n\xff\n")
    with pytest.raises(ConfigError, match=r"b\.yaml:2: not UTF-8"):
        read_yaml(file)
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_a_fragment_lies_below_the_keys_that_include_it(tmp_path: Path) -> None:
    write(tmp_path / "shared/f.yaml", "name: fragment\ninner:\n  rate: 2\n  kind: sgd\n")
    file = write(tmp_path / "a.yaml", "include: shared/f.yaml\ninner: {rate: 3}\n")
    outer = load_yaml(file, Outer)
    assert outer == Outer(name="fragment", inner=Inner(rate=3, kind="sgd"))
    origin = read_yaml(file).origin(("inner", "kind"))
    assert Path(origin.file).name == "f.yaml"
    assert origin.line == 4


def test_a_list_takes_in_the_items_of_a_fragment(tmp_path: Path) -> None:
    write(tmp_path / "f.yaml", "- {rate: 1}\n- {rate: 2}\n")
    file = write(tmp_path / "a.yaml", "name: x\nparts:\n  - include: f.yaml\n  - {rate: 3}\n")
    assert [part.rate for part in load_yaml(file, Outer).parts] == [1, 2, 3]


def test_an_error_in_a_fragment_names_the_fragment(tmp_path: Path) -> None:
    fragment = write(tmp_path / "f.yaml", "- {rate: 1}\n- {rte: 2}\n")
    message = refusal(tmp_path / "a.yaml", "name: x\nparts:\n  - include: f.yaml\n")
    assert message == f"{fragment}:2: parts[1].rte: unknown key; did you mean 'rate'?"


def test_includes_do_not_go_round_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", "include: a.yaml\n")
    assert "a.yaml -> b.yaml -> a.yaml" in refusal(tmp_path / "a.yaml", "include: b.yaml\n")


@pytest.mark.parametrize("name", ["../secret.yaml", "/etc/passwd"])
def test_includes_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / "secret.yaml", "name: x\n")
    message = refusal(tmp_path / "suites/a.yaml", f"include: {name}\n")
    assert "a.yaml:1: include: " in message
    assert "lies outside" in message


def test_a_missing_fragment_gets_the_nearest_file(tmp_path: Path) -> None:
    write(tmp_path / "margins.yaml", "name: x\n")
    message = refusal(tmp_path / "a.yaml", "include: margin.yaml\n")
    assert "did you mean 'margins.yaml'?" in message


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: a\n")
    assert read_yaml(tmp_path / "a.yaml").data == {"name": "a"}
