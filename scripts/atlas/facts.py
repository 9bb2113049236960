"""From the data packages to entities and facts.

Every fact is one that a source states; nothing is guessed. What is left out, and why, is said at
the function that leaves it out.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from inputs import Inputs

CITIES_PER_COUNTRY = 18
"""The most populous places of each country: a cap keeps China and India from being a third of all
cities and keeps their number below 3,000."""

SPOKEN_PERCENT = 1.0
"""A language without official status counts as spoken where at least this share speaks it."""

FORMER = frozenset({"AN", "CS"})
"""Countries of GeoNames that no longer exist (Netherlands Antilles, Serbia and Montenegro)."""

Json = dict[str, Any]
Triple = tuple[str, str, str]


@dataclass
class Entity:
    """An entity with its literals; ``code`` is the source's own identifier."""

    kind: str
    code: str
    name: str
    latitude: float | None = None
    longitude: float | None = None
    population: float | None = None
    area: float | None = None

    @property
    def key(self) -> str:
        """Identifier in the graph, e.g. ``country:FR``."""
        return f"{self.kind}:{self.code}"


@dataclass
class World:
    """All entities by key and all facts, each once."""

    entities: dict[str, Entity] = field(default_factory=dict)
    facts: list[Triple] = field(default_factory=list)

    def add(self, entity: Entity) -> None:
        """Add an entity."""
        assert entity.key not in self.entities
        self.entities[entity.key] = entity

    def state(self, head: str, relation: str, tail: str) -> None:
        """Add a fact between two known entities."""
        assert head in self.entities, head
        assert tail in self.entities, tail
        self.facts.append((head, relation, tail))


def build(inputs: Inputs) -> World:
    """Return every entity that a fact mentions, and the facts."""
    world = World()
    add_countries(world, inputs)
    add_cities(world, inputs)
    add_regions(world, inputs)
    add_currencies(world, inputs)
    add_zones(world, inputs)
    add_languages(world, inputs)
    add_scripts(world, inputs)
    mentioned = {key for head, _, tail in world.facts for key in (head, tail)}
    world.entities = {k: e for k, e in sorted(world.entities.items()) if k in mentioned}
    world.facts.sort()
    assert len(set(world.facts)) == len(world.facts)
    return world


def add_countries(world: World, inputs: Inputs) -> None:
    """Countries and territories, and who shares a border (each pair once, see ``split.py``)."""
    countries = {c: v for c, v in inputs.countries.items() if c not in FORMER}
    for code, row in countries.items():
        population, area = row["population"] or None, row["areakm2"] or None
        world.add(Entity("country", code, row["name"], population=population, area=area))
    pairs = {
        tuple(sorted((code, other)))
        for code, row in countries.items()
        for other in row["neighbours"].split(",")
        if other in countries
    }
    for first, second in sorted(pairs):
        world.state(f"country:{first}", "neighbour_of", f"country:{second}")


def by_country(inputs: Inputs) -> dict[str, list[Json]]:
    """GeoNames' places of at least 15,000 people and capitals, the most populous first."""
    places: dict[str, list[Json]] = defaultdict(list)
    for row in inputs.cities.values():
        places[row["countrycode"]].append(row)
    for rows in places.values():
        rows.sort(key=lambda row: (-row["population"], row["geonameid"]))
    return places


def plain(name: str) -> str:
    """Letters and digits of a name, without accents, in lower case."""
    decomposed = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in decomposed if c.isalnum())


def find_capital(name: str, places: list[Json]) -> Json | None:
    """The most populous place of that name, by its main name or else by another one."""
    wanted = plain(name)
    for names in (lambda row: [row["name"]], lambda row: row["alternatenames"]):
        for row in places:
            if wanted and wanted in map(plain, names(row)):
                return row
    return None


def add_cities(world: World, inputs: Inputs) -> None:
    """Cities: a capital is ``capital_of`` its country, any other city is ``located_in`` it.

    Never both: one would give the other away.
    """
    for code, places in sorted(by_country(inputs).items()):
        if f"country:{code}" not in world.entities:
            continue
        capital = find_capital(inputs.countries[code]["capital"], places)
        chosen = places[:CITIES_PER_COUNTRY]
        if capital and capital not in chosen:
            chosen = [*chosen, capital]
        for row in chosen:
            city = Entity("city", str(row["geonameid"]), row["name"])
            city.latitude, city.longitude = row["latitude"], row["longitude"]
            city.population = row["population"] or None
            world.add(city)
            relation = "capital_of" if row is capital else "located_in"
            world.state(city.key, relation, f"country:{code}")


def add_regions(world: World, inputs: Inputs) -> None:
    """Country in subregion, subregion in continent (UN M.49 as in CLDR).

    Only the lowest step is stated: a country's continent would follow from its subregion.
    """
    contains = inputs.supplemental("territoryContainment")["territoryContainment"]
    names = inputs.display_names("territories")
    for continent in contains["001"]["_contains"]:
        world.add(Entity("continent", continent, names[continent]))
        for region in contains[continent]["_contains"]:
            world.add(Entity("region", region, names[region]))
            world.state(f"region:{region}", "part_of", f"continent:{continent}")
            for code in contains[region]["_contains"]:
                if f"country:{code}" in world.entities:
                    world.state(f"country:{code}", "part_of", f"region:{region}")


def add_currencies(world: World, inputs: Inputs) -> None:
    """Legal tender of today."""
    regions = inputs.supplemental("currencyData")["currencyData"]["region"]
    names = inputs.currency_names()
    for code, history in sorted(regions.items()):
        if f"country:{code}" not in world.entities:
            continue
        tender = {
            currency
            for entry in history
            for currency, row in entry.items()
            if "_from" in row and "_to" not in row and row.get("_tender") != "false"
        }
        for currency in sorted(tender):
            if f"currency:{currency}" not in world.entities:
                world.add(Entity("currency", currency, names[currency]["displayName"]))
            world.state(f"country:{code}", "uses_currency", f"currency:{currency}")


def zone_histories(tree: Json, path: str = "") -> Iterator[tuple[str, list[Json]]]:
    """Flatten CLDR's nested zones to ("Europe/Paris", [{"usesMetazone": ...}, ...])."""
    for name, value in tree.items():
        if isinstance(value, list):
            yield path + name, value
        else:
            yield from zone_histories(value, f"{path}{name}/")


def add_zones(world: World, inputs: Inputs) -> None:
    """Time zones, on countries only and in CLDR's sense ("Europe Central"), shared by countries.

    A city's own zone (Europe/Paris) names its country, and a chain city -> zone -> country makes
    link prediction trivial, so no city has one. A country has the zones of its GeoNames places.
    """
    info = inputs.supplemental("metaZones")["metaZones"]["metazoneInfo"]["timezone"]
    current = {
        zone: entry["usesMetazone"]["_mzone"]
        for zone, history in zone_histories(info)
        for entry in history
        if "_to" not in entry["usesMetazone"]
    }
    former = inputs.zone_aliases()
    for code, places in sorted(by_country(inputs).items()):
        if f"country:{code}" not in world.entities:
            continue
        zones = {current.get(former.get(z, z)) for z in {row["timezone"] for row in places}}
        for zone in sorted(z for z in zones if z):
            if f"zone:{zone}" not in world.entities:
                name = zone if zone == "GMT" else f"{zone.replace('_', ' ')} time"
                world.add(Entity("zone", zone, name))
            world.state(f"country:{code}", "in_time_zone", f"zone:{zone}")


LANGUAGE_RELATIONS = {
    "official": "official_language",
    "de_facto_official": "official_language",
    "official_regional": "regional_language",
}


def add_languages(world: World, inputs: Inputs) -> None:
    """Languages of a country: official, official in a part, or spoken; one relation per pair.

    Left out: languages for which CLDR has no English name, and statuses of a script variant
    beside the language itself (``zh_Hant``), which are the language's own.
    """
    names = inputs.display_names("languages")
    rank = ["official_language", "regional_language", "spoken_language"]
    territories = inputs.supplemental("territoryInfo")["territoryInfo"]
    for code, row in sorted(territories.items()):
        if f"country:{code}" not in world.entities:
            continue
        best: dict[str, str] = {}
        for tag, use in row.get("languagePopulation", {}).items():
            language = tag.split("_")[0]
            relation = LANGUAGE_RELATIONS.get(use.get("_officialStatus", ""), rank[2])
            rare = float(use["_populationPercent"]) < SPOKEN_PERCENT
            if language in names and not (relation == rank[2] and rare):
                best[language] = min(relation, best.get(language, relation), key=rank.index)
        for language, relation in sorted(best.items()):
            if f"language:{language}" not in world.entities:
                world.add(Entity("language", language, names[language]))
            world.state(f"country:{code}", relation, f"language:{language}")


def add_scripts(world: World, inputs: Inputs) -> None:
    """Scripts a language is written in, and the country a script comes from."""
    names = inputs.display_names("scripts")
    data = inputs.supplemental("languageData")["languageData"]
    origin = inputs.script_metadata()
    for key in sorted(k for k in world.entities if k.startswith("language:")):
        for script in data.get(key.removeprefix("language:"), {}).get("_scripts", ()):
            if f"script:{script}" not in world.entities:
                name = names.get(f"{script}-alt-stand-alone", names[script])
                world.add(Entity("script", script, f"{name} script"))
                home = f"country:{origin.get(script, {}).get('originCountry')}"
                if home in world.entities:
                    world.state(f"script:{script}", "originated_in", home)
            world.state(key, "written_in", f"script:{script}")
