"""The split rule of atlas: a pure function of the facts, fixed before any model was run.

1. ``COLD_SHARE`` of the cities, chosen by the hash of their GeoNames id, are *cold*: their triples
   go to valid or test by the hash of the triple, none to train.
2. Of the triples of every relation that concern no city, ``HELD_OUT`` are *warm* evaluation
   triples, taken in the order of their hashes, to valid and test in turn; a triple stays in train
   where one of its entities would otherwise vanish from train. A city has one triple, so warm
   cities are seen in train only.
3. A symmetric fact is kept once per pair, its direction chosen by the hash of the pair (an
   alphabetical one would teach that the earlier code is the head).

Nothing depends on a random generator, on the order of the input or on a model's result.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import cycle

COLD_SHARE = 0.20
HELD_OUT = 0.30
SYMMETRIC = frozenset({"neighbour_of"})
SALT = "atlas-1"

Triple = tuple[str, str, str]


def fraction(*parts: str) -> float:
    """Hash of the parts as a number in [0, 1)."""
    digest = hashlib.sha256("\t".join((SALT, *parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def is_cold(entity: str) -> bool:
    """Whether an entity must not occur in train."""
    return entity.startswith("city:") and fraction("cold", entity) < COLD_SHARE


def orient(triple: Triple) -> Triple:
    """Return the one direction in which a symmetric fact is kept."""
    head, relation, tail = triple
    if relation not in SYMMETRIC:
        return triple
    first, second = sorted((head, tail))
    swap = fraction("orient", relation, first, second) < 0.5
    return (second, relation, first) if swap else (first, relation, second)


def concerns_city(triple: Triple) -> bool:
    """Whether the head or the tail is a city."""
    return triple[0].startswith("city:") or triple[2].startswith("city:")


def split(facts: Iterable[Triple]) -> dict[str, list[Triple]]:
    """Return train, valid and test, each sorted."""
    parts: dict[str, list[Triple]] = {"train": [], "valid": [], "test": []}
    candidates: dict[str, list[Triple]] = defaultdict(list)
    for triple in sorted({orient(fact) for fact in facts}):
        if is_cold(triple[0]) or is_cold(triple[2]):
            parts["valid" if fraction("side", *triple) < 0.5 else "test"].append(triple)
        elif concerns_city(triple):
            parts["train"].append(triple)
        else:
            candidates[triple[1]].append(triple)
    degree = Counter(entity for head, _, tail in parts["train"] for entity in (head, tail))
    for triples in candidates.values():
        degree.update(entity for head, _, tail in triples for entity in (head, tail))
    for relation in sorted(candidates):
        _hold_out(sorted(candidates[relation]), degree, parts)
    return {name: sorted(triples) for name, triples in parts.items()}


def _hold_out(triples: list[Triple], degree: Counter[str], parts: dict[str, list[Triple]]) -> None:
    """Distribute the triples of one relation; ``degree`` counts what train still holds."""
    quota = round(HELD_OUT * len(triples))
    turn = cycle(("test", "valid"))
    for triple in sorted(triples, key=lambda t: fraction("warm", *t)):
        head, _, tail = triple
        if quota and min(degree[head], degree[tail]) > 1:
            quota -= 1
            degree.subtract((head, tail))
            parts[next(turn)].append(triple)
        else:
            parts["train"].append(triple)
