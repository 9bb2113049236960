"""The table of docs/reliability.md: every fault was tried often enough, and survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.families import (
    FAMILIES,
    PAGE,
    Cases,
    Count,
    is_whole,
    read_table,
    write_table,
)


def test_every_fault_was_tried_and_survived() -> None:
    counts = read_table(PAGE.read_text(encoding="utf-8"))
    assert list(counts) == [*(family.title for family in FAMILIES.values()), "all"]
    for family in FAMILIES.values():
        assert counts[family.title].tried >= family.least, family.title
        assert counts[family.title].survived == counts[family.title].tried, family.title
    total = counts.pop("all")
    assert total.tried == total.survived == sum(count.tried for count in counts.values())


def test_a_written_table_is_read_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    counts = {name: Count(7, 6) for name in FAMILIES}
    write_table(counts, page)
    write_table(counts, page)
    total = Count(7 * len(FAMILIES), 6 * len(FAMILIES))
    titles = {FAMILIES[name].title: count for name, count in counts.items()}
    assert read_table(page.read_text(encoding="utf-8")) == {**titles, "all": total}
    assert page.read_text().split("<!--")[0] == PAGE.read_text().split("<!--")[0]


def test_a_part_of_the_campaign_is_no_whole_one() -> None:
    counts = {name: Count(family.least, 0) for name, family in FAMILIES.items()}
    assert is_whole(counts)
    counts["suites"].tried -= 1
    assert not is_whole(counts)


@pytest.mark.parametrize(("problems", "survived"), [([], 3), (["lost"], 2), (["lost", "left"], 2)])
def test_a_case_with_problems_has_not_survived(problems: list[str], survived: int) -> None:
    cases = Cases("suites")
    cases.add("seed 1", [], tried=2)
    cases.add("seed 2", problems)
    assert (cases.tried, cases.survived) == (3, survived)
