"""The JSON Schema of suites, for editors: completion, descriptions, and errors while typing.

``python -m harness.plan.schema > suites/schema.json`` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from harness.plan.settings import AXES
from harness.plan.spec import RunSpec
from harness.plan.suite import Suite

__all__ = ["keys_of", "render", "suite_schema"]

_INCLUDE = {
    "description": "Fragment to bring in: a file beside or below this one.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
_OPTION = {"description": "Option: harness models show NAME"}
_FROM_NAME = {"Row": "model", "DatasetChoice": "dataset"}
"""Things that may be given as a name alone -> the key the name is for."""


def render() -> str:
    """Return the schema as it is stored in ``suites/schema.json``."""
    return json.dumps(suite_schema(), indent=2, ensure_ascii=False) + "\n"


def suite_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a suite file, includes allowed."""
    schema = Suite.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    definitions["Settings"] = _settings_schema()
    settings_text = json.dumps(definitions["Settings"])
    items = RunSpec.model_json_schema()["$defs"]
    definitions |= {n: d for n, d in items.items() if f'"#/$defs/{n}"' in settings_text}
    for name in ("Suite", *list(definitions)):
        target = schema if name == "Suite" else definitions[name]
        for key, field in target["properties"].items():
            settings = field.get("type") == "object" and "properties" not in field
            if settings and name not in ("Settings", "Study"):
                description = field["description"]
                target["properties"][key] = {"$ref": "#/$defs/Settings", "description": description}
        if name not in ("Settings", "Requirement"):
            _allow_include(target)
    for name, key in _FROM_NAME.items():
        description = definitions[name]["properties"][key]["description"]
        by_name = {"type": "string", "description": description}
        definitions[name] = {"anyOf": [by_name, definitions[name]]}
    definitions["Study"]["properties"]["space"] |= _space_schema()
    choices = definitions["Domain"]["properties"]["choices"]
    definitions["Domain"] = {"anyOf": [choices, definitions["Domain"]]}
    requirement = {"type": "string", "pattern": r"^\S+ ([<>]=?|[!=]=) \S+$"}
    definitions["Requirement"] = requirement | {"description": "KEY < KEY-OR-NUMBER"}
    require = definitions["Study"]["properties"]["require"]
    requirement = {"$ref": "#/$defs/Requirement"}
    definitions["Study"]["properties"]["require"] = {
        "anyOf": [requirement, {"type": "array", "items": requirement}],
        "description": require["description"],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _allow_include(target: dict[str, Any]) -> None:
    """Let a mapping be completed by a fragment, which may then hold the required keys."""
    target["properties"]["include"] = _INCLUDE
    required = target.pop("required", None)
    if required:
        target["anyOf"] = [{"required": ["include"]}, {"required": required}]


def keys_of(config: type[BaseModel]) -> set[str]:
    """Return the dotted keys of a configuration, those of its groups among them."""
    schema = config.model_json_schema()
    return {key for key, _ in _values(schema, schema.get("$defs", {}), "")}


def _settings_schema() -> dict[str, Any]:
    """Every value of a run specification, nested or under its dotted key; any option of models."""
    full = RunSpec.model_json_schema()
    values = dict(_values(full, full["$defs"], ""))
    return {
        "type": "object",
        "description": "Values of a run, nested or with dots; the defaults stand otherwise.",
        "properties": {
            "include": _INCLUDE,
            "model": {"type": "object", "description": "Options: harness models show NAME"},
            **values,
        },
        "patternProperties": {r"^(model|negatives\.strategy)\.": _OPTION},
        "additionalProperties": False,
    }


def _space_schema() -> dict[str, Any]:
    """Every value of a run specification under its dotted key, and items of lists."""
    full = RunSpec.model_json_schema()
    values = dict(_values(full, full["$defs"], ""))
    domain = {"$ref": "#/$defs/Domain"}
    return {
        "properties": {
            "include": _INCLUDE,
            **{
                key: {**domain, "description": field.get("description", "")}
                for key, field in values.items()
                if "properties" not in field
            },
        },
        "patternProperties": {r"^model\.|\.\d+$": domain},
        "additionalProperties": False,
    }


def _values(
    schema: dict[str, Any], definitions: dict[str, Any], prefix: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each group of values without requirements, and each value under its dotted key."""
    for name, field in schema["properties"].items():
        key = f"{prefix}{name}"
        if key in AXES:
            continue
        group = definitions.get(field.get("$ref", "").removeprefix("#/$defs/"))
        if group is None:
            yield key, field
            continue
        inner = dict(_values(group, definitions, f"{key}."))
        values = {k.removeprefix(f"{key}."): v for k, v in inner.items()}
        yield (
            key,
            {
                "type": "object",
                "description": field.get("description") or group.get("description", ""),
                "properties": {"include": _INCLUDE, **values},
                "additionalProperties": group.get("additionalProperties", False),
            },
        )
        yield from inner.items()


if __name__ == "__main__":
    print(render(), end="")
