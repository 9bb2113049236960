from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.report import files
from harness.report.definition import Definition, parse_metric

SHIPPED = ("ablation", "backbone", "fusion", "main", "main_native", "main_own", "quickstart")
FIGURES = ("experts", "thresholds")


def test_every_shipped_definition_loads() -> None:
    assert set(SHIPPED) <= set(files.available())
    for name in files.available():
        assert files.load_any(name).name == name


def test_published_table_two_is_complete() -> None:
    table = files.load_published().tables["main"]
    assert len(table.rows) == 20
    figures = [v for row in table.rows.values() for values in row.values() for v in values]
    # 13 columns; PairRE has none of six
    assert sum(v is not None for v in figures) == 20 * 13 - 6
    assert table.value("RotatE", "mkg-y", "mrr") == 34.95
    assert table.value("MoCME", "tiva", "hits@10") == 95.61
    assert table.value("TransE", "mkg-w", "hits@10") is None
    assert table.value("TransE", "atlas", "mrr") is None


def test_the_base_configuration_is_the_same_in_all_published_tables() -> None:
    tables = files.load_published().tables
    full = [tables["main"].value("MoCME", "db15k", m) for m in ("mrr", "hits@1", "hits@10")]
    for name, row in (("ablation", "full"), ("fusion", "complementarity"), ("backbone", "cmoe")):
        assert list(tables[name].rows[row]["db15k"]) == full


def test_main_lists_every_published_row_once() -> None:
    rows = files.load_definition("main").rows
    unpublished = {"No learning", "Features added to the structure"}
    published = [row.published for row in rows if row.group not in unpublished]
    assert published == list(files.load_published().tables["main"].rows)


def test_models_named_by_definitions_are_registered() -> None:
    from harness import catalog
    from harness.model import MODELS

    catalog.load_models()
    for name in SHIPPED:
        for row in files.load_definition(name).rows:
            assert not row.model or row.model in MODELS, (name, row.label)
    for name in FIGURES:
        assert files.load_figure(name).model in MODELS, name


def test_metric_with_bucket() -> None:
    assert parse_metric("hits@10") == ("hits@10", "all", "test")
    assert parse_metric("mrr/cold") == ("mrr", "cold", "test")
    assert parse_metric("valid:mrr/warm") == ("mrr", "warm", "valid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["hit@10"]}, "unknown metric 'hit@10'; did you mean 'hits@10'?"),
        ({"metrics": ["mrr/clod"]}, "unknown bucket 'clod'; did you mean 'cold'?"),
        ({"metrics": ["vlaid:mrr"]}, "unknown split 'vlaid'; did you mean 'valid'?"),
        ({"metrics": ["valid:easy"]}, "metric 'easy' has no splits or buckets; write 'easy'"),
        ({"metrics": []}, "at least 1 item"),
        ({"rows": [{"label": "x"}, {"label": "X"}]}, "row 'x' is listed twice"),
        ({"datasets": [{"name": "a"}, {"name": "a"}]}, "dataset 'a' is listed twice"),
        (
            {"datasets": [{"name": "atlas"}, {"name": "b", "against": "atals"}]},
            "dataset 'b': cannot stand against 'atals'; did you mean 'atlas'?",
        ),
        (
            {"baseline": "x", "datasets": [{"name": "a"}, {"name": "b", "against": "a"}]},
            "dataset 'b': changes are against 'a' or against the baseline 'x'",
        ),
        (
            {"datasets": [{"name": "a"}, {"name": "b", "against": "a", "metrics": ["mrr"]}]},
            "dataset 'b': has the metrics of 'a'",
        ),
        (
            {
                "attributes": [{"name": "text"}],
                "rows": [{"label": "x", "attributes": {"txt": True}}],
            },
            "row 'x': unknown attribute 'txt'; did you mean 'text'?",
        ),
    ],
)
def test_mistakes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="error") as error:
        Definition.model_validate({"title": "t", "suite": "s", **change})
    assert message in str(error.value)


def _write(folder: Path, name: str, text: str) -> None:
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports" / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, "main", "title: Mine\nsuite: mine\n")
    _write(tmp_path, "extra", "title: Extra\nsuite: mine\n")
    assert files.load_definition("main").title == "Mine"
    assert {"extra", "ablation"} <= set(files.available())


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\nsuite: s\n", encoding="utf-8")
    assert files.load_definition(str(path)).name == "mine"
    with pytest.raises(ConfigError, match="no such report definition"):
        files.load_definition(str(tmp_path / "other.yaml"))


def test_the_example_of_the_readme_is_a_definition(tmp_path: Path) -> None:
    readme = (files.shipped_folder() / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "example.yaml"
    path.write_text(readme.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert files.load_definition(str(path)).rows[0].published == "RotatE"


def test_unknown_table_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown table or figure 'mian'; did you mean 'main'"):
        files.load_definition("mian")


def test_a_wrong_key_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("title: Bad\nsuite: s\nmetrcis: [mrr]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml:3: metrcis: .*metrics"):
        files.load_definition(str(path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("published: mainn\n", "published: no table 'mainn'; did you mean 'main'"),
        (
            "published: main\nrows: [{label: x, published: Rotate}]\n",
            "no published row 'Rotate'; did you mean 'RotatE'",
        ),
        ("rows: [{label: x, published: RotatE}]\n", "'published' is not set"),
        ("published: main\nrows: [{label: x}]\n", "no row names a row of table 'main'"),
        ("name: other\n", r"bad\.yaml:3: name: a definition is called as its file is, 'bad'"),
    ],
)
def test_names_of_published_figures_are_checked(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"title: Bad\nsuite: s\n{lines}", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        files.load_definition(str(path))
