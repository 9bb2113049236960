"""Ranks and scores of another code base: judged by this one's rules, or refused."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from typer.testing import CliRunner

from harness import external
from harness.analysis.hypotheses import PairedTests
from harness.catalog import build_model, load_models
from harness.cli.main import app
from harness.data.load import load_graph
from harness.errors import ConfigError, DataError, StoreError
from harness.evaluation.evaluator import rank
from harness.evaluation.foreign import ranks_of_rows, ranks_of_scores
from harness.evaluation.ranks import Ranks, rank_of
from harness.plan.spec import Protocol
from harness.report.query import suite_table
from harness.store import open_store
from harness.store.records import EXTERNAL_ID
from tests.toys import SMALL, toy_graph

PROTOCOL = Protocol()
N, ENTITIES = 20, 40


@pytest.fixture(scope="module", autouse=True)
def _models() -> None:
    load_models()


@pytest.fixture(scope="module")
def scores() -> dict[str, np.ndarray]:
    """Of an untrained model, rounded so that some tie."""
    model = build_model("distmult", {"dim": 4}, load_graph(SMALL).index, {}, seed=0)
    head, relation, tail = load_graph(SMALL).splits["test"].unbind(1)
    with torch.no_grad():
        tables = model.encode()
        found = {
            "tail": model.score_all(tables, head, relation, "tail"),
            "head": model.score_all(tables, tail, relation, "head"),
        }
    return {side: (values * 500).round().numpy() for side, values in found.items()}


def judged(scores: Any, **options: Any) -> Ranks:
    return ranks_of_scores(scores, load_graph(SMALL), PROTOCOL, **options)


def test_an_empty_test_split_is_refused() -> None:
    graph, none = toy_graph(entities=3), np.zeros((0, 3))
    with pytest.raises(DataError, match="dataset 'toy': test has no triples, nothing to rank"):
        ranks_of_scores({"head": none, "tail": none}, graph, PROTOCOL)
    with pytest.raises(DataError, match="dataset 'toy': test has no triples, nothing to rank"):
        ranks_of_rows([], graph, PROTOCOL)


def same(a: Ranks, b: Ranks) -> bool:
    return all(
        np.array_equal(getattr(a.sides[side], name), getattr(b.sides[side], name))
        for side in ("head", "tail")
        for name in ("better", "tied", "candidates")
    )


# --- scores ---------------------------------------------------------------------------------


def test_scores_are_ranked_as_a_model_with_these_scores_is(scores: dict) -> None:
    class Given(torch.nn.Module):
        decomposable, n_entities = False, ENTITIES

        def encode(self) -> dict:
            return {}

        def score_all(self, tables: Any, anchors: Any, relations: Any, side: str) -> torch.Tensor:
            head, relation, tail = load_graph(SMALL).splits["test"].unbind(1)
            own = head if side == "tail" else tail
            pairs = list(zip(anchors, relations, strict=True))
            place = [int(((own == a) & (relation == r)).nonzero()[0]) for a, r in pairs]
            return torch.from_numpy(scores[side])[place]

    graph = load_graph(SMALL)
    expected = rank(Given(), graph.splits["test"], graph.filter_index(), PROTOCOL)  # type: ignore[arg-type]
    assert same(judged(scores), expected)
    assert any(counts.tied.any() for counts in expected.sides.values())


@pytest.mark.parametrize("form", ["npz", "safetensors", "one npz", "npy"])
def test_every_format_of_scores_gives_the_same_ranks(
    scores: dict, form: str, tmp_path: Path
) -> None:
    both = np.concatenate([scores["tail"], scores["head"]])
    path = tmp_path / f"scores.{form.split()[-1]}"
    if form == "npz":
        np.savez(path, **scores)
    elif form == "one npz":
        np.savez(path, scores=both)
    elif form == "npy":
        np.save(path, both)
    else:
        save_file({side: torch.from_numpy(values) for side, values in scores.items()}, path)
    given = external.read(path, load_graph(SMALL), PROTOCOL)
    assert given.kind == "scores"
    assert given.columns == "the ids of the dataset, 0 to 39"
    assert same(given.ranks, judged(scores))


def test_columns_in_another_order_are_named(scores: dict, tmp_path: Path) -> None:
    graph = load_graph(SMALL)
    order = np.random.default_rng(1).permutation(ENTITIES)
    np.savez(tmp_path / "s.npz", **{side: values[:, order] for side, values in scores.items()})
    (tmp_path / "names.txt").write_text("\n".join(graph.entities[i] for i in order) + "\n")
    named = external.read(tmp_path / "s.npz", graph, PROTOCOL, entities=tmp_path / "names.txt")
    assert named.columns == "as names.txt lists them"
    assert same(named.ranks, judged(scores))
    assert not same(external.read(tmp_path / "s.npz", graph, PROTOCOL).ranks, judged(scores))


def test_blocks_of_rows_change_nothing(scores: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judged(scores)
    monkeypatch.setattr("harness.evaluation.foreign.AT_ONCE", 3 * ENTITIES)
    assert same(judged(scores), whole)


@given(st.floats(0.01, 100), st.floats(-10, 10))
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_only_the_order_of_scores_matters(scores: dict, factor: float, shift: float) -> None:
    scaled = {side: values.astype(np.float64) * factor + shift for side, values in scores.items()}
    assert same(judged(scaled), judged(scores))


def test_minus_infinity_is_a_score(scores: dict) -> None:
    """Known answers are often masked so, and left out here anyway."""
    masked = {side: values.copy() for side, values in scores.items()}
    graph = load_graph(SMALL)
    known = {tuple(row) for split in graph.splits.values() for row in split.tolist()}
    for row, (head, relation, tail) in enumerate(graph.splits["test"].tolist()):
        for entity in range(ENTITIES):
            if entity != tail and (head, relation, entity) in known:
                masked["tail"][row, entity] = -np.inf
            if entity != head and (entity, relation, tail) in known:
                masked["head"][row, entity] = -np.inf
    assert same(judged(masked), judged(scores))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {**s, "tail": s["tail"][:-1]}, r"tail: 20 test triples and 40 .*\(19, 40\)"),
        (lambda s: {**s, "tail": s["tail"][:, :-1]}, r"need shape \(20, 40\), found \(20, 39\)"),
        (lambda s: {"tail": s["tail"]}, "has scores of tail, the protocol needs head and tail"),
        (lambda s: {**s, "head": put(s["head"], np.nan)}, "head: row 3, entity 5: nan is no score"),
        (lambda s: {**s, "head": put(s["head"], np.inf)}, "head: row 3, entity 5: inf is no score"),
        (lambda s: {**s, "tail": s["tail"].ravel()}, r"tail: needs \[queries, entities\]"),
        (lambda s: {"scores": s["tail"]}, "need 40 rows, those of all tail queries, then of all"),
        (lambda s: {"left": s["tail"]}, "holds left; scores are arrays 'tail' and 'head'"),
        (
            lambda s: {"rank": s["tail"][0]},
            "ranks need head, relation, tail, side, rank; head, rel",
        ),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(
    scores: dict, tmp_path: Path, change: Callable, message: str
) -> None:
    np.savez(tmp_path / "s.npz", **change(scores))
    with pytest.raises(DataError, match=message):
        external.read(tmp_path / "s.npz", load_graph(SMALL), PROTOCOL)


NO_NUMBERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "complex64": lambda a: a.astype(np.complex64),
    ">f4 in the byte order of another": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "<U5": lambda a: a.astype("<U5"),
    r"\|S5": lambda a: a.astype("S5"),
    r"datetime64\[s\]": lambda a: a.astype("datetime64[s]"),
    r"timedelta64\[s\]": lambda a: a.astype("timedelta64[s]"),
    r"\('score', '<f4'\)": lambda a: a.astype([("score", np.float32)]),
    "bool": lambda a: a > 0,
    "float128": lambda a: a.astype(np.longdouble),
    r"shape \(\)": lambda a: np.array(0.5),
    "integers beyond 2": lambda a: a.astype(np.int64) + 2**60,
}
"""What the message says of arrays that could be cast to scores, and must not be."""


@pytest.mark.parametrize("said", NO_NUMBERS)
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_arrays_that_hold_no_plain_numbers_are_refused(
    scores: dict, tmp_path: Path, form: str, said: str
) -> None:
    if form == "npz":
        np.savez(tmp_path / "s.npz", tail=scores["tail"], head=NO_NUMBERS[said](scores["head"]))
    else:
        np.save(tmp_path / "s.npy", NO_NUMBERS[said](np.concatenate(list(scores.values()))))
    with pytest.raises(DataError, match=rf"s\.{form}: (head|scores): .*{said}"):
        external.read(tmp_path / f"s.{form}", load_graph(SMALL), PROTOCOL)


@pytest.mark.parametrize("kind", [torch.complex64, torch.bool])
def test_tensors_that_hold_no_plain_numbers_are_refused(
    scores: dict, tmp_path: Path, kind: torch.dtype
) -> None:
    tensors = {side: torch.from_numpy(values) for side, values in scores.items()}
    save_file({**tensors, "head": tensors["head"].to(kind)}, tmp_path / "s.safetensors")
    with pytest.raises(DataError, match=r"s\.safetensors: (head: holds|cannot be read)"):
        external.read(tmp_path / "s.safetensors", load_graph(SMALL), PROTOCOL)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32, np.int64])
def test_numbers_that_need_no_rounding_are_scores(
    scores: dict, tmp_path: Path, kind: type[np.number]
) -> None:
    whole = {side: values.clip(-1000, 1000) for side, values in scores.items()}
    np.savez(tmp_path / "s.npz", **{side: values.astype(kind) for side, values in whole.items()})
    read = external.read(tmp_path / "s.npz", load_graph(SMALL), PROTOCOL)
    assert same(read.ranks, judged(whole))


def test_an_archive_is_no_npy_file(scores: dict, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", **scores)
    (tmp_path / "s.npz").rename(tmp_path / "s.npy")
    with pytest.raises(DataError, match=r"s\.npy: scores: is no array in \.npy format"):
        external.read(tmp_path / "s.npy", load_graph(SMALL), PROTOCOL)


def put(values: np.ndarray, bad: float) -> np.ndarray:
    changed = values.copy()
    changed[3, 5] = bad
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names[:-1], "1 of 40 entities are missing"),
        (lambda names: [*names[:-1], names[0]], "is listed 2 times"),
        (lambda names: [*names[:-1], "nobody"], "names.txt: the dataset has no entity 'nobody'"),
    ],
)
def test_a_list_of_columns_holds_every_entity_once(
    scores: dict, tmp_path: Path, change: Callable, message: str
) -> None:
    np.savez(tmp_path / "s.npz", **scores)
    names = change(list(load_graph(SMALL).entities))
    (tmp_path / "names.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match=message):
        external.read(
            tmp_path / "s.npz", load_graph(SMALL), PROTOCOL, entities=tmp_path / "names.txt"
        )


# --- ranks ----------------------------------------------------------------------------------


def lines_of(ranks: Ranks) -> list[list[str]]:
    """Return the rows of a file of realistic ranks that have at most one tie."""
    graph, found = load_graph(SMALL), []
    for side, counts in ranks.sides.items():
        values = rank_of(counts.better, counts.tied, "realistic")
        for (head, relation, tail), value in zip(ranks.triples.tolist(), values, strict=True):
            names = graph.entities[head], graph.relations[relation], graph.entities[tail]
            found.append([*names, side, f"{value:g}"])
    return found


def written(path: Path, rows: list[list[str]], separator: str = ",") -> Path:
    head = separator.join(external.ROWS)
    path.write_text("\n".join([head, *(separator.join(row) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "npz by name", "npz by id"])
def test_ranks_are_taken_as_they_are_said(scores: dict, tmp_path: Path, form: str) -> None:
    expected = judged(scores)
    rows = lines_of(expected)
    np.random.default_rng(0).shuffle(rows)
    graph = load_graph(SMALL)
    if form in ("csv", "tsv"):
        path = written(tmp_path / f"r.{form}", rows, "," if form == "csv" else "\t")
    else:
        columns = dict(zip(external.ROWS, map(np.array, zip(*rows, strict=True)), strict=True))
        columns["rank"] = columns["rank"].astype(float)
        if form == "npz by id":
            for name, known in (("head", graph.entities), ("tail", graph.entities),
                                ("relation", graph.relations)):  # fmt: skip
                columns[name] = np.array([known.index(str(value)) for value in columns[name]])
        path = tmp_path / "r.npz"
        np.savez(path, **columns)  # type: ignore[arg-type]
    given = external.read(path, graph, PROTOCOL)
    assert given.kind == "ranks"
    assert np.array_equal(given.ranks.triples, expected.triples)
    for a, b in zip(given.ranks.ranks("realistic"), expected.ranks("realistic"), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("rank", lambda a: a + 0j, "rank: holds complex128"),
        ("rank", lambda a: a.astype("U8"), "rank: holds <U8; needs float16, float32 or float64"),
        ("rank", lambda a: a.astype(">f8"), "rank: holds >f8 in the byte order of another"),
        ("rank", lambda a: a[:, None], r"rank: needs a value per query, .* \(40, 1\)"),
        (
            "rank",
            lambda a: a[0],
            r"rank: needs a value per query, \[queries\], has shape \(\)",
        ),
        ("side", lambda a: a.astype("S4"), r"side: holds \|S4; needs text"),
        ("head", lambda a: np.zeros(len(a)), "head: holds float64; needs integers, text"),
    ],
)
def test_arrays_of_ranks_are_never_cast(
    scores: dict, tmp_path: Path, column: str, change: Callable, message: str
) -> None:
    rows = lines_of(judged(scores))
    columns = dict(zip(external.ROWS, map(np.array, zip(*rows, strict=True)), strict=True))
    columns["rank"] = columns["rank"].astype(float)
    columns[column] = change(columns[column])
    np.savez(tmp_path / "r.npz", **columns)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        external.read(tmp_path / "r.npz", load_graph(SMALL), PROTOCOL)


def test_a_byte_order_mark_is_no_part_of_a_name(scores: dict, tmp_path: Path) -> None:
    """Excel writes one before "CSV UTF-8"."""
    graph, rows = load_graph(SMALL), lines_of(judged(scores))
    path = written(tmp_path / "r.csv", rows)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    read = external.read(path, graph, PROTOCOL).ranks
    assert read.ranks("realistic")[0].tolist() == judged(scores).ranks("realistic")[0].tolist()
    np.savez(tmp_path / "s.npz", **scores)
    (tmp_path / "names.txt").write_text("\ufeff" + "\n".join(graph.entities), encoding="utf-8")
    named = external.read(tmp_path / "s.npz", graph, PROTOCOL, entities=tmp_path / "names.txt")
    assert same(named.ranks, judged(scores))


def test_ranks_by_id_in_a_text_file(scores: dict, tmp_path: Path) -> None:
    graph, rows = load_graph(SMALL), lines_of(judged(scores))
    for row in rows:
        known = (graph.entities, graph.relations, graph.entities)
        row[:3] = [str(names.index(name)) for names, name in zip(known, row[:3], strict=True)]
    path = written(tmp_path / "r.csv", rows)
    found = external.read(path, graph, PROTOCOL, naming="id").ranks
    assert found.ranks("realistic")[0].tolist() == judged(scores).ranks("realistic")[0].tolist()


def edited(place: int, column: int, value: str) -> Callable[[list], list]:
    def edit(rows: list) -> list:
        rows[place][column] = value
        return rows

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows[1:], r"1 of 20 head queries are not answered, that of \("),
        (lambda rows: [*rows, rows[0]], r"r.csv:42: the head of \(.* is answered once more than"),
        (edited(0, 0, "nobody"), "r.csv:2: the dataset has no entity 'nobody'"),
        (edited(4, 1, "owns"), "r.csv:6: the dataset has no relation 'owns'"),
        (edited(0, 3, "both"), "r.csv:2: side is head or tail, whichever was predicted; not both"),
        (edited(0, 4, "first"), "r.csv:2: rank 'first' is no number"),
        (edited(0, 4, "nan"), "r.csv:2: rank nan is no number"),
        (edited(0, 4, "inf"), "r.csv:2: rank inf is no number"),
        (edited(0, 4, "0"), "r.csv:2: rank 0 is below 1"),
        (edited(0, 4, "2.3"), "r.csv:2: rank 2.3 is neither whole nor half"),
        (edited(0, 4, "41"), "r.csv:2: rank 41 is beyond the last of the .* made with another"),
        (lambda rows: [row[:4] for row in rows], "r.csv:2: not as many values as columns"),
    ],
)
def test_ranks_that_cannot_be_true_are_refused_by_line(
    scores: dict, tmp_path: Path, edit: Callable, message: str
) -> None:
    path = written(tmp_path / "r.csv", edit(lines_of(judged(scores))))
    with pytest.raises(DataError, match=message):
        external.read(path, load_graph(SMALL), PROTOCOL)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.csv", None, DataError, "none.csv: no such file"),
        ("r.csv", b"head,tail\n", DataError, r"r.csv:1: .*relation, side, rank is missing"),
        ("r.csv", b"\xff\xfe", DataError, r"r.csv:1: not UTF-8 \(byte 0xff\)"),
        ("r.npz", b"rubbish", DataError, "r.npz: cannot be read"),
        ("r.npy", b"rubbish", DataError, "r.npy: cannot be read"),
        ("r.safetensors", b"rubbish", DataError, "r.safetensors: cannot be read"),
        ("r.pt", b"", ConfigError, "a format '.pt' is not known: .csv, .tsv"),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    tmp_path: Path, name: str, content: bytes, error: type[Exception], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        external.read(tmp_path / name, load_graph(SMALL), PROTOCOL)


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def harness(tmp_path: Path) -> Callable[..., Any]:
    home = str(tmp_path / "home")
    return lambda *words: CliRunner().invoke(app, [*map(str, words), "--home", home])


def test_an_external_run_stands_in_a_table_with_its_footnote(
    scores: dict, tmp_path: Path, harness: Callable[..., Any]
) -> None:
    np.savez(tmp_path / "s.npz", **scores)
    better = {side: values + 1e6 * (values > 0) for side, values in scores.items()}
    for seed in (0, 1):
        np.savez(tmp_path / f"s{seed}.npz", **{k: v + seed for k, v in better.items()})
        path = tmp_path / f"s{seed}.npz"
        done = harness("score", path, "--dataset", SMALL, "--name", "Theirs", "--seed", seed)
        assert done.exit_code == 0, done.output
        rows = written(tmp_path / f"r{seed}.csv", lines_of(judged(scores)))
        done = harness("score", rows, "--dataset", SMALL, "--name", "Said", "--seed", seed)
        assert done.exit_code == 0, done.output
    assert "scored elsewhere, ranks not checked" in done.stdout
    assert "scored elsewhere; the scores were ranked here" in done.stdout.replace("\n   ", " ")
    store = open_store(tmp_path / "home" / "harness.db")
    table = suite_table(store, "external", tests=PairedTests(tmp_path / "home" / "runs"))
    assert table.tests > 0  # query by query, as runs of this harness are
    store.close()
    shown = harness("runs", "list").stdout
    assert shown.count("ext-") == 4
    run_id = next(word for word in shown.split() if word.startswith("ext-"))
    detail = harness("runs", "show", run_id).stdout
    assert "harness score" in detail
    assert "test_split.test.count" in detail
    assert harness("db", "check").exit_code == 0
    for words in (
        ["runs", "retest", run_id],
        ["predict", run_id, "--relation", "x", "--head", "y"],
    ):
        done = harness(*words)
        assert "was evaluated from an external file: it has no model" in str(done.exception)


def test_a_seed_that_no_database_can_hold_is_refused(harness: Callable[..., Any]) -> None:
    words = ["--dataset", SMALL, "--name", "Theirs", "--seed", 2**63]
    assert "--seed: " in str(harness("score", "s.npz", *words).exception)


def test_a_second_file_under_the_same_name_is_refused(
    scores: dict, tmp_path: Path, harness: Callable[..., Any]
) -> None:
    """Trying files until the test split likes one leaves a trace."""
    for name, factor in (("a", 1), ("b", -1)):
        np.savez(tmp_path / f"{name}.npz", **{k: factor * v for k, v in scores.items()})
    words = ["--dataset", SMALL, "--name", "Theirs"]
    for _ in range(2):
        begun = harness("score", tmp_path / "a.npz", *words)
        assert begun.exit_code == 0
        assert "a new one is begun" not in begun.stderr
    other = harness("score", tmp_path / "a.npz", *words, "--suite", "externals")
    assert "a new one is begun; the nearest stored one is 'external'" in other.stderr
    done = harness("score", tmp_path / "b.npz", *words)
    assert isinstance(done.exception, ConfigError)
    assert "a test split is scored once" in str(done.exception)
    assert harness("score", tmp_path / "b.npz", *words, "--seed", 1).exit_code == 0


def test_a_row_of_a_suite_is_not_taken(
    scores: dict, tmp_path: Path, harness: Callable[..., Any]
) -> None:
    suite = tmp_path / "own.yaml"
    suite.write_text(f"name: own\ndatasets: ['{SMALL}']\nrows: [popularity]\nseeds: [0]\n")
    np.savez(tmp_path / "s.npz", **scores)
    assert harness("run", suite).exit_code == 0
    words = ["score", tmp_path / "s.npz", "--dataset", SMALL, "--suite", "own", "--name"]
    done = harness(*words, "Popularity")
    assert isinstance(done.exception, ConfigError)
    assert "has a row 'Popularity' on" in str(done.exception)
    assert harness(*words, "Theirs").exit_code == 0
    again = harness("run", suite)
    assert "Theirs" in again.stdout  # planned anew, and still there
    assert "Popularity" in again.stdout


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--name", "x" * 401, "has 401 characters, at most 400 can be stored"),
        ("--name", "\udcff", r"--name '\\udcff': holds half of a surrogate pair"),
        ("--suite", "x" * 201, "has 201 characters, at most 200 can be stored"),
    ],
)
def test_a_name_that_no_store_can_hold_is_refused(
    harness: Callable[..., Any], tmp_path: Path, option: str, text: str, said: str
) -> None:
    given = {"--dataset": SMALL, "--name": "Theirs", option: text}
    words = [word for pair in given.items() for word in pair]
    refused = harness("score", tmp_path / "s.npz", *words)
    assert isinstance(refused.exception, ConfigError)
    assert re.search(said, str(refused.exception))


def test_external_runs_travel_with_their_ranks(
    scores: dict, tmp_path: Path, harness: Callable[..., Any]
) -> None:
    np.savez(tmp_path / "s.npz", **scores)
    harness("score", tmp_path / "s.npz", "--dataset", SMALL, "--name", "Theirs")
    assert harness("db", "export", "--out", tmp_path / "records").exit_code == 0
    runs = tmp_path / "there"
    store = open_store(tmp_path / "other.db")
    from harness.store.archive import import_records

    (run_id,) = import_records(store, tmp_path / "records", runs=runs).added
    assert (runs / run_id / "ranks.npz").is_file()
    assert store.get(run_id).spec.model.options["label"] == "Theirs"
    (archive,) = (tmp_path / "records").glob("*.ranks.npz")
    archive.write_bytes(b"x")
    with pytest.raises(StoreError, match="not a complete file of ranks"):
        import_records(store, tmp_path / "records", runs=runs)
    store.close()


def test_a_study_that_goes_on_keeps_the_row(
    harness: Callable[..., Any], scores: dict, tmp_path: Path
) -> None:
    suite = tmp_path / "searched.yaml"
    suite.write_text(
        f"name: searched\ndatasets: ['{SMALL}']\nrows: [transe]\nseeds: [0]\n"
        "base: {training.epochs: 1, model.dim: 4, negatives.count: 2}\n"
        "study: {sampler: random, trials: 2, space: {optimiser.lr: {low: 0.001, high: 0.1}}}\n"
    )
    np.savez(tmp_path / "theirs.npz", **scores)
    given = ("--dataset", SMALL, "--name", "theirs", "--suite", "searched")
    for words in (
        ("study", "run", suite, "--trials", "1"),
        ("score", tmp_path / "theirs.npz", *given),
        ("study", "run", suite),
    ):
        done = harness(*words)
        assert done.exit_code == 0, done.output
    with closing(open_store(tmp_path / "home" / "harness.db")) as store:
        cells = store.cells("searched")
    assert [c.label for c in cells if c.run_id.startswith(EXTERNAL_ID)] == ["theirs"]
    assert len({c.position for c in cells}) == 3
