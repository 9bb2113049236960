"""Tables with features say what these tell of the answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.analysis.results import RowResult, SeedRun
from harness.data.card import DATASETS, FeatureLeak, LeakAudit
from harness.data.load import source
from harness.report.leak_notes import leak_notes, titled_leak_notes
from harness.store.records import EXTERNAL, RunRecord

MakeRecord = Callable[..., RunRecord]


def _result(record: RunRecord, dataset: str) -> RowResult:
    run = SeedRun(record.seed, record.run_id, record)
    return RowResult("Row", dataset, record.features, (run,))


@pytest.fixture
def notes(make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    entry = source("atlas")
    audited = {
        "told": {
            "text": FeatureLeak(rows={"valid": 3, "test": 30}, more=("test",)),
            "text vectors": FeatureLeak(rows={"valid": 4, "test": 5}),
            "image vectors": FeatureLeak(rows={"valid": 6, "test": 7}),
        },
        "harmless": {},
    }
    card = entry.card.model_copy(update={"feature_leaks": audited})
    monkeypatch.setattr(DATASETS.get("atlas"), "card", card)

    def made(features: str, dataset: str = "atlas", **changes: object) -> list[str]:
        record = make_record("a" * 12, features=features, **changes)
        return list(leak_notes(dataset, [_result(record, dataset)]))

    return made


def test_what_is_told_stands_there_by_modality_and_beside_train(
    notes: Callable[..., list[str]],
) -> None:
    (note,) = notes("told", modalities=("text", "image"))
    assert note == (
        "features 'told', audited for leaks: text names the other end in 30 test and 3 valid "
        "rows, more than in train: test; text vectors identify the answer among the relation's "
        "answers in 5 test and 4 valid rows, no more than in train; image vectors identify the "
        "answer among the relation's answers in 7 test and 6 valid rows, no more than in train."
    )
    (note,) = notes("told", modalities=("image",))
    assert note.startswith("features 'told', audited for leaks: image vectors identify")


def test_the_cleaned_variant_quotes_the_official_splits(notes: Callable[..., list[str]]) -> None:
    (note,) = notes("told", "atlas@clean", modalities=("image",))
    assert note.endswith("no more than in train of the official splits.")


def test_a_set_without_leaks_and_one_that_nobody_audited(notes: Callable[..., list[str]]) -> None:
    assert notes("harmless") == ["features 'harmless', audited for leaks: no leak is flagged."]
    assert notes("files") == [
        "features 'files' were not audited for leaks: `harness data audit atlas --features files`."
    ]
    assert notes("files", "a-dataset-that-is-gone")[0].startswith("features 'files' were not")


@pytest.mark.parametrize(
    ("enough", "verdict"),
    [
        ({"text": True, "image vectors": False}, "no leak is flagged"),
        (
            {"text": True, "text vectors": False},
            "no leak is flagged; too few triples to audit text vectors",
        ),
        (
            {"text": False, "text vectors": False},
            "too few triples to audit text, text vectors",
        ),
    ],
)
def test_what_too_few_triples_speak_of_is_not_said_to_be_harmless(
    notes: Callable[..., list[str]],
    enough: dict[str, bool],
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audit = LeakAudit(leaks={}, enough=enough)
    monkeypatch.setattr("harness.data.leak_audits.leak_audit", lambda *names: audit)
    assert notes("files", modalities=("text",)) == [
        f"features 'files', audited for leaks: {verdict}."
    ]


def test_runs_without_features_and_those_made_elsewhere_say_nothing(
    notes: Callable[..., list[str]],
) -> None:
    assert notes("none") == notes("told", model=EXTERNAL) == []


def test_a_title_stands_in_front(make_record: MakeRecord) -> None:
    result = _result(make_record("a" * 12, features="files"), "atlas")
    for title, front in (("Atlas", "Atlas: "), ("", "atlas: ")):
        (note,) = titled_leak_notes("atlas", title, [result])
        assert note.startswith(f"{front}features 'files'")
