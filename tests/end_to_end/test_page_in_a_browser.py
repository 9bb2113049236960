"""The page of ``harness report --html`` in a real browser: widths, colours, sorting, folds.

HARNESS_SCREENSHOTS=DIR keeps what was seen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from harness.analysis.query import Results
from harness.report.page import page as make_page
from harness.store.archive import import_records
from harness.store.memory import MemoryStore
from harness.store.records import Cell

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

RECORDS = Path(__file__).resolve().parents[2] / "results" / "records"
WIDTHS = {"desktop": (1280, 900), "phone": (360, 780)}
MAIN = (
    "[aria-label$=': MKG-W'] table.sortable:has(tr.group)"
    ":has(thead tr:last-child th:has-text('own'))"
)
QUICKSTART = "[id^='table-'][id$='-quickstart'] table.sortable >> nth=0"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the committed records, a failed run and a suite of many rows among them."""
    folder = tmp_path_factory.mktemp("page")
    store = MemoryStore()
    import_records(store, RECORDS, runs=folder / "runs")
    found = store.find(model="rotate", dataset="atlas")
    some = next(run for run in found if run.status == "ok")
    error = "NonFiniteError: the loss is nan\nTraceback: ..."
    failed = some.model_copy(
        update={"run_id": "failed0", "status": "failed", "error": error, "metrics": ()}
    )
    store.add(failed)
    long = [
        Cell(
            suite="long",
            position=position,
            label=f"a row with quite a long label, number {position}",
            dataset="atlas",
            features=some.features,
            seed=seed,
            run_id=run_id,
        )
        for position in range(60)
        for seed, run_id in ((0, some.run_id), (1, "failed0"))
    ]
    store.plan("long", "", long)
    made = make_page(Results(store), runs=folder / "runs", created=datetime(2026, 1, 2, tzinfo=UTC))
    assert made is not None
    (folder / "report.html").write_text(made.html, encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("HARNESS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium on the path (set HARNESS_CHROMIUM)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Seen:
    """A page that is open, and what the browser complained of or asked for."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def column(self, table: Any, number: int) -> list[str]:
        """Return the texts of a column's cells, groups left out."""
        cells = table.locator(f"tbody tr:not(.group) > :nth-child({number})")
        return [text.strip() for text in cells.all_inner_texts()]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def keep(self, name: str) -> None:
        """Keep what is seen, where the user wants to look at it."""
        if folder := os.environ.get("HARNESS_SCREENSHOTS"):
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture
def desktop(chromium: Any, address: str) -> Iterator[Seen]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    seen = Seen(context, address)
    seen.page.evaluate("document.querySelectorAll('.fold').forEach((fold) => (fold.open = true))")
    yield seen
    assert seen.complaints == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", list(WIDTHS))
def test_it_fits_the_window_and_loads_nothing(
    chromium: Any, address: str, name: str, scheme: Literal["light", "dark"]
) -> None:
    width, height = WIDTHS[name]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500
    )
    seen = Seen(context, address)
    assert seen.overflow() == 0
    seen.keep(f"{name}-{scheme}-top")
    seen.page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert seen.overflow() == 0
    for place in ("runs", "failures", "data", "about"):
        seen.page.evaluate(f"document.getElementById('{place}').scrollIntoView()")
        seen.keep(f"{name}-{scheme}-{place}")
    background = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(background.split("(")[1].split(",")[0])
    assert red > 200 if scheme == "light" else red < 60
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_columns_sort_down_up_and_back(desktop: Seen) -> None:
    table = desktop.page.locator(QUICKSTART)
    before = desktop.column(table, 2)
    numbers = [float(text.split()[0]) for text in before]
    head = table.locator("thead tr:last-child th").nth(1)
    button = head.get_by_role("button")
    assert head.get_attribute("aria-sort") is None
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    found = [float(text.split()[0]) for text in desktop.column(table, 2)]
    assert found == sorted(numbers, reverse=True)
    button.press("Enter")  # without a mouse
    assert head.get_attribute("aria-sort") == "ascending"
    found = [float(text.split()[0]) for text in desktop.column(table, 2)]
    assert found == sorted(numbers)
    button.press("Space")
    assert head.get_attribute("aria-sort") is None
    assert desktop.column(table, 2) == before


def test_sorting_by_another_column_forgets_the_first(desktop: Seen) -> None:
    table = desktop.page.locator(QUICKSTART)
    buttons = table.locator("thead tr:last-child").get_by_role("button")
    buttons.nth(1).click()
    buttons.nth(0).click()
    assert table.locator("th[aria-sort]").count() == 1
    names = desktop.column(table, 1)
    assert len(names) > 3
    assert names == sorted(names, key=str.lower)


def test_missing_numbers_stay_last_and_groups_come_back(desktop: Seen) -> None:
    table = desktop.page.locator(MAIN).first
    before = table.inner_text()
    position = table.locator("thead tr:last-child th").all_inner_texts().index("own")
    button = table.locator("thead tr:last-child").get_by_role("button").nth(position)
    for _ in ("descending", "ascending"):
        button.click()
        missing = [text.startswith("\N{EN DASH}") for text in desktop.column(table, position + 1)]
        assert missing == sorted(missing)
        assert True in missing
        assert False in missing
        assert not table.locator("tr.group").first.is_visible()
    button.click()
    assert table.locator("tr.group").first.is_visible()
    assert table.inner_text() == before


def test_a_number_opens_its_runs(desktop: Seen) -> None:
    link = desktop.page.locator(QUICKSTART).locator("td.measured a").last
    number = link.inner_text().split()[0]
    name = link.get_attribute("href").removeprefix("#")
    runs = desktop.page.locator(f"[id='{name}']")
    assert runs.get_attribute("open") is None
    link.click()
    assert runs.get_attribute("open") is not None
    assert 0 <= runs.locator("> summary").bounding_box()["y"] < 900
    assert number
    assert runs.locator("svg").count() == 3  # validation, loss, ranks
    desktop.keep("desktop-light-number")
    desktop.page.go_back()
    assert link.bounding_box()["y"] > 0


def test_the_contents_open_a_folded_table(chromium: Any, address: str) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    seen = Seen(context, address)
    assert seen.page.evaluate("document.documentElement.scrollHeight") < 15_000
    table = seen.page.locator(QUICKSTART)
    assert not table.is_visible()
    seen.page.locator("nav a[href$='-quickstart']").first.click()
    assert table.is_visible()
    assert seen.complaints == []
    context.close()


def test_a_footnote_opens_the_failure(desktop: Seen) -> None:
    failure = desktop.page.locator("[id='failed-failed0']")
    assert not failure.locator("pre").first.is_visible()
    desktop.page.locator(".notes a[href='#failed-failed0']").first.click()
    assert failure.locator("pre").first.is_visible()


def test_the_list_of_runs_can_be_searched(desktop: Seen) -> None:
    groups = desktop.page.locator("#runs .list > details, #runs tr[id]")  # further ones in rows
    desktop.page.get_by_role("searchbox").fill("mkg-w rotate")
    shown = [group for group in groups.all() if group.is_visible()]
    assert 0 < len(shown) < groups.count()
    assert all("mkg-w" in group.inner_text().lower() for group in shown)
    assert desktop.page.get_by_role("status").inner_text() == f"{len(shown)} of {groups.count()}"


def test_colours_can_be_chosen_and_are_kept(desktop: Seen) -> None:
    button = desktop.page.get_by_role("button", name="Colours: system")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = desktop.page.evaluate(colour)
    button.click()
    assert desktop.page.evaluate(colour) == light
    desktop.page.get_by_role("button", name="Colours: light").click()
    dark = desktop.page.evaluate(colour)
    assert dark != light
    desktop.page.reload()
    assert desktop.page.evaluate(colour) == dark


def test_without_javascript_all_is_there(chromium: Any, address: str) -> None:
    context = chromium.new_context(
        viewport={"width": 360, "height": 780}, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(address)
    assert page.locator("button").count() == 0
    assert not page.get_by_role("searchbox").is_visible()
    table = page.locator(QUICKSTART)
    assert not table.is_visible()
    page.locator("[id^='table-'][id$='-quickstart'] > details > summary").click()
    assert table.is_visible()
    link = table.locator("td.measured a").first
    name = link.get_attribute("href").removeprefix("#")
    summary = page.locator(f"[id='{name}'] > summary")
    summary.click()
    assert page.locator(f"[id='{name}'] .body").is_visible()
    context.close()


def test_long_tables_scroll_inside_themselves(desktop: Seen) -> None:
    box = desktop.page.locator(".tall:has-text('number 59')").first
    assert box.bounding_box()["height"] <= 0.86 * 900
    assert box.get_attribute("tabindex") == "0"  # the keyboard scrolls it
    head = box.locator("thead")
    top = head.bounding_box()["y"]
    box.evaluate("box => box.scrollTop = 400")
    assert head.bounding_box()["y"] == pytest.approx(top, abs=1)


def test_it_prints_without_what_only_a_screen_needs(desktop: Seen) -> None:
    desktop.page.emulate_media(media="print")
    assert not desktop.page.locator("nav").is_visible()
    assert not desktop.page.locator(".theme").is_visible()
    assert desktop.page.locator(QUICKSTART).is_visible()
