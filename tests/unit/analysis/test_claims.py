"""Claims: what a file may say, and what the results say of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.claims import Checked, Claim, Claims, check, load_claims
from harness.analysis.compare import differences
from harness.analysis.ranks import RankFiles
from harness.analysis.sides import StoredSuites, find_sides
from harness.analysis.significance import verdict
from harness.errors import ConfigError
from harness.holm import holm
from harness.store.memory import MemoryStore

Row = Callable[..., list[str]]
Look = Callable[..., tuple[Checked, ...]]


@pytest.fixture
def row(store: MemoryStore, make_row: Row, tmp_path: Path) -> Row:
    return lambda label, typical, **options: make_row(store, tmp_path, label, typical, **options)


@pytest.fixture
def look(store: MemoryStore, tmp_path: Path) -> Look:
    """Return a function that checks claims, each given as "A > B" and further keys."""

    def look(*claims: tuple[str, dict[str, object]], correction: str = "holm"):
        made = []
        for text, keys in claims:
            better, _, than = text.partition(" > ")
            sides = {"better": f"toy:{better}", "than": f"toy:{than}"}
            made.append(Claim(claim=text, **sides, **keys))
        found = Claims(correction=correction, claims=tuple(made))
        return check(StoredSuites(store), tmp_path / "runs", found, range(len(made)))

    return look


@pytest.fixture
def _rows(row: Row) -> None:
    for label, typical in {"A": 2.0, "B": 2.1, "C": 20.0}.items():
        row(label, typical)


def statuses(found: tuple[Checked, ...]) -> list[str]:
    return [checked.status for checked in found]


@pytest.mark.usefixtures("_rows")
def test_what_is_beyond_noise_is_supported_or_contradicted(look: Look) -> None:
    found = look(("A > C", {}), ("C > A", {}), ("A > B", {}), ("B > A", {}))
    assert statuses(found) == ["supported", "contradicted", "not supported", "not supported"]


@pytest.mark.usefixtures("_rows")
def test_a_low_mean_rank_is_better(look: Look) -> None:
    mr = {"metric": "mr"}
    assert statuses(look(("A > C", mr), ("C > A", mr))) == ["supported", "contradicted"]


@pytest.mark.usefixtures("_rows")
def test_a_least_difference_has_to_be_passed_beyond_noise(look: Look) -> None:
    (plain,) = look(("A > C", {}))
    seen, low, high = plain.finding.difference, plain.finding.low, plain.finding.high
    assert 0 < low < seen < high
    steps = (low - 0.1, seen - 0.01, seen + 0.01, high + 0.1)
    found = [look(("A > C", {"by": by}))[0] for by in steps]
    assert [one.status for one in found] == [
        "supported",
        "not supported",
        "not supported",
        "contradicted",
    ]
    assert {one.finding.difference for one in found} == {seen}


@pytest.mark.usefixtures("_rows")
def test_a_least_difference_of_ranks_goes_down(look: Look) -> None:
    seen = -look(("A > C", {"metric": "mr"}))[0].finding.difference
    assert seen > 10
    steps = ({"metric": "mr", "by": by} for by in (1.0, seen - 0.1, seen + 0.1, 100.0))
    assert statuses(look(*(("A > C", keys) for keys in steps))) == [
        "supported",
        "not supported",
        "not supported",
        "contradicted",
    ]


@pytest.mark.usefixtures("_rows")
def test_p_is_that_of_the_verdict_corrected_over_the_file(
    look: Look, store: MemoryStore, tmp_path: Path
) -> None:
    files = RankFiles(tmp_path / "runs", "realistic")
    pairs = {"A > C": ("A", "C"), "B > C": ("B", "C"), "A > B": ("A", "B")}
    raw = []
    for better, than in pairs.values():
        sides = find_sides(StoredSuites(store), f"toy:{better}", f"toy:{than}")
        raw.append(float(verdict(differences(files, *sides, "mrr", "all")).p))
    claims: list[tuple[str, dict[str, object]]] = [(text, {}) for text in pairs]
    assert [one.adjusted for one in look(*claims)] == pytest.approx(holm(raw))
    plain = look(*claims, correction="none")
    assert [one.adjusted for one in plain] == pytest.approx(raw)
    assert [one.finding.p for one in plain] == pytest.approx(raw)


@pytest.mark.usefixtures("_rows")
def test_many_claims_ask_for_more(look: Look) -> None:
    (alone,) = look(("A > C", {"metric": "hits@1"}))
    level = 2 * alone.finding.p
    claim = ("A > C", {"metric": "hits@1", "alpha": level})
    assert statuses(look(claim)) == ["supported"]
    others = [("A > B", {"metric": metric}) for metric in ("mrr", "hits@1", "hits@10")]
    assert statuses(look(claim, *others))[0] == "not supported"
    assert statuses(look(claim, *others, correction="none"))[0] == "supported"


@pytest.mark.usefixtures("_rows")
def test_a_claim_of_runs_that_are_missing_cannot_be_decided(look: Look, row: Row) -> None:
    row("single", 2.0, seeds=(0,))
    found = look(("A > D", {}), ("single > C", {}), ("A > C", {}), ("A > C", {"dataset": "tiva"}))
    assert statuses(found) == [
        "cannot be decided",
        "cannot be decided",
        "supported",
        "cannot be decided",
    ]
    assert "no row 'D'" in found[0].reason
    assert found[1].reason == "one seed says nothing of training again"
    assert "no dataset 'tiva'" in found[3].reason
    assert found[2].adjusted == found[2].finding.p  # what cannot be decided costs nothing


@pytest.mark.usefixtures("_rows")
def test_buckets_are_parts_of_the_test_split(look: Look) -> None:
    found = look(*(("A > C", {"metric": metric}) for metric in ("mrr", "mrr/warm", "mrr/cold")))
    assert [one.triples for one in found] == [60, 40, 20]
    assert [one.seeds for one in found] == [3, 3, 3]


# --- files --------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_with_the_lines_of_its_claims(tmp_path: Path) -> None:
    text = "# mine\nclaims:\n  - {claim: x, better: 's:A', than: 's:B'}\n\n  - claim: y\n"
    text += "    better: s:A\n    than: s:C\n    by: 1\n    metric: hits@10/cold\n"
    claims, origins = load_claims(written(tmp_path, text))
    assert [origin.line for origin in origins] == [3, 5]
    assert claims.claims[1].key == ("hits@10", "cold", "test")
    assert (claims.correction, claims.claims[0].alpha, claims.claims[0].by) == ("holm", 0.05, 0.0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("metrik: mrr", r"yaml:5: claims\[0\].metrik: unknown key; did you mean 'metric'\?"),
        ("metric: hit@1", r"yaml:5: claims\[0\].metric: unknown metric .*did you mean 'hits@1'\?"),
        ("metric: easy", r"yaml:5: claims\[0\].metric: metric 'easy' is not made of ranks"),
        ("metric: 'valid:mrr'", r"yaml:5: .* the test split; write 'mrr'"),
        ("by: -1", r"yaml:5: claims\[0\].by: .*greater than or equal to 0, got -1"),
        ("alpha: 1", r"yaml:5: claims\[0\].alpha: .*less than 1"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path: Path, wrong: str, told: str) -> None:
    text = f"claims:\n  - claim: x\n    better: s:A\n    than: s:B\n    {wrong}\n"
    with pytest.raises(ConfigError, match=told):
        load_claims(written(tmp_path, text))


def test_a_file_without_claims_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"claims: is too short, needs at least 1"):
        load_claims(written(tmp_path, "claims: []\n"))
    with pytest.raises(ConfigError, match=r"none.yaml: no such file of claims"):
        load_claims(tmp_path / "none.yaml")
