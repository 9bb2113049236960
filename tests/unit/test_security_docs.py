"""docs/security.md names tests that exist, and is found from the index."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_what_is_not_trusted_is_tested() -> None:
    rows = [
        line
        for line in (REPOSITORY / "docs" / "security.md").read_text().splitlines()
        if line.startswith("| ") and "---" not in line and "tested by" not in line
    ]
    assert len(rows) >= 7
    for row in rows:
        names = re.findall(r"`(tests/\S+\.py)`", row)
        assert names, row
        for name in names:
            assert (REPOSITORY / name).is_file(), name


def test_the_index_of_the_documentation_links_it() -> None:
    assert "[security.md](security.md)" in (REPOSITORY / "docs" / "README.md").read_text()
