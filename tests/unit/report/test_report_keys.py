"""No key of a definition is accepted and without effect: each changes what is shown, or is refused.

A key that joins a definition fails here until a change of it stands below.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from itertools import zip_longest
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from pydantic import BaseModel

from harness.analysis.query import Results
from harness.errors import HarnessError
from harness.report.definition import (
    ComplexityDefinition,
    DatasetsDefinition,
    Definition,
    FigureDefinition,
    RobustnessDefinition,
)
from harness.report.query import named_figure, named_table
from harness.report.render import render, render_picture
from harness.report.row_definitions import (
    CriticalDifferenceDefinition,
    LearningDefinition,
    ParetoDefinition,
    TuningEffortDefinition,
)
from harness.report.table import Table
from harness.store.memory import MemoryStore
from tests.unit.report.test_report_complexity import record as measurement

Fill = Callable[..., Any]
Document = dict[str, Any]

X, Y = "objective.egns.delta.0", "objective.egns.delta.1"

TABLE: Document = {
    "title": "Toy",
    "suite": "toy",
    "published": "main",
    "metrics": ["mrr"],
    "datasets": [{"name": "atlas"}, {"name": "mkg-w"}, {"name": "mkg-y", "against": "mkg-w"}],
    "attributes": [{"name": "kind"}],
    "rows": [{"label": "RotatE", "published": "RotatE"}, {"label": "Absent"}],
    "proposed": ["TransE"],
}
SOURCES: Document = {
    **{key: TABLE[key] for key in ("title", "suite", "published", "metrics", "rows")},
    "datasets": [{"name": "atlas"}],
    "sources": [{"suite": "toy", "title": "One"}, {"suite": "other", "title": "Two"}],
}
LINES: Document = {
    "title": "Toy",
    "figure": "lines",
    "suite": "swept",
    "model": "mocme",
    "x": {"key": "model.experts.K", "default": 3},
    "datasets": [{"name": "atlas"}, {"name": "db15k"}],
    "metrics": ["mrr"],
}
MAP: Document = {
    "title": "Toy",
    "figure": "heatmap",
    "suite": "mapped",
    "model": "mocme",
    "x": {"key": X, "default": 0.1},
    "y": {"key": Y, "default": 0.9},
    "landmarks": [{"x": 0.1, "y": 0.9, "title": "here"}],
    "datasets": [{"name": "atlas"}],
    "metrics": ["mrr"],
}
CURVES: Document = {
    "title": "Toy",
    "suite": "curved",
    "conditions": [{"title": "always", "kind": "drop", "amount": "share"}],
    "datasets": [{"name": "atlas"}],
}
GROWTH: Document = {
    "title": "Toy",
    "benchmark": "complexity",
    "rows": [{"stage": "fusion", "name": "attention", "title": "A"}],
}
FRONT: Document = {
    "title": "Toy",
    "figure": "pareto",
    "suite": "learned",
    "rows": ["RotatE", "TransE", "ComplEx"],
    "datasets": [{"name": "atlas"}],
}
LEARNING: Document = {**FRONT, "figure": "learning"}
RANKS: Document = {
    "title": "Toy",
    "figure": "critical_difference",
    "suite": "ranked",
    "rows": ["RotatE", "TransE", "ComplEx"],
    "datasets": [{"name": f"set{i}"} for i in range(10)],
}
ROWS: dict[str, Any] = {
    "name": "other",
    "title": "Other",
    "suite": "toy",
    "rows_from": "main",
    "rows": ["TransE", "RotatE", "ComplEx", "DistMult"],
    "datasets.name": "db15k",
    "datasets.title": "Other",
    "datasets.note": "a note",
    "width": "page",
    "footnotes": ["a note"],
}
SIZES: Document = {"title": "Toy", "statistics": ["entities"], "datasets": ["atlas"]}
EFFORT: Document = {"title": "Toy", "studies": ["tuning"], "rows_from": "main"}

CHANGES: list[tuple[type[BaseModel], Document, dict[str, Any]]] = [
    (
        Definition,
        TABLE,
        {
            "name": "other",
            "title": "Other",
            "suite": "other",
            "published": "",
            "metrics": ["hits@1"],
            "datasets.name": "db15k",
            "datasets.title": "Other",
            "datasets.metrics": ["hits@1"],
            "datasets.note": "a note",
            "datasets.missing": "a reason",
            "datasets.against": "atlas",
            "attributes.name": "other",
            "attributes.title": "Other",
            "attributes.latex": "$x$",
            "rows.label": "TransE",
            "rows.title": "Other",
            "rows.published": "TransE",
            "rows.group": "Group",
            "rows.attributes": {"kind": True},
            "rows.model": "mocme",
            "rows.notes": ["a note"],
            "others": "Others",
            "baseline": "RotatE",
            "proposed": ["TransF"],
            "floors": ["TransE"],
            "footnotes": ["a note"],
            "row_title": "Other",
        },
    ),
    (
        Definition,
        SOURCES,
        {
            "sources.suite": "swept",
            "sources.study": "curved",
            "sources.title": "Other",
            "sources.note": "a note",
            "baseline": "RotatE",
            "proposed": ["TransF"],
            "floors": ["TransF"],
            "rows.model": "mocme",
        },
    ),
    (
        FigureDefinition,
        LINES,
        {
            "name": "other",
            "title": "Other",
            "figure": "heatmap",
            "suite": "mapped",
            "model": "rotate",
            "x.key": "model.dim",
            "x.title": "Other",
            "x.latex": "$x$",
            "x.default": 4,
            "x.values": [7],
            "x.scale": "log",
            "y": MAP["y"],
            "ascending": True,
            "metrics": ["hits@1"],
            "datasets.name": "mkg-w",
            "datasets.title": "Other",
            "datasets.metrics": ["hits@1"],
            "datasets.missing": "a reason",
            "datasets.note": "a note",
            "datasets.against": "db15k",
            "published": "experts",
            "landmarks": MAP["landmarks"],
            "width": "page",
            "footnotes": ["a note"],
        },
    ),
    (
        FigureDefinition,
        MAP,
        {
            "x.scale": "log",
            "y.key": X,
            "y.title": "Other",
            "y.latex": "$y$",
            "y.default": 0.8,
            "y.values": [0.7],
            "y.scale": "log",
            "ascending": True,
            "landmarks.x": 0.5,
            "landmarks.y": 0.5,
            "landmarks.title": "there",
        },
    ),
    (
        RobustnessDefinition,
        CURVES,
        {
            "name": "other",
            "title": "Other",
            "suite": "toy",
            "conditions.title": "Other",
            "conditions.kind": "noise",
            "conditions.at": "test",
            "conditions.amount": "other",
            "metric": "hits@1",
            "weights": ["txet"],
            "datasets.name": "db15k",
            "datasets.title": "Other",
            "datasets.metrics": ["hits@1"],
            "datasets.missing": "a reason",
            "datasets.note": "a note",
            "datasets.against": "db15k",
            "width": "page",
            "footnotes": ["a note"],
        },
    ),
    (
        ComplexityDefinition,
        GROWTH,
        {
            "name": "other",
            "title": "Other",
            "benchmark": "other",
            "rows.stage": "backbone",
            "rows.name": "complementarity",
            "rows.title": "Other",
            "rows.group": "Group",
            "rows.claim": "complementarity",
            "width": "page",
            "footnotes": ["a note"],
        },
    ),
    (
        ParetoDefinition,
        FRONT,
        {**ROWS, "figure": "learning", "metric": "hits@1", "cost": "cost.total"},
    ),
    (
        LearningDefinition,
        LEARNING,
        {**ROWS, "figure": "pareto", "rows_from": "complexity", "against": ["seconds"]},
    ),
    (
        CriticalDifferenceDefinition,
        RANKS,
        {**ROWS, "figure": "pareto", "metric": "hits@1", "test": "wilcoxon"},
    ),
    (
        DatasetsDefinition,
        SIZES,
        {
            "name": "other",
            "title": "Other",
            "statistics": ["relations"],
            "datasets": ["synthetic"],
            "footnotes": ["a note"],
        },
    ),
    (
        TuningEffortDefinition,
        EFFORT,
        {
            "name": "other",
            "title": "Other",
            "studies": ["trials"],
            "settings_suites": ["settings"],
            "rows_from": "ablation",
            "footnotes": ["a note"],
        },
    ),
]
CASES = [
    pytest.param(document, key, value, id=f"{kind.__name__}-{number}-{key}")
    for number, (kind, document, changes) in enumerate(CHANGES)
    for key, value in changes.items()
]


def keys(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a definition; those of lists without a position."""
    for name, field in kind.model_fields.items():
        inner = list(_models(field.annotation))
        # An axis that may be absent is a key of its own.
        if not inner or not field.is_required():
            yield f"{prefix}{name}"
        for model in inner:
            yield from keys(model, f"{prefix}{name}.")


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        if isinstance(argument, type | UnionType) or typing.get_origin(argument):
            yield from _models(argument)


@pytest.mark.parametrize(
    "kind", list(dict.fromkeys(kind for kind, _, _ in CHANGES)), ids=lambda kind: kind.__name__
)
def test_every_key_is_changed_below(kind: type[BaseModel]) -> None:
    changed = {key for of, _, changes in CHANGES if of is kind for key in changes}
    # A list or group whose own keys are changed is changed with them.
    groups = {".".join(key.split(".")[:n]) for key in changed for n in range(1, key.count(".") + 1)}
    assert set(keys(kind)) <= changed | groups


@pytest.fixture
def shown(store: MemoryStore, fill: Fill) -> MemoryStore:
    digests = {"atlas": "d0", "mkg-w": "d1", "mkg-y": "d2"}
    for suite in ("toy", "other"):
        filler = fill(suite)
        for name, digest in digests.items():
            low = 0.1 if suite == "toy" else 0.2
            options: dict[str, Any] = {"dataset": name, "dataset_digest": digest}
            filler.row("RotatE", [low, low + 0.1], model="rotate", **options)
            filler.row("TransE", [low + 0.1, low + 0.2], model="transe", **options)
    swept = fill("swept")
    for name in ("atlas", "db15k"):
        for k in (1, 2):
            settings: Document = {"model": {"experts": {"K": k}}}
            swept.row(f"K={k}", [0.1 * k, 0.3], dataset=name, settings=settings)
        swept.row("K=3", [0.3, 0.5], dataset=name)
        swept.row("RotatE", [0.4, 0.6], dataset=name, model="rotate")
    mapped = fill("mapped")
    for x, y in ((0.1, 0.9), (0.5, 0.9), (0.5, 0.5)):
        default = (x, y) == (0.1, 0.9)
        settings = {} if default else {"objective": {"egns": {"delta": [x, y]}}}
        mapped.row(f"{x} {y}", [x * y, 0.5], settings=settings)
    curved = fill("curved")
    for name in ("atlas", "db15k"):
        for share in (0.0, 0.5):
            corrupt = [{"kind": "drop", "share": share}] if share else []
            options = {"features": "all", "modalities": ("text",), "dataset": name}
            curved.row(f"gate, {share}", [0.4 - share / 2] * 2,
                       settings={"data": {"corrupt": corrupt}}, **options)  # fmt: skip
    learned = fill("learned")
    for position, label in enumerate(("RotatE", "TransE", "ComplEx", "DistMult")):
        history = [
            {"epoch": e, "seconds": 1.0 + position, "valid_mrr": 0.1 * e} for e in (1.0, 2.0, 3.0)
        ]
        for name in ("atlas", "db15k"):
            options = {"dataset": name, "history": history, "timings": {"evaluate.test": 1.0}}
            options["diagnostics"] = {"best_epoch": 2.0}
            learned.row(label, [0.2 + position / 50] * 2, **options)
    ranked = fill("ranked")
    for position, label in enumerate(("RotatE", "TransE", "ComplEx", "DistMult")):
        for i in range(10):
            value = 0.2 + position / 50 - (0.05 if i % 4 == position else 0)
            hits = 0.8 + (0.4 if (i + position) % 3 == 0 else 0)
            ranked.row(label, [value, value + 0.01], dataset=f"set{i}", extra={"hits@1": hits})
    store.add_benchmark(measurement(attention={"N": 2}))
    return store


def output(store: MemoryStore, document: Document, folder: Path) -> Iterator[str | bytes]:
    """Yield all that a definition shows: its data, and the picture, which takes longest."""
    from ruamel.yaml import YAML

    path = folder / "toy.yaml"
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(document, stream)
    drawn = bool({"figure", "conditions", "benchmark"} & document.keys())
    shown = (named_figure if drawn else named_table)(Results(store), str(path))
    yield render(shown, "json")
    if isinstance(shown, Table) or not shown.why_empty:
        yield render(shown, "latex")
    if not (isinstance(shown, Table) or shown.why_empty):
        yield render_picture(shown, "svg")


def changed(document: Document, key: str, value: Any) -> Document:
    """Return a copy with another value, in the last item where a key leads through a list."""
    whole: Any = deepcopy(document)
    *path, last = key.split(".")
    inner = whole
    for name in path:
        inner = inner[name]
        # Of rows and datasets the first: the last stands for what is not there.
        inner = inner[0] if isinstance(inner, list) else inner
    if last == "against":
        inner = whole["datasets"][-1]
    if last == "missing":
        whole["datasets"].append({"name": "tiva"})
        inner = whole["datasets"][-1]
        document["datasets"] = [*document["datasets"], {"name": "tiva"}]
    if last == "study":
        inner.pop("suite")
        whole["suite"] = "other"
        document["suite"] = "other"
    inner[last] = value
    return whole  # type: ignore[no-any-return]


@pytest.mark.parametrize(("document", "key", "value"), CASES)
def test_a_key_has_an_effect_or_is_refused(
    shown: MemoryStore, tmp_path: Path, document: Mapping[str, Any], key: str, value: Any
) -> None:
    before = deepcopy(dict(document))
    after = changed(before, key, value)
    assert after != before
    for name in ("before", "after"):  # files are read once
        (tmp_path / name).mkdir()
    without = output(shown, before, tmp_path / "before")
    with suppress(HarnessError):
        pages = zip_longest(without, output(shown, after, tmp_path / "after"))
        assert any(page != other for page, other in pages)
