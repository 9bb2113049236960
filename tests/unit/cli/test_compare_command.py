"""``harness compare`` and ``harness claims check``: what is printed, and the exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.analysis import significance
from harness.cli.main import app
from harness.errors import ConfigError, HarnessError, StoreError
from harness.store import DATABASE, open_store

Row = Callable[..., list[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_row: Row) -> Path:
    """A results folder with three rows of three seeds and one of one; "Fair" is nearly "Good"."""
    folder = tmp_path_factory.mktemp("home")
    with closing(open_store(folder / DATABASE)) as store:
        for label, typical in {"Good": 2.0, "Fair": 2.1, "Bad": 20.0}.items():
            make_row(store, folder, label, typical)
        make_row(store, folder, "Lone", 2.0, seeds=(0,))
    return folder


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(significance, "RESAMPLES", 199)
    monkeypatch.setenv("HARNESS_HOME", str(folder))
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str) -> HarnessError:
    result = invoke(*arguments)
    assert isinstance(result.exception, HarnessError), result.output
    return result.exception


def words(*arguments: str) -> str:
    result = invoke("compare", *arguments)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    return result.stdout


@pytest.mark.usefixtures("home")
def test_the_first_line_is_the_answer() -> None:
    good = words("toy:good", "toy:bad").splitlines()[0]
    assert good.startswith("Good is better than Bad on atlas: MRR +")
    assert re.search(r"\+53\.\d\d \(\d\d\.\d\d to \d\d\.\d\d\), p = 0\.00\d$", good)
    bad = words("toy:bad", "toy:good", "--metric", "hits@10").splitlines()[0]
    assert bad.startswith("Bad is worse than Good on atlas: Hit@10 -")
    open_ = words("toy:good", "toy:fair", "--bucket", "cold").splitlines()[0]
    assert open_.startswith("Good and Fair cannot be told apart on atlas, cold triples: MRR ")


@pytest.mark.usefixtures("home")
def test_everything_that_was_asked_for_is_printed() -> None:
    text = words("toy:good", "toy:bad")
    assert "A  Good: suite toy, features none, seeds 0, 1, 2" in text
    assert "60 test triples (120 queries), seeds 0, 1, 2" in text
    for shown in ("MRR  ", "Hit@1  ", "Hit@3  ", "Hit@10  ", "d_z", "won", "tied", "lost"):
        assert shown in text
    for test in ("over triples", "over seeds", "over both"):
        assert f"  {test}: " in text
    assert "with 3 seeds it cannot be below 0.25" in text
    assert "More seeds are not needed: 3 tell them apart at the level 0.05." in text


@pytest.mark.usefixtures("home")
def test_ranks_and_long_names_fit_the_width() -> None:
    text = words("toy:good", "toy:bad", *("--metric", "mr"), *("--metric", "hits@10"))
    assert text.splitlines()[0].startswith("Good is better than Bad on atlas: MR -")


@pytest.mark.usefixtures("home")
def test_one_seed_says_what_it_leaves_open() -> None:
    text = words("toy:lone", "toy:bad")
    assert text.split("\n\n")[0].replace("\n", " ").endswith("(one seed)")
    assert "One seed: this holds for these two trained models." in text
    assert "over seeds" not in text


@pytest.mark.usefixtures("home")
def test_what_more_seeds_would_do() -> None:
    said = words("toy:good", "toy:fair").split("\n\n")[-1].replace("\n", " ")
    assert said.startswith(("About ", "More seeds are unlikely to settle it: the noise of the"))
    seeds = words("toy:fair", "toy:bad", "--seeds", "0-1")
    assert "seeds 0, 1." in seeds


def test_json_has_the_same_figures(home: Path) -> None:
    result = invoke("compare", "toy:good", "toy:bad", "--format", "json", "--metric", "mrr")
    values = json.loads(result.stdout)
    (mrr,) = values["metrics"]
    assert values["headline"] == " ".join(words("toy:good", "toy:bad").split("\n\n")[0].split())
    assert mrr["answer"] == "better"
    assert mrr["first"] - mrr["second"] == pytest.approx(mrr["finding"]["difference"])
    assert mrr["finding"]["low"] > 0
    assert sorted(values["a"]["runs"]) == ["0", "1", "2"]
    with closing(open_store(home / DATABASE)) as store:
        stored = [store.get(run).metric("mrr") for run in values["a"]["runs"].values()]
    assert mrr["first"] == pytest.approx(100 * sum(stored) / 3)


@pytest.mark.usefixtures("home")
def test_runs_are_called_by_their_ids() -> None:
    runs = json.loads(invoke("compare", "toy:good", "toy:bad", "--format", "json").stdout)
    a, b = (runs[side]["runs"]["0"] for side in "ab")
    assert words(a, b).startswith(f"good {a} is better than bad {b} on atlas")


@pytest.mark.usefixtures("home")
def test_wrong_names_are_refused() -> None:
    for arguments, told in {
        ("toy:god", "toy:bad"): "did you mean 'Good'?",
        ("toy:good", "toy:bad", "--metric", "hit@1"): "did you mean 'hits@1'?",
        ("toy:good", "toy:bad", "--dataset", "mkg-w"): "has no dataset 'mkg-w'",
        ("toy:good", "toy:bad", "--seeds", "x"): "'x' is not a seed",
        ("toy:good", "toy:bad", "--seeds", "7"): "has no tested run: none of these seeds",
    }.items():
        error = refused("compare", *arguments)
        assert isinstance(error, ConfigError)
        assert told in str(error)


def test_without_a_database_the_message_says_so(tmp_path: Path) -> None:
    assert isinstance(refused("compare", "a:b", "a:c", "--home", str(tmp_path)), StoreError)


# --- claims -------------------------------------------------------------------------------

CLAIMS = """\
claims:
  - {claim: Good beats Bad, better: "toy:good", than: "toy:bad"}
  - {claim: Good beats Fair, better: "toy:good", than: "toy:fair", metric: mrr/cold}
  - {claim: Bad beats Good, better: "toy:bad", than: "toy:good"}
  - {claim: Good beats a stranger, better: "toy:good", than: "toy:stranger"}
"""


def claims(folder: Path, text: str) -> Path:
    path = folder / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_claims_of_the_results_folder_are_checked(home: Path) -> None:
    claims(home, "\n".join(CLAIMS.splitlines()[:2]))
    result = invoke("claims", "check")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("supported: Good beats Bad: MRR +")
    assert "claims.yaml: 1 supported" in result.stderr


def test_a_claim_that_is_not_supported_ends_with_five(home: Path, tmp_path: Path) -> None:
    path = claims(tmp_path, CLAIMS)
    result = invoke("claims", "check", str(path))
    assert result.exit_code == 5
    told = result.stdout.replace("\n  ", " ")
    assert "not supported: Good beats Fair: MRR cold " in told
    assert "contradicted: Bad beats Good: MRR -" in told
    assert "cannot be decided: Good beats a stranger: 'toy:stranger': no row 'stranger'" in told
    assert f"[{path}:5]" in told.replace(" ", "")
    assert "1 supported, 1 not supported, 1 contradicted, 1 cannot be decided" in result.stderr


@pytest.mark.parametrize("line", [2, 3, 4])
def test_each_kind_of_no_alone_ends_with_five(home: Path, line: int) -> None:
    lines = CLAIMS.splitlines()
    path = claims(home, "\n".join((lines[0], lines[1], lines[line])))
    assert invoke("claims", "check", str(path)).exit_code == 5


def test_claims_as_json(home: Path) -> None:
    path = claims(home, CLAIMS)
    result = invoke("claims", "check", str(path), "--format", "json")
    assert result.exit_code == 5
    values = json.loads(result.stdout)
    assert values["correction"] == "holm"
    assert [claim["status"] for claim in values["claims"]] == [
        "supported",
        "not supported",
        "contradicted",
        "cannot be decided",
    ]
    first, *_, last = values["claims"]
    assert first["low"] < first["difference"] < first["high"]
    assert first["p"] <= first["adjusted"]
    assert (first["line"], first["better"], last["triples"]) == (2, "toy:good", 0)
    assert "difference" not in last


def test_a_mistake_in_a_file_ends_with_two(home: Path) -> None:
    path = claims(home, "claims:\n  - {claim: x, beter: a, than: b}\n")
    error = refused("claims", "check", str(path))
    assert error.exit_code == 2
    assert f"{path}:2: claims[0].beter: unknown key; did you mean 'better'?" in str(error)
    assert "no such file of claims" in str(refused("claims", "check", str(home / "no.yaml")))
