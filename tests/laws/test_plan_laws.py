"""Laws of plans: what a run's identity depends on, and what it does not."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.catalog import load_models
from harness.config.override import flatten, nest
from harness.config.yaml_source import parse_value, read_yaml
from harness.errors import ConfigError
from harness.model import MODELS
from harness.plan.expand import Plan, expand, identify
from harness.plan.spec import DataSpec, RunSpec
from harness.plan.suite import Suite

load_models()

DATASETS = ("mkg-w", "mkg-y", "db15k", "tiva")
NAMES = tuple(
    name
    for name in MODELS
    if not MODELS.get(name).capabilities.missing(()) and not MODELS.get(name).reciprocal
)
"""Models that can run without features and with the default loss, as these plans are."""

axes = st.fixed_dictionaries(
    {
        "rows": st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
        "datasets": st.lists(st.sampled_from(DATASETS), min_size=1, unique=True),
        "seeds": st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    }
)
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def plan_of(**suite: Any) -> Plan:
    return expand(Suite.model_validate({"name": "x", **suite}))


def digests(data: DataSpec) -> tuple[str, str]:
    return f"graph of {data.dataset}", "" if data.features == "none" else data.features


def identities(plan: Plan) -> set[str]:
    return {run.run_id for run in identify(plan.runs, digests)}


@quick
@given(axes)
def test_a_plan_is_the_full_product(suite: dict[str, Any]) -> None:
    plan = plan_of(**suite)
    size = len(suite["rows"]) * len(suite["datasets"]) * len(suite["seeds"])
    assert len(plan.runs) == len(identities(plan)) == size


@quick
@given(axes, st.randoms())
def test_the_order_in_a_suite_changes_no_identity(suite: dict[str, Any], random: Any) -> None:
    shuffled = {key: random.sample(values, len(values)) for key, values in suite.items()}
    assert identities(plan_of(**suite)) == identities(plan_of(**shuffled))


@quick
@given(axes, st.data())
def test_excluded_and_planned_cells_are_the_product(suite: dict[str, Any], data: Any) -> None:
    one = data.draw(st.sampled_from([(m, d) for m in suite["rows"] for d in suite["datasets"]]))
    rule = {"model": one[0], "dataset": one[1]}
    everything = plan_of(**suite)
    if len(suite["rows"]) * len(suite["datasets"]) == 1:
        with pytest.raises(ConfigError, match="excluded"):
            plan_of(**suite, exclude=[rule])
        return
    plan = plan_of(**suite, exclude=[rule])
    assert [(c.key, c.position) for c in plan.cells] == [
        (c.key, c.position) for c in everything.cells
    ]
    for cell in plan.cells:
        assert bool(cell.reason) == ((cell.spec.model.name, cell.dataset) == one)


@quick
@given(axes, st.data())
def test_only_keeps_what_it_names_as_it_was(suite: dict[str, Any], data: Any) -> None:
    model = data.draw(st.sampled_from(suite["rows"]))
    seed = data.draw(st.sampled_from(suite["seeds"]))
    plan = plan_of(**suite)
    part = plan.select([f"model={model}", f"seed={seed}"])
    kept = [r for r in plan.runs if r.spec.model.name == model and r.spec.seed == seed]
    assert list(part.runs) == kept


@quick
@given(st.sampled_from(NAMES), st.data())
def test_a_default_written_out_changes_no_identity(model: str, data: Any) -> None:
    """Options and run values alike: any part of the defaults may be spelled out."""
    plain = plan_of(rows=[model], datasets=["mkg-w"])
    run = plain.runs[0].spec.model_dump(mode="json", exclude={"model", "data", "seed"})
    options = MODELS.get(model).Config().model_dump(mode="json")
    leaves = {leaf.path: leaf.value for leaf in flatten({**run, "model": options})}
    chosen = data.draw(st.lists(st.sampled_from(sorted(leaves)), unique=True))
    written = nest({path: leaves[path] for path in chosen})
    row = {"model": model, "set": written}
    assert identities(plan_of(rows=[row], datasets=["mkg-w"])) == identities(plain)


@quick
@given(
    st.dictionaries(
        st.sampled_from(["training.epochs", "negatives.count", "training.batch_size"]),
        st.integers(1, 999),
        min_size=1,
    )
)
def test_dots_and_nesting_say_the_same(values: dict[str, int]) -> None:
    nested = nest({tuple(key.split(".")): value for key, value in values.items()})
    axes = {"rows": ["rotate"], "datasets": ["mkg-w"]}
    assert plan_of(base=values, **axes) == plan_of(base=nested, **axes)
    of_row = {"rows": [{"model": "rotate", "set": values}], "datasets": ["mkg-w"]}
    assert identities(plan_of(**of_row)) == identities(plan_of(base=nested, **axes))


@quick
@given(st.integers(1, 500), st.integers(1, 500), st.floats(1e-6, 1.0))
def test_a_specification_survives_json(epochs: int, count: int, lr: float) -> None:
    base = {"training.epochs": epochs, "negatives.count": count, "optimiser.lr": lr}
    spec = plan_of(rows=["mocme"], datasets=["mkg-w"], base=base).runs[0].spec
    back = RunSpec.model_validate(json.loads(spec.model_dump_json()))
    same: dict[str, Any] = {"dataset_digest": "d", "feature_digest": "", "model_numerics": 1}
    assert back == spec
    assert back.run_id(**same) == spec.run_id(**same)


text = st.text(
    st.characters(max_codepoint=0xFFF, exclude_categories=("Cc", "Cn", "Cs")), max_size=8
)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(text.filter(lambda k: k != "include"), inner, max_size=3)
    ),
    max_leaves=12,
)


@quick
@given(plain_values)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert parse_value(json.dumps(value, ensure_ascii=False), "test") == value


@quick
@given(text=st.text(alphabet="ab:-[]{}&*!<? \n\t'\"#|>%@1.e,~", max_size=60))
def test_no_text_breaks_the_reader(text: str, tmp_path: Path) -> None:
    file = tmp_path / "fuzz.yaml"
    file.write_text(text, newline="")
    with contextlib.suppress(ConfigError):
        read_yaml(file)


@quick
@given(raw=st.binary(max_size=60))
def test_no_bytes_break_the_reader(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "fuzz.yaml"
    file.write_bytes(raw)
    with contextlib.suppress(ConfigError):
        read_yaml(file)
