"""Links of the repository's Markdown files, as the site has them.

Pages are read on a code host as well, so their links are paths within the repository. Here a link
to a file that is a page of the site leads to that page, and one to another file becomes its name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "readme",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "reports/README.md": "reports",
    "results/README.md": "results",
    "docs/README.md": "index",
}
"""Files outside ``docs/`` that are pages, and the index of ``docs/`` on a code host."""

_INCLUDE = re.compile(r"```\{include\} (\S+)\n```\n")
_LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:)([^)#\s]*)(#[^)\s]*)?\)")


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Bring in the file that a page stands for, and turn its links into the site's."""
    file = Path(app.srcdir, f"{page}.md")
    if not file.exists():  # a notebook, whose links are relative to its own folder
        return
    if match := _INCLUDE.fullmatch(source[0]):
        file = (file.parent / match[1]).resolve()
        app.env.note_dependency(file)
        source[0] = file.read_text(encoding="utf-8")
    source[0] = _LINK.sub(lambda link: _link(file, *link.groups()), source[0])


def _link(file: Path, text: str, path: str, anchor: str | None) -> str:
    """Return a link of a file as the site has it."""
    if not path:
        return f"[{text}]({anchor})"
    target = (file.parent / path).resolve()
    name = target.relative_to(REPOSITORY).as_posix()
    if name.startswith("docs/") and name not in PAGES:
        return f"[{text}]({name.removeprefix('docs/')}{anchor or ''})"
    if name in PAGES:
        return f"[{text}]({PAGES[name]}.md{anchor or ''})"
    if not target.exists():
        raise FileNotFoundError(f"{file}: {path} does not exist")
    return text if "`" in text or text == name else f"{text} (`{name}`)"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the reader."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
