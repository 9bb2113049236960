"""The page of ``harness report --html``: what is on it, where its links lead, what it loads."""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.hypotheses import PairedTests
from harness.analysis.query import ALL, Results, Selection
from harness.data.load import load_graph
from harness.evaluation.ranks import Ranks, SideCounts
from harness.plan.spec import DataSpec, ModelSpec, OptimiserSpec, RunSpec
from harness.report.page import build, page
from harness.report.repeat import repeat_commands
from harness.report.templates import typeset
from harness.store import open_store
from harness.store.benchmarks import BenchmarkRecord, BenchmarkSample
from harness.store.memory import MemoryStore
from harness.store.records import Cell, RunRecord, StoredSuite

Fill = Callable[..., Any]

MEASURED = {
    "name": "complexity",
    "measures": "complexity",
    "base": {"d": 4, "K": 2, "M": 3, "N": 32},
    "vary": {"d": [2, 4, 8], "K": [1, 2, 4], "M": [2, 3, 4], "N": [16, 32, 64]},
    "fusions": ["complementarity"],
}
MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
NUMBER = r'<td class="measured"[^>]*><a href="#([^"]+)">(?:<[bu]>)?([^<]+)'
VOID = {"meta", "link", "img", "input", "br"}
APART = {"td", "th", "dt", "dd", "p", "pre", "summary", "span"}
"""Elements whose text does not run into what follows."""


class Document(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        self.tags.append((tag, own))
        if tag not in VOID:
            self._open.append((tag, own.get("id", "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in APART:
            self.handle_data(" ")
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts.setdefault(name, []).append(data)

    def text(self, name: str) -> str:
        """The text of an element, by id, in single spaces."""
        return " ".join("".join(self.texts[name]).split())

    @property
    def ids(self) -> list[str]:
        return [own["id"] for _, own in self.tags if "id" in own]

    @property
    def links(self) -> list[str]:
        return [own["href"] for tag, own in self.tags if tag == "a"]


@pytest.fixture
def show(store: MemoryStore, tmp_path: Path) -> Callable[..., Document]:
    def shown(
        *tables: str,
        selection: Selection = ALL,
        tests: PairedTests | None = None,
        **options: Any,
    ) -> Document:
        results = Results(store, selection, tests)
        made = page(results, tables, runs=tmp_path / "runs", created=MADE, **options)
        assert made is not None
        return Document(made.html)

    return shown


def changed(store: MemoryStore, run_id: str, **values: Any) -> None:
    """Put a record in the place of the one with the same id."""
    record = store.get(run_id)
    assert record is not None
    store.remove(run_id)
    store.add(RunRecord.model_validate({**record.model_dump(), **values}))


def test_every_number_leads_to_its_runs(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1, 0.3]).row("MoCME", [0.5, "broken"]).row("None", [None])
    document = show()
    numbers = re.findall(NUMBER, document.html)
    assert [number.strip() for _, number in numbers] == [
        *("20.00", "16.00", "30.00"),
        *("50.00", "40.00", "75.00"),
    ]
    runs = document.text(numbers[0][0])
    placed = {cell.run_id: (cell,) for cell in store.cells()}
    assert "toy000" in runs
    assert "toy001" in runs
    assert "10.00" in runs
    assert "30.00" in runs
    for record in store.find(ids=["toy000", "toy001"]):
        for command in repeat_commands(record.model_copy(update={"cells": placed[record.run_id]})):
            assert " ".join(command.split()) in runs
    assert "toy002" in document.text(numbers[3][0])
    assert "RotatE" not in document.text(numbers[3][0])


def test_links_lead_somewhere_and_ids_are_unique(fill: Fill, show: Callable[..., Document]) -> None:
    fill().row("RotatE", [0.1, 0.3]).row("MoCME", [0.5, "broken: at once"])
    fill("other").row("RotatE", [0.2])
    document = show()
    assert [name for name, count in Counter(document.ids).items() if count > 1] == []
    assert len(document.links) > 20
    assert {link for link in document.links if link.removeprefix("#") not in document.ids} == set()


def test_runs_that_stand_in_several_tables_are_described_once(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1, 0.3])
    shared = [
        Cell(
            suite="two", position=0, label="as before", dataset="atlas", seed=i, run_id=f"toy00{i}"
        )
        for i in range(2)
    ]
    store.plan("two", "", shared)
    fewer = [cell.model_copy(update={"suite": "one", "label": "half"}) for cell in shared[:1]]
    store.plan("one", "", fewer)
    document = show()
    groups = [name for name in document.ids if name.startswith("runs-")]
    assert groups == ["runs-toy000", "runs-toy000.2"]  # the first seed; both
    assert "Suite toy: RotatE; Suite two: as before" in document.text("runs-toy000.2")


def test_nothing_is_loaded(fill: Fill, show: Callable[..., Document]) -> None:
    fill().row("RotatE", [0.1, 0.3], notes=("see https://example.org/",))
    document = show()
    for tag, own in document.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert own.get(name, "#").startswith(("#", "data:")), (tag, own)
    assert "@import" not in document.html
    assert "url(" not in document.html
    (policy,) = [
        own["content"] for tag, own in document.tags if "Policy" in own.get("http-equiv", "")
    ]
    assert policy.startswith("default-src 'none';")
    (script,) = re.findall(r"<script>(.*?)</script>", document.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_all_content_is_text(store: MemoryStore, fill: Fill, show: Callable[..., Document]) -> None:
    fill().row(EVIL, [0.1, 0.3], notes=(EVIL,)).row(f"x {EVIL}", [EVIL, EVIL])
    changed(
        store,
        "toy000",
        provenance={EVIL: EVIL, "device": EVIL, "commit": EVIL},
        diagnostics={EVIL: 1.0},
        spec=RunSpec(
            model=ModelSpec.model_validate({"name": "rotate", EVIL: [EVIL]}),
            data=DataSpec(dataset="atlas"),
        ),
    )
    document = show()
    assert document.html.count("<script") == 1
    assert "<img" not in document.html
    assert document.html.count("&lt;script&gt;alert") > 20
    assert not [own for _, own in document.tags if any(name.startswith("on") for name in own)]


def test_failures_are_told_with_their_traceback(fill: Fill, show: Callable[..., Document]) -> None:
    fill().row("MoCME", [0.5, "loss is NaN\nTraceback: line 1"])
    document = show()
    assert "Traceback: line 1" in document.text("failed-toy001")
    assert "toy: MoCME" in document.text("failed-toy001")
    assert '<a href="#failed-toy001">toy001</a> failed: loss is NaN' in document.html  # a footnote
    assert "No run failed" in show("fusion").text("failures")  # none of its suite did


def test_seeds_differ_in_the_order_of_the_table_and_means_are_over_them(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1, 0.3])
    changed(
        store,
        "toy001",
        history=tuple({"epoch": float(e), "loss": 1.0 / e} for e in range(1, 501)),
        timings=({"name": "train.epoch", "value": 3.5}, {"name": "train.epoch", "value": 4.0}),
    )
    text = show().text("runs-toy000")
    assert "seed run MRR Hit@1 Hit@10 epochs train, s 0 toy000 10.00 8.00 15.00" in text
    assert "1 toy001 30.00 24.00 45.00 500 7.5" in text
    assert "test both all 20.00 ± 14.14" in text


def test_long_curves_are_thinned(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1])
    changed(
        store,
        "toy000",
        history=tuple({"epoch": float(e), "loss": 1.0 / e} for e in range(1, 50_001)),
    )
    (points,) = re.findall(r'<polyline points="([^"]+)"', show().html)
    assert len(points.split()) <= 80


def test_settings_that_differ_from_the_defaults_stand_apart(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1])
    spec = RunSpec(
        model=ModelSpec(name="mocme"),
        data=DataSpec(dataset="atlas"),
        optimiser=OptimiserSpec(lr=0.25),
    )
    changed(store, "toy000", spec=spec)
    text = show().text("runs-toy000")
    differing = text.partition("Settings that differ from the defaults")[2].partition("All ")[0]
    assert "optimiser.lr 0.25" in differing
    assert "optimiser.clip" not in differing
    assert "optimiser.clip 0" in text


def test_an_environment_that_differs_is_told_by_seed(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1, 0.2])
    for seed, finished in enumerate(("10:00", "11:00")):
        changed(store, f"toy00{seed}", provenance={"device": "cpu", "finished": finished})
    assert "all runs device cpu finished 10:00 to 11:00" in show().text("runs-toy000")
    changed(store, "toy001", provenance={"device": "cuda", "finished": "11:00"})
    assert "seed 0 seed 1 device cpu cuda" in show().text("runs-toy000")


def test_ranks_in_a_few_numbers(fill: Fill, show: Callable[..., Document], tmp_path: Path) -> None:
    fill().row("RotatE", [0.1, 0.2])
    (tmp_path / "runs" / "toy000").mkdir(parents=True)
    better = np.array([0, 1, 4, 49], np.int32)
    head = SideCounts(better, np.zeros(4, np.int32), np.full(4, 90, np.int32))
    # Of ranks that are tied, the mean counts: the first is 1.5 and not in the top 1.
    tail = SideCounts(np.zeros(4, np.int32), np.array([1, 0, 0, 0], np.int32), head.candidates)
    ranks = Ranks(np.zeros((4, 3), np.int64), {"head": head, "tail": tail})
    ranks.save(tmp_path / "runs" / "toy000" / "ranks.npz")
    text = show().text("runs-toy000")
    assert "8 test queries" in text
    assert "both 50.00 % 75.00 % 87.50 % 100.00 % 1.25" in text
    assert "head 25.00 % 50.00 % 75.00 % 100.00 % 3.5" in text
    assert "heads, rank over 30, up to 100: 25.0 %" in text
    assert "run toy001 has no ranks here" in text


def test_damaged_ranks_are_told(fill: Fill, show: Callable[..., Document], tmp_path: Path) -> None:
    fill().row("RotatE", [0.1])
    (tmp_path / "runs" / "toy000").mkdir(parents=True)
    (tmp_path / "runs" / "toy000" / "ranks.npz").write_bytes(b"none")
    text = show().text("runs-toy000")
    assert "ranks of run toy000: not a" in text
    assert str(tmp_path) not in text


def test_the_audit_of_the_data(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1], dataset_digest=load_graph("atlas").digest)
    text = show().text("data-atlas")
    assert "All runs on this page saw these very triples" in text
    assert "Train gives nothing of valid and test away." in text
    assert "train 4,102 0" in text
    assert "607 of 3,942 entities" in text
    changed(store, "toy000", dataset_digest="0ther")
    assert "Runs on this page saw 0ther; the files here have" in show().text("data-atlas")


def test_rows_that_only_their_group_tells_apart_are_not_sorted(
    fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("RotatE", [0.1])
    sizes = show().html.partition('id="datasets-1-datasets"')[2].partition("</section>")[0]
    assert "in the files" in sizes
    assert "sortable" not in sizes


def test_data_that_are_not_here_say_how_to_get_them(
    fill: Fill, show: Callable[..., Document], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "nothing"))
    fill().row("RotatE", [0.1], dataset="mkg-w")
    assert "Not checked: MKG-W was not on the machine: harness data fetch mkg-w" in show().text(
        "data-mkg-w"
    )


def test_data_that_are_unknown_are_told(fill: Fill, show: Callable[..., Document]) -> None:
    fill().row("RotatE", [0.1], dataset="atlass")
    assert "Not checked: unknown dataset 'atlass'; did you mean 'atlas'?" in show().text(
        "data-atlass"
    )


def test_beyond_a_limit_runs_and_failures_are_listed_and_that_is_said(
    fill: Fill, show: Callable[..., Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FULL", 1)
    monkeypatch.setattr(build, "FAILURES", 1)
    fill().row("A", [0.1]).row("B", [0.2, 0.3]).row("C", ["one", "two"])
    document = show()
    assert "Curves" not in document.text("runs-toy001")
    assert document.text("runs-toy001") == "B atlas toy001 toy002"
    about = document.text("about")
    assert "the runs behind 1 of 2 numbers" in about
    assert "Messages of 1 of 2 failed runs" in about
    assert "2 runs failed" in document.html
    assert {link for link in document.links if link.removeprefix("#") not in document.ids} == set()


def test_variants_that_are_not_shown_are_told(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("A", [0.1])
    fill("toy", "beef").row("A", [0.2])
    store.add_suite(StoredSuite(suite="toy", variant="beef", settings={"training.epochs": 2}))
    about = show("toy").text("about")
    command = "harness report --html --variant beef"
    assert f"suite toy with --set training.epochs=2: {command}" in about
    assert "20.00" in show(selection=Selection("beef")).html


def test_a_variant_is_a_table_that_names_its_settings(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("A", [0.1])
    fill("toy", "beef").row("A", [0.2])
    fill("toy", "cafe").row("A", [0.3], dataset="tiva")
    settings = {"training.epochs": 2, "model.name": "x"}
    for variant, values in (("", {}), ("beef", settings)):
        stored = StoredSuite(suite="toy", variant=variant, title="Of my own", settings=values)
        store.add_suite(stored)
    document = show()
    headings = [document.text(name) for name in document.ids if name.startswith("table-")]
    assert [text.partition(" atlas ")[0].partition(" tiva ")[0] for text in headings] == [
        "Of my own",
        "Of my own, with training.epochs=2, model.name=x",
        "Suite toy, variant cafe",
    ]
    assert "20.00" in headings[1]
    assert "--set" not in document.text("about")
    runs = document.text("runs")
    assert "A atlas, features none; Of my own, with training.epochs=2, model.name=x" in runs
    assert "A tiva, features none MRR" in runs  # the one with this label and dataset
    on_atlas = show(selection=Selection(datasets=("atlas",)))
    assert len([name for name in on_atlas.ids if name.startswith("table-")]) == 2
    alone = show(selection=Selection("beef"))
    assert len([name for name in alone.ids if name.startswith("table-")]) == 1


def test_trials_of_which_none_was_tested_are_shown_on_validation(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill("toy").row("A", [0.2])
    cells = [
        *fill("search").row("A trial 0", [0.3]).cells,
        *fill("search", "beef").row("A trial 0", [0.4]).cells,
    ]
    for cell in cells:
        record = store.get(cell.run_id)
        valid = tuple(m.model_copy(update={"split": "valid"}) for m in record.metrics)
        changed(store, cell.run_id, status="validated", metrics=valid)
    document = show()
    sections = [name for name in document.ids if name.endswith("-search")]
    for section, variant, mrr in zip(sections, ("", ", variant beef"), (30, 40), strict=True):
        text = document.text(section)
        title = f"Suite search: trials on validation, none was tested{variant}"
        assert text.startswith(f"{title} atlas")
        assert "A trial 0" in text
        assert f"{mrr}.00" in text


def test_findings_and_the_main_table_are_first_and_the_rest_is_folded(
    fill: Fill, show: Callable[..., Document]
) -> None:
    fill("ablation").row("MoCME", [0.2])
    fill("quickstart").row("A", [0.2]).row("B", [0.3]).row("C", [0.1])
    document = show()
    sections = [own["id"] for tag, own in document.tags if tag == "section" and "id" in own]
    assert sections[:3] == ["findings", "tables", "table-1-quickstart"]
    assert "atlas: B, MRR 30.00, the best of 3 rows" in document.text("findings")
    folds = [own for tag, own in document.tags if tag == "details" and own.get("class") == "fold"]
    assert len(folds) > 3
    assert ["open" in fold for fold in folds].count(True) == 1
    assert "open" in folds[0]


def test_claims_of_the_results_folder_are_findings(
    fill: Fill, show: Callable[..., Document], tmp_path: Path
) -> None:
    fill().row("A", [0.2]).row("B", [0.3])
    (tmp_path / "claims.yaml").write_text(
        "claims:\n  - {claim: B beats A, better: 'toy:B', than: 'toy:A'}\n"
    )
    text = show().text("findings")
    assert "0 of 1 statement supported by the runs" in text
    assert "B beats A cannot be decided" in text


def test_headings_have_raised_and_lowered_letters() -> None:
    assert typeset("ω^a") == "ω<sup>a</sup>"
    assert typeset("δ_gc") == "δ<sub>gc</sub>"
    assert typeset("a < b") == "a &lt; b"
    assert typeset("Modality") == "Modality"


def test_figures_are_pictures_that_the_page_holds(
    store: MemoryStore, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    text = (
        "title: Number of experts\nfigure: lines\nsuite: toy\nmodel: mocme\n"
        "x: {key: model.experts.K, default: 3}\nmetrics: [mrr]\n"
    )
    (tmp_path / "reports" / "own.yaml").write_text(text)
    fill().row("A", [0.1])
    made = page(Results(store), runs=tmp_path, created=MADE)
    assert made is not None
    document = Document(made.html)
    assert (made.tables, made.figures, made.runs) == (1, 1, 1)
    (picture,) = [own for tag, own in document.tags if tag == "img"]
    kind, _, content = picture["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert b"<svg" in base64.b64decode(content)
    assert (
        document.links.count("#runs-toy000") == 4
    )  # three metrics of the table, one of the figure
    alone = page(Results(store), figures=["own"], runs=tmp_path, created=MADE)
    assert alone is not None
    assert (alone.tables, alone.figures) == (0, 1)


def test_nothing_to_show_is_no_page(store: MemoryStore, tmp_path: Path) -> None:
    assert page(Results(store), runs=tmp_path, created=MADE) is None


def test_a_published_table_before_any_run(show: Callable[..., Document]) -> None:
    document = show("main")
    assert "33.67" in document.html
    assert "No run has finished" in document.text("runs")


def test_marks_are_those_of_the_tests(
    store: MemoryStore, fill: Fill, show: Callable[..., Document]
) -> None:
    fill().row("A", [0.6, 0.6, 0.6]).row("B", [0.1, 0.1, 0.1])
    selection = Selection(seeds=(0, 1))
    tables: list[str] = []

    class Recorder(PairedTests):
        def test(self, table: str, protocol: str, hypotheses: Any) -> Any:
            tables.append(table)
            return super().test(table, protocol, hypotheses)

    show(selection=selection, tests=Recorder(Path("nowhere")))
    assert tables == ["toy seeds=0,1"]


def test_a_damaged_record_is_told_and_keeps_no_other_from_being_shown(
    store: MemoryStore, fill: Fill, tmp_path: Path
) -> None:
    fill().row("RotatE", [0.1, 0.3]).row("TransE", [0.2])
    held = open_store(tmp_path / "harness.db")
    for record in store.find():
        held.add(record)
    held.add_cells(store.cells())
    with closing(sqlite3.connect(tmp_path / "harness.db")) as edited, edited:
        # What tables read of one run, what only its description reads of another.
        edited.execute("UPDATE runs SET seed = 'x' WHERE run_id = 'toy001'")
        edited.execute("UPDATE runs SET provenance = '[' WHERE run_id = 'toy002'")
    made = page(Results(held), runs=tmp_path, created=MADE)
    held.close()
    assert made is not None
    document = Document(made.html)
    for run_id in ("toy001", "toy002"):
        assert f"run {run_id}: the stored record is damaged" in document.text("failures")
    assert "Environment" in document.text("runs-toy000")
    assert document.text("runs-toy002") == "TransE atlas toy002"


def test_measurements_stand_once_and_lead_to_their_samples(
    store: MemoryStore, show: Callable[..., Document]
) -> None:
    sample = BenchmarkSample(
        stage="fusion",
        name="complementarity",
        sizes={"d": 4, "K": 2, "M": 3, "N": 32},
        seconds=(0.001, 0.003, 0.002),
        peak=2**21,
    )
    record = BenchmarkRecord(
        benchmark_id="abc123",
        suite="complexity",
        settings=MEASURED,
        samples=(sample,),
        provenance={"commit": "c0ffee", "threads": 2},
    )
    store.add_benchmark(record)
    document = show()
    assert "figures" in document.ids
    assert "tables" not in document.ids  # the figure has the table below it
    assert document.links.count("#measured-abc123") == 2  # time and memory
    behind = document.text("measured-abc123")
    assert "fusion complementarity 4 2 3 32 2.00 1.00 3.00 3 2.0" in behind
    assert "git checkout c0ffee harness bench complexity --suite complexity" in behind
    assert "threads 2" in behind
    assert "measured-abc123" in show("complexity").ids
    store.add_benchmark(record.model_copy(update={"benchmark_id": "newer"}))
    assert "measured-abc123" not in show().ids


def test_no_rule_of_the_style_is_written_twice() -> None:
    style = Path(__file__).parents[3] / "reports" / "templates" / "page.css"
    rules = Counter(line for line in style.read_text().splitlines() if "{" in line)
    assert [rule for rule, count in rules.items() if count > 1] == []
