"""Mutations of texts, bytes, JSON and databases, each drawn from a seeded generator."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SCALARS = (
    *("", "null", "~", "true", "no", "0", "-1", "1.5", "1e400", "-0.0", ".nan", ".inf", "0x10"),
    *("1_000", "99999999999999999999", "9223372036854775808", "2001-01-01", "12:30:45", "'2'"),
    *("[]", "{}", "[1, 2]", "[[[]]]", "{a: b}", "{a: {a: {a: 1}}}", "[*x]", "&x [*x]", "*none"),
    *(
        "../../x",
        "/etc/passwd",
        "a/b",
        "~/x",
        "$HOME",
        "${x}",
        "{0}",
        "%s",
        "`id`",
        "; ls",
        "--help",
    ),
    *("!!python/object/apply:os.getcwd []", "!!binary aGk=", "!x y", "? x", "- -", "|", ">-", "@a"),
    *(
        '"\\0"',
        '"\\ud800"',
        '"\\u202e"',
        '"\\x1b[31m"',
        "é",
        "\u200b",
        "\u00a0",
        "\ufeff",
        "x" * 5000,
    ),
    *(
        "films",
        "transe",
        "small",
        "atlas",
        "synthetic:entities=40",
        "films@clean",
        "films@",
        "@",
        ":",
    ),
)
"""Values that stand where another one was."""
NOISE = (
    "\t",
    " ",
    "\n",
    "\r",
    "\x00",
    "\x0b",
    "\x85",
    "\u2028",
    "\ufeff",
    ":",
    "-",
    "#",
    "'",
    '"',
    ",",
)
TOKEN = re.compile(r"[^\s,:\[\]{}]+")


def text(content: str, draw: random.Random) -> str:
    """Change a text by one to three steps, each on a line, a word or a character."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(_TEXT)(content, draw)
    return content


def _change_word(content: str, draw: random.Random) -> str:
    words = list(TOKEN.finditer(content))
    if not words:
        return content + draw.choice(SCALARS)
    word = draw.choice(words)
    return content[: word.start()] + draw.choice(SCALARS) + content[word.end() :]


def _misspell(content: str, draw: random.Random) -> str:
    words = list(TOKEN.finditer(content))
    if not words:
        return content
    word = draw.choice(words)
    letters = list(word[0])
    place = draw.randrange(len(letters))
    letters[place : place + draw.choice((0, 1))] = draw.choice(("", "e", "Z", "_", ".", "9"))
    return content[: word.start()] + "".join(letters) + content[word.end() :]


def _exchange_words(content: str, draw: random.Random) -> str:
    words = list(TOKEN.finditer(content))
    if len(words) < 2:
        return content
    a, b = sorted(draw.sample(words, 2), key=lambda word: word.start())
    between = content[a.end() : b.start()]
    return content[: a.start()] + b[0] + between + a[0] + content[b.end() :]


def _change_lines(content: str, draw: random.Random) -> str:
    lines = content.split("\n")
    a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
    match draw.randrange(5):
        case 0:
            del lines[a]
        case 1:
            lines.insert(b, lines[a])
        case 2:
            lines[a], lines[b] = lines[b], lines[a]
        case 3:
            lines[a] = " " * draw.choice((1, 2, 3)) + lines[a]
        case _:
            lines[a] = lines[a].lstrip()
    return "\n".join(lines)


def _insert(content: str, draw: random.Random) -> str:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice(NOISE) + content[place:]


def _cut(content: str, draw: random.Random) -> str:
    return content[: draw.randrange(len(content) + 1)]


_TEXT = (_change_word, _change_word, _misspell, _exchange_words, _change_lines, _insert, _cut)


def binary(content: bytes, draw: random.Random) -> bytes:
    """Change bytes by one to four steps; half of them lie in the first 256."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        end = draw.choice((min(256, len(changed)), len(changed)))
        at, size = draw.randrange(end + 1), draw.choice((1, 2, 8, 64))
        match draw.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + 1] = bytes([draw.randrange(256)])
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = draw.randbytes(size)
            case 4:
                changed[at : at + size] = bytes(len(changed[at : at + size]))
            case 5:
                changed[at : at + size] = b"\xff" * len(changed[at : at + size])
            case _:
                del changed[draw.randrange(len(changed) + 1) :]
    return bytes(changed)


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**63, 2**70, -(2**70), 1e308, float("nan"), float("inf")),
    *("", "x", "\x00", "\ud800", "\x1b[31m", "../../x", "/etc/passwd", "x" * 100_000, "1", "nan"),
    *([], {}, [[]], [None], {"": 0}, [1, "a"], {"a": {"b": []}}, "2001-01-01", "ok", "failed"),
)
"""JSON values, and some that JSON does not have."""


def value(content: Any, draw: random.Random) -> Any:
    """Return a copy of decoded JSON with one to three changes, each at a random depth."""
    content = json.loads(json.dumps(content))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = _changed(content, draw)
    return content


def _changed(content: Any, draw: random.Random) -> Any:
    inside = list(content) if isinstance(content, dict) else []
    inside = list(range(len(content))) if isinstance(content, list) else inside
    if not inside or draw.random() < 0.12:
        return _replaced(content, draw)
    key = draw.choice(inside)
    match draw.randrange(12):
        case 0:
            del content[key]
        case 1 if isinstance(content, dict):
            content[draw.choice(("", "x", "\ud800", str(key) + "s", "__class__"))] = content.pop(
                key
            )
        case 1:
            content.insert(0, content[key])
        case _:
            content[key] = _changed(content[key], draw)
    return content


def _replaced(content: Any, draw: random.Random) -> Any:
    if isinstance(content, int | float) and draw.random() < 0.4:
        return draw.choice((content + 1, -content, content * 1000, content / 3, str(content)))
    if isinstance(content, str) and draw.random() < 0.3:
        return content + draw.choice(("x", " ", "\n", "\u202e"))
    return draw.choice(VALUES)


def database(path: Path, draw: random.Random) -> None:
    """Change the bytes of a SQLite file, a value in one of its tables, or its schema."""
    if draw.random() < 0.45:
        path.write_bytes(binary_of_pages(path.read_bytes(), draw))
        return
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in tables if not name.startswith("sqlite_")]
        filled = [n for n in names if connection.execute(f'SELECT 1 FROM "{n}"').fetchone()]
        table = draw.choice(filled or names)
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        column = draw.choice(columns)
        connection.execute("PRAGMA ignore_check_constraints = 1")
        statement = draw.choice((*[f'UPDATE "{table}" SET "{column}" = ?'] * 6, "DROP", "COLUMN"))
        if statement == "DROP":
            connection.execute(f'DROP TABLE "{table}"')
        elif statement == "COLUMN":
            connection.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "other"')
        else:
            try:
                connection.execute(statement, (draw.choice(CELLS),))
            except sqlite3.IntegrityError:
                connection.execute(f'DELETE FROM "{table}"')
        connection.commit()


CELLS = (
    *(None, 0, -1, 2**62, 1.5, float("inf"), "", "x", "../../x", "\x00", "\x1b[31m", "x" * 100_000),
    *(b"\xff\xfe", b"", "{}", "[]", "{", "NaN", "ok", "9999", '{"a": 1e999}', "[" * 2000),
)
"""Values that a column of SQLite can hold, whatever its type."""


def binary_of_pages(content: bytes, draw: random.Random) -> bytes:
    """Change bytes of a file of pages: anywhere, in the first page, or a whole page."""
    match draw.randrange(4):
        case 0:
            return binary(content, draw)
        case 1:
            return binary(content[:4096], draw)[:4096].ljust(4096, b"\x00") + content[4096:]
        case 2:
            page = 4096 * draw.randrange(max(1, len(content) // 4096))
            return content[:page] + draw.randbytes(4096) + content[page + 4096 :]
        case _:
            changed = bytearray(content)
            for _ in range(20):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            return bytes(changed)
