"""Expansion: from a suite to runs, every name and value checked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.catalog import load_models
from harness.config.override import parse_overrides
from harness.data.card import DatasetCard, DatasetSource
from harness.data.features import FeatureSet, FeatureTable
from harness.data.graph import KnowledgeGraph
from harness.errors import ConfigError, MissingDataError, suggest
from harness.plan.expand import Plan, expand, identify, without_missing
from harness.plan.spec import DataSpec, RunSpec
from harness.plan.suite import Suite, read_suite
from tests.toys import toy_graph


class Source(DatasetSource):
    """A dataset with three modalities in "all", one in "names" and none at hand in "published"."""

    def __init__(self, name: str) -> None:
        self.card = DatasetCard(
            name=name,
            title=name.upper(),
            folder=name,
            description="",
            licence="",
            citation="",
            source="",
        )

    def graph(self) -> KnowledgeGraph:
        return toy_graph(*[[(0, 0, 0)]] * 3, name=self.card.name)

    @property
    def feature_sets(self) -> Mapping[str, str]:
        return {"none": "", "names": "", "all": "", "published": ""}

    def features(self, name: str, graph: KnowledgeGraph) -> FeatureSet:
        if name == "published":
            raise MissingDataError("get them with 'harness data import'")
        names = {"none": (), "names": ("text",), "all": ("text", "image", "numeric")}[name]
        everyone = torch.ones(2, dtype=torch.bool)
        return FeatureSet(name, {m: FeatureTable(m, torch.ones(2, 3), everyone) for m in names})


SOURCES = {name: Source(name) for name in ("one", "two")}


def source_of(name: str) -> DatasetSource:
    if name.lower() == "uno":
        return SOURCES["one"]
    if name not in SOURCES:
        raise ConfigError(f"unknown dataset '{name}'{suggest(name, SOURCES)}")
    return SOURCES[name]


def plan_of(command: Sequence[str] = (), only: Sequence[str] = (), **suite: Any) -> Plan:
    load_models()
    full = {"name": "x", "datasets": ["one"], "seeds": [0], **suite}
    return expand(Suite.model_validate(full), parse_overrides(command), only, source_of=source_of)


def refusal(**suite: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_of(**suite)
    return str(caught.value)


def test_a_plan_is_rows_times_datasets_times_seeds_in_table_order() -> None:
    plan = plan_of(rows=["transe", "rotate"], datasets=["one", "two"], seeds=[0, 1])
    cells = [(r.spec.data.dataset, r.label, r.position, r.spec.seed) for r in plan.runs]
    assert cells == [
        ("one", "TransE", 0, 0),
        ("one", "TransE", 0, 1),
        ("one", "RotatE", 1, 0),
        ("one", "RotatE", 1, 1),
        ("two", "TransE", 2, 0),
        ("two", "TransE", 2, 1),
        ("two", "RotatE", 3, 0),
        ("two", "RotatE", 3, 1),
    ]
    assert plan.variant == ""


def test_later_layers_win() -> None:
    layers: dict[str, Any] = {
        "base": {"training": {"epochs": 1, "patience": 1, "batch_size": 1}, "optimiser.lr": 1.0},
        "datasets": [{"dataset": "one", "set": {"training": {"epochs": 2, "patience": 2}}}],
        "overrides": [
            {"when": {}, "set": {"training.epochs": 3, "training.evaluate_every": 3}},
            {"when": {"model": "rotate"}, "set": {"training.epochs": 4}},
            {"when": {"model": "rotate", "label": "TransE"}, "set": {"training.epochs": 99}},
        ],
        "rows": [{"model": "rotate", "set": {"model.dim": 8}}, "transe"],
    }
    rotate, transe = (run.spec for run in plan_of(**layers).runs)
    assert (rotate.training.epochs, transe.training.epochs) == (4, 3)
    assert (rotate.training.patience, rotate.training.batch_size) == (2, 1)
    assert rotate.model.options == {"dim": 8}
    changed = plan_of(command=("training.epochs=7", "model.dim=9"), **layers)
    assert [r.spec.training.epochs for r in changed.runs] == [7, 7]
    assert [r.spec.model.options for r in changed.runs] == [{"dim": 9}, {"dim": 9}]
    assert len(changed.variant) == 8


def test_an_option_for_all_is_for_the_models_that_have_it() -> None:
    plan = plan_of(rows=["lookup", "rotate"], base={"model.margin": 9})
    assert [run.spec.model.options for run in plan.runs] == [{}, {"margin": 9.0}]
    said = refusal(rows=["lookup", "rotate"], base={"model.margn": 9})
    assert said == (
        "base.model.margn: no model of this suite has an option 'margn'; did you mean 'margin'?"
    )


def test_an_option_for_a_named_model_must_be_one_of_its_options() -> None:
    said = refusal(rows=[{"model": "rotate", "set": {"model.l3": 1}}])
    assert said.startswith("rows[0].set.model.l3: model 'rotate': unknown key")
    override = {"when": {"model": "lookup"}, "set": {"model.dim": 1}}
    assert "overrides[0].set.model.dim" in refusal(rows=["lookup"], overrides=[override])


def test_every_error_has_its_line_and_all_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: x\n"
        "base: {training.epochss: 1}\n"
        "rows:\n"
        "  - {model: rotate, set: {model: {margin: wide}}}\n"
        "  - transe\n"
        "datasets: [one]\n"
    )
    load_models()
    with pytest.raises(ConfigError) as caught:
        expand(read_suite(file), source_of=source_of)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{file}:4: rows[0].set.model.margin: model 'rotate': input should")
    assert lines[1] == (f"{file}:2: base.training.epochss: unknown key; did you mean 'epochs'?")
    assert len(lines) == 2


def test_a_shared_file_may_name_rows_that_a_suite_lacks(tmp_path: Path) -> None:
    shared = "- {when: {label: PairRE}, set: {model.margin: 3}}\n"
    (tmp_path / "shared.yaml").write_text(shared)
    text = "name: s\nrows: [rotate]\ndatasets: [one]\noverrides:\n"
    file = tmp_path / "s.yaml"
    file.write_text(f"{text}  - include: shared.yaml\n")
    assert expand(read_suite(file), source_of=source_of).runs
    file.write_text(f"{text}  {shared}")
    with pytest.raises(ConfigError, match=r"s\.yaml:5: overrides\[0\]\.when\.label: no row is"):
        expand(read_suite(file), source_of=source_of)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": ["rotat"]}, "rows[0].model: unknown model 'rotat'; did you mean 'rotate'?"),
        ({"datasets": ["on"]}, "datasets[0].dataset: unknown dataset 'on'; did you mean 'one'?"),
        (
            {"datasets": [{"dataset": "one", "features": "name"}]},
            "datasets[0].features: dataset 'one' has no feature set 'name'; did you mean 'names'?",
        ),
        (
            {"exclude": [{"model": "rotat"}]},
            "exclude[0].model: unknown model 'rotat'; did you mean 'rotate'?",
        ),
        (
            {"overrides": [{"when": {"dataset": "tow"}, "set": {}}]},
            "overrides[0].when.dataset: unknown dataset 'tow'; did you mean 'two'?",
        ),
        ({"base": {"seed": 1}}, "base.seed: is an axis of the suite; use its 'seeds' or --only"),
        ({"base": {"a.b": 1, "a": {"b": 2}}}, "base.a.b: is given twice"),
        ({"rows": ["rotate", "rotate"]}, "rows[1]: two rows are called 'RotatE'"),
        (
            {"overrides": [{"when": {"label": ["RotatE", "RotetE"]}, "set": {}}]},
            "overrides[0].when.label: no row is called 'RotetE'; did you mean 'RotatE'?",
        ),
        (
            {"exclude": [{"label": "RotatD", "seed": 1}]},
            "exclude[0].label: no row is called 'RotatD'; did you mean 'RotatE'?",
        ),
        (
            {"overrides": [{"when": {"model": "pairre"}, "set": {}}]},
            "overrides[0].when.model: no row has the model 'pairre'",
        ),
        (
            {"exclude": [{"dataset": "two"}], "datasets": ["one"]},
            "exclude[0].dataset: the suite has no dataset 'two'",
        ),
        ({"exclude": [{}]}, "all of its cells are excluded"),
        (
            {"base": {"objective.egns.delta": [0.9, 0.1]}},
            "base.objective.egns.delta: delta must ascend",
        ),
        (
            {"base": {"optimiser": {"lr": 0.1, "name": "lazy_adam", "clip": 1}}},
            "base.optimiser.clip: clip needs the gradient of every entity",
        ),
        (
            {"base": {"objective.egns": {"smooth": 0, "gradient": "flow"}}},
            "base.objective.egns.gradient: gradient 'flow' needs smooth > 0",
        ),
        (
            {"rows": ["mocme"], "base": {"data": {"features": "all", "modalities": ["imge"]}}},
            "base.data.modalities: no modality 'imge' on 'one': feature set 'all' has text, image",
        ),
        (
            {"base": {"training.compile": True, "optimiser.name": "lazy_adam"}},
            "base.training.compile: training.compile has no gradient of single rows",
        ),
        (
            {"rows": ["mocme"], "base": {"model": {"backbone": "mlp", "mi.minimise_weight": 0.1}}},
            "base.model.mi.minimise_weight: model 'mocme': mi.minimise_weight needs",
        ),
        (
            {"base": {"adversary.kind": "wasserstein"}},
            "base.adversary.kind: wasserstein: RotatE has no vectors of modalities to fabricate",
        ),
        (
            {"rows": ["rsme"], "base": {"objective.loss": "margin", "data.features": "all"}},
            "base.objective.loss: margin asks each triple for its tail alone",
        ),
        (
            {"rows": ["complex"], "base": {"model.reciprocal": True}},
            "model 'complex': objective.loss: logistic asks each triple for its tail alone",
        ),
        (
            {
                "rows": ["adamf"],
                "base": {"adversary.kind": "logistic", "objective.loss": "k_vs_all"},
            },
            "base.adversary.kind: logistic takes triples, which objective.loss=k_vs_all lacks",
        ),
        (
            {"datasets": ["one", {"dataset": "uno", "set": {"training.epochs": 3}}]},
            "'one' with features 'none' stands there twice with different settings",
        ),
        ({"datasets": ["one", "two", "uno"]}, "datasets[2]: 'one' is given twice"),
        (
            {"datasets": [{"dataset": "one", "features": "names"}] * 2},
            "datasets[1]: 'one' is given twice",
        ),
        (
            {"datasets": ["one", {"dataset": "one", "features": "none"}]},
            "datasets[1]: 'one' is given twice",
        ),
    ],
)
def test_bad_names_and_values_are_refused(change: dict[str, Any], said: str) -> None:
    assert said in refusal(**({"rows": ["rotate"]} | change))


def test_cells_are_excluded_with_a_reason() -> None:
    exclude = [
        {"model": "transe", "dataset": "UNO", "reason": "diverges"},
        {"label": "RotatE", "seed": 1},
    ]
    plan = plan_of(
        rows=["transe", "rotate"], datasets=["one", "two"], seeds=[0, 1], exclude=exclude
    )
    assert len(plan.runs) == 8 - 2 - 2
    said = {(e.label, e.dataset, e.seed): e.reason for e in plan.excluded}
    assert said == {
        ("TransE", "one", 0): "diverges",
        ("TransE", "one", 1): "diverges",
        ("RotatE", "one", 1): "excluded by the suite",
        ("RotatE", "two", 1): "excluded by the suite",
    }


def test_feature_sets_of_a_dataset_share_the_positions_of_rows() -> None:
    datasets = [{"dataset": "one", "features": f} for f in ("names", "all")]
    plan = plan_of(rows=["mocme", "rotate"], datasets=datasets)
    assert [(c.label, c.features, c.position) for c in plan.cells] == [
        ("MoCME", "names", 0),
        ("RotatE", "none", 1),
        ("MoCME", "all", 0),
    ]


def test_a_structural_model_has_one_run_for_all_feature_sets() -> None:
    datasets = [{"dataset": "one", "features": f} for f in ("names", "all")]
    plan = plan_of(rows=["rotate", "mocme"], datasets=datasets)
    assert [(r.label, r.spec.data.features) for r in plan.runs] == [
        ("RotatE", "none"),
        ("MoCME", "names"),
        ("MoCME", "all"),
    ]


def test_a_model_of_one_modality_is_given_that_alone_and_says_when_it_is_not_there() -> None:
    datasets = [{"dataset": "one", "features": f} for f in ("none", "names", "all")]
    plan = plan_of(rows=["ikrl"], datasets=datasets)
    [run] = plan.runs
    assert run.spec.data == DataSpec(dataset="one", features="all", modalities=("image",))
    assert [e.reason for e in plan.excluded] == [
        "needs image: feature set 'none' has no modality; data.features can be names, all, "
        "published",
        "needs image: feature set 'names' has text",
    ]
    variants = [{"label": f"w/o {name}", "drop": name} for name in ("image", "text")]
    ablation = {"base": {"model": "ikrl"}, "variants": variants}
    assert [e.reason for e in plan_of(ablation=ablation, datasets=datasets[2:]).excluded] == [
        "needs image: feature set 'all' has text, image, numeric",
        "the model does not read 'text', so it cannot be left out",
    ]


EGNS = {"objective.weighting": "egns"}
IDLE: list[tuple[str, Any, dict[str, Any]]] = [
    ("negatives.share", 8, {"negatives.sampler": "shared"}),
    ("objective.margin", 2.0, {"objective.loss": "margin"}),
    ("objective.temperature", 1.0, {"objective.weighting": "egns_adversarial"}),
    ("objective.egns.easy", 0.1, EGNS),
    ("objective.reduction", "sum", EGNS),
    ("protocol.valid_filter", ["train", "valid", "test"], {"protocol.filter": ["test"]}),
]
"""An option, a value of it, and a setting beside which it is looked at."""


@pytest.mark.parametrize(("option", "value", "needed"), IDLE)
def test_an_option_that_does_nothing_beside_the_others_is_no_part_of_a_run(
    option: str, value: Any, needed: dict[str, Any]
) -> None:
    def spec(**base: Any) -> RunSpec:
        weights = {"objective.weighting": "uniform"} if option == "objective.temperature" else {}
        return plan_of(rows=["rotate"], base=weights | base).runs[0].spec

    assert spec(**{option: value}) == spec()
    assert spec(**{option: value} | needed) != spec(**needed)


def test_patience_is_no_part_of_a_run_whose_last_epoch_is_kept() -> None:
    def spec(**training: Any) -> RunSpec:
        return plan_of(rows=["rotate"], base={"training": training}).runs[0].spec

    assert spec(select="last", patience=2) == spec(select="last")
    assert spec(select="last") != spec()
    assert spec(patience=2) != spec()
    assert spec(select="validation") == spec()


@pytest.mark.parametrize("option", ["optimiser.auxiliary_lr", "training.compile"])
def test_an_option_that_does_nothing_with_a_model_is_no_part_of_its_runs(option: str) -> None:
    rows = ["rotate", "mocme"]
    with_it, without = (plan_of(rows=rows, base=base).runs for base in ({option: 1}, {}))
    assert with_it[0] == without[0]
    assert with_it[1] != without[1]


def test_an_ablation_leaves_one_thing_out_at_a_time() -> None:
    ablation = {
        "base": {"model": "mocme", "label": "full", "set": {"model.dim": 8}},
        "variants": [
            {"label": "w/o image", "drop": "image"},
            {"label": "w/o all", "drop": ["text", "image", "numeric"]},
            {"label": "w/o weights", "set": {"model.fusion.kind": "mean"}},
            {"label": "w/o audio", "drop": "audio"},
        ],
    }
    plan = plan_of(ablation=ablation, datasets=[{"dataset": "one", "features": "all"}])
    full, image, everything, weights = (run.spec for run in plan.runs)
    assert full.data == DataSpec(dataset="one", features="all")
    assert image.data.modalities == ("text", "numeric")
    assert everything.data == DataSpec(dataset="one")
    assert weights.model.options == {"dim": 8, "fusion": {"kind": "mean"}}
    assert plan.excluded[0].reason == (
        "no modality 'audio' to leave out: feature set 'all' has text, image, numeric"
    )
    assert [run.position for run in plan.runs] == [0, 1, 2, 3]


def test_features_that_are_not_here_exclude_the_cell_and_say_how_to_get_them() -> None:
    variants = [{"label": "w/o image", "drop": "image"}]
    ablation = {"base": {"model": "mocme"}, "variants": variants}
    plan = plan_of(ablation=ablation, datasets=[{"dataset": "one", "features": "published"}])
    assert [run.label for run in plan.runs] == ["MoCME"]
    assert "harness data import" in plan.excluded[0].reason


def test_only_selects_by_any_value_of_every_key() -> None:
    axes: dict[str, Any] = {
        "rows": ["transe", "rotate", {"model": "rotate", "label": "a, b"}],
        "datasets": ["one", "two"],
        "seeds": [0, 1],
    }
    assert len(plan_of(only=("model=rotate,dataset=uno",), **axes).runs) == 4
    assert len(plan_of(only=("seed=0", "seed=1,model=transe"), **axes).runs) == 4
    assert len(plan_of(only=("label=a, b,seed=1",), **axes).runs) == 2
    assert plan_of(only=("seed=0",), **axes).variant == ""


def test_only_leaves_out_what_is_excluded_elsewhere() -> None:
    exclude = [{"model": "rotate", "reason": "slow"}, {"dataset": "two", "reason": "large"}]
    suite: dict[str, Any] = {"rows": ["transe", "rotate", "distmult"], "datasets": ["one", "two"]}
    plan = plan_of(only=("dataset=one",), exclude=exclude, **suite)
    assert {(e.label, e.reason) for e in plan.excluded} == {("RotatE", "slow")}
    assert not plan_of(only=("dataset=one,model=transe",), exclude=exclude, **suite).excluded


@pytest.mark.parametrize(
    "only", ["model=rotate", "label=RotatE,dataset=one", "model=rotate,seed=0"]
)
def test_only_says_why_what_it_asks_for_is_not_run(only: str) -> None:
    exclude = [{"model": "rotate", "reason": "slow"}]
    with pytest.raises(ConfigError, match=r"^--only: RotatE on one is not run: slow$"):
        plan_of(only=(only,), exclude=exclude, rows=["transe", "rotate"], datasets=["one", "two"])


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("model=rotat", "--only model=rotat: no run has it; did you mean 'rotate'?"),
        ("model=rotat,model=rotate", "--only model=rotat: no run has it; did you mean 'rotate'?"),
        ("modle=rotate", "--only modle: unknown key; did you mean 'model'?"),
        ("rotate", "--only rotate: write KEY=VALUE"),
        ("seed=x", "--only seed=x: a seed is a whole number"),
        ("dataset=one, uno", "for several write --only dataset=one,dataset=uno"),
        ("dataset=my graph", "--only dataset 'my graph': a dataset's name is made of letters"),
        ("model=rotate,label=TransE", "--only: no run has all of it"),
    ],
)
def test_only_says_what_it_did_not_find(only: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(rows=["rotate", "transe"], only=(only,))
    assert said in str(caught.value)


def test_an_untrained_model_does_not_depend_on_training_settings() -> None:
    plan = plan_of(rows=["lookup"], base={"training.epochs": 3, "negatives.count": 2})
    assert plan.runs == plan_of(rows=["lookup"]).runs


def digests(data: DataSpec) -> tuple[str, str]:
    if data.features == "published":
        raise MissingDataError("get them with 'harness data import'")
    return f"graph-{data.dataset}", "" if data.features == "none" else data.features


def test_rows_that_describe_one_run_share_its_identity() -> None:
    rows = ["rotate", {"model": "rotate", "label": "again", "set": {"model.margin": 4}}]
    ids = [run.run_id for run in identify(plan_of(rows=rows).runs, digests)]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_everything_that_changes_a_result_changes_the_identity() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seeds": [1]},
        {"datasets": ["two"]},
        {"base": {"training.epochs": 7}},
        {"base": {"model.margin": 7}},
        {"rows": ["transe"]},
    ]
    ids = [identify(plan_of(**({"rows": ["rotate"]} | c)).runs, digests)[0].run_id for c in changes]
    assert len(set(ids)) == len(changes)


def test_runs_without_their_data_are_set_aside() -> None:
    datasets = [{"dataset": "one", "features": f} for f in ("names", "published")]
    plan = without_missing(plan_of(rows=["mocme"], datasets=datasets, seeds=[0, 1]), digests)
    assert {run.spec.data.features for run in plan.runs} == {"names"}
    assert [(e.features, e.seed, e.reason) for e in plan.excluded] == [
        ("published", seed, "get them with 'harness data import'") for seed in (0, 1)
    ]
    with pytest.raises(MissingDataError, match="harness data import"):
        without_missing(plan_of(rows=["mocme"], datasets=datasets[1:]), digests)


# --- variations and corrupted features ----------------------------------------------------

DROP = {"kind": "drop", "share": 0.5}
VARY = [{"label": "intact"}, {"label": "half", "set": {"data.corrupt": [DROP]}}]
ALL = [{"dataset": "one", "features": "all"}]


def test_every_row_is_repeated_with_each_variation() -> None:
    plan = plan_of(rows=[{"model": "mocme", "label": "a"}, "rotate"], vary=VARY, datasets=ALL)
    rows = [(run.label, len(run.spec.data.corrupt)) for run in plan.runs]
    assert rows == [("a, intact", 0), ("a, half", 1), ("RotatE, intact", 0), ("RotatE, half", 0)]


def test_a_row_that_is_not_varied_stands_once() -> None:
    plan = plan_of(rows=[{"model": "rotate", "varied": False}, "mocme"], vary=VARY, datasets=ALL)
    assert [run.label for run in plan.runs] == ["RotatE", "MoCME, intact", "MoCME, half"]


def test_places_of_scopes_are_right_or_not_told_beside_one_that_cannot_be_read() -> None:
    unreadable = {"when": {"model": "rotat"}, "set": {}}
    absent = {"when": {"model": "pairre"}, "set": {}}
    told = refusal(rows=["rotate"], overrides=[unreadable, absent])
    assert told.count("overrides[0]") == 1
    told = refusal(rows=["rotate"], overrides=[{"when": {}, "set": {}}, absent])
    assert told.startswith("overrides[1].when.model: no row has the model 'pairre'")


def test_a_modality_that_nobody_knows_is_refused() -> None:
    wrong: dict[str, Any] = {"label": "b", "drop": "imge"}
    said = refusal(ablation={"base": {"model": "mocme"}, "variants": [wrong]}, datasets=ALL)
    assert said == ("row 'b': no modality is called 'imge', to leave out; did you mean 'image'?")
    for name, nearest in (("imge", "did you mean 'image'?"), ("text_a", "did you mean 'text'?")):
        wrong = {"label": "b", "set": {"data.corrupt": [{**DROP, "modality": name}]}}
        said = refusal(ablation={"base": {"model": "mocme"}, "variants": [wrong]}, datasets=ALL)
        assert said == f"row 'b': no modality is called '{name}', to corrupt; {nearest}"


def test_variations_are_for_ablations_too() -> None:
    ablation = {"base": {"model": "mocme"}, "variants": [{"label": "w/o text", "drop": "text"}]}
    plan = plan_of(ablation=ablation, vary=VARY, datasets=ALL)
    assert [run.label for run in plan.runs][2:] == ["w/o text, intact", "w/o text, half"]


def test_a_variation_with_a_mistake_is_told_by_its_place() -> None:
    wrong = [{"label": "x", "set": {"data.corrupt": [{"kind": "drop", "share": 2}]}}]
    said = refusal(rows=["mocme"], vary=wrong, datasets=ALL)
    assert said.startswith("vary[0].set.data.corrupt: [0].share: ")
    twice = refusal(rows=["mocme"], vary=[{"label": "x"}, {"label": "x"}], datasets=ALL)
    assert "vary[1]: two rows are called 'MoCME, x'" in twice
    unknown = refusal(rows=["mocme"], vary=[{"label": "x", "set": {"model.dmi": 3}}], datasets=ALL)
    assert "no model of this suite has an option 'dmi'" in unknown


def test_a_corruption_of_what_is_not_there_is_no_run() -> None:
    wanted = {"base": {"data.corrupt": [DROP | {"modality": "audio"}]}}
    assert "no modality 'audio' to corrupt" in refusal(rows=["mocme"], datasets=ALL, **wanted)
    assert "nothing to corrupt" in refusal(rows=["mocme"], base={"data.corrupt": [DROP]})
