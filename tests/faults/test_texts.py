"""Suites, triples and names that were changed at random are refused in words, or mean what they
say."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from tests.faults import films, mutate, outcomes
from tests.faults.commands import Commands, problems_of
from tests.faults.conftest import MakeCases
from tests.faults.families import seeds
from tests.faults.films import Place

ONE_RUN = """\
name: small
title: >-
  A small
  suite
include: shared.yaml
datasets:
  - films
  - {dataset: "films@clean", features: none}
rows:
  - popularity
  - {model: distmult, label: DistMult, set: {model.dim: 4, training.epochs: 1}}
base:
  training: {epochs: 1, batch_size: 64, evaluate_every: 1, patience: 0}
  model: {dim: 8}
  negatives: {count: 2}
overrides:
  - {when: {dataset: films}, set: {optimiser.lr: 0.1}}
seeds: [0]
"""
STUDY = (
    ONE_RUN
    + """\
study:
  sampler: tpe
  trials: 2
  space: {optimiser.lr: {low: 0.001, high: 0.1, log: true}}
"""
)


@pytest.fixture
def suites(place: Place) -> dict[str, str]:
    """Texts of a suite and of a study, both of which run."""
    (place.folder / "shared.yaml").write_text("base: {optimiser.lr: 0.05}\n")
    return {"run": ONE_RUN, "study": STUDY}


def _write(path: Path, content: str, draw: random.Random) -> None:
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    if draw.random() < 0.05:
        path.write_bytes(mutate.binary(path.read_bytes(), draw))


@pytest.mark.faults
@pytest.mark.sample
def test_the_untouched_suites_run(commands: Commands, place: Place, suites: dict[str, str]) -> None:
    for words, content in (("run",), suites["run"]), (("study", "run"), suites["study"]):
        path = place.folder / "suite.yaml"
        path.write_text(content)
        assert problems_of(commands.run(place, *words, path)) == []


@pytest.mark.parametrize("part", seeds(300, sample=8))
def test_mutated_suites(
    commands: Commands, place: Place, suites: dict[str, str], cases: MakeCases, part: range
) -> None:
    """Each runs, is refused, or asks for more than this machine has or than a few seconds give."""
    with cases("suites") as counted:
        for seed in part:
            draw, path = random.Random(f"suite {seed}"), place.folder / f"suite{seed}.yaml"
            words = ("study", "run") if seed % 4 == 3 else ("run",)
            _write(path, mutate.text(suites[words[0]], draw), draw)
            own = Place(place.folder / f"own{seed}")
            command = commands.start(
                own,
                *words,
                path,
                first="inside.limit('RLIMIT_AS', 2**32)",
                HARNESS_CACHE=str(place.cache),
            )
            ended = command.wait(5)
            problems = problems_of(ended, (0, 1, 2, 3, 4, 130))
            if ended.code in (2, 3) and "left out" not in ended.err and own.home.exists():
                problems.append("refused, and yet a results folder was made")
            counted.add(f"seed {seed} ({path})", problems)


LAYOUTS = {
    "openke": {"train2id.txt": 4, "valid2id.txt": 1, "entity2id.txt": 2, "relation2id.txt": 1},
    "names": {"train.tsv": 3, "valid.tsv": 1, "test.tsv": 1},
}


def _write_names(folder: Path) -> None:
    """Write the graph as three files of names."""
    content = films.graph_files()
    names = {
        kind: [
            line.rpartition("\t")[0] for line in content[f"{kind}2id.txt"].decode().split("\n")[1:]
        ]
        for kind in ("entity", "relation")
    }
    folder.mkdir(parents=True)
    for split in films.SPLITS:
        rows = films.triples(content[f"{split}2id.txt"])
        lines = [
            f"{names['entity'][h]}\t{names['relation'][r]}\t{names['entity'][t]}\n"
            for h, r, t in rows
        ]
        (folder / f"{split}.tsv").write_text("".join(lines))


@pytest.mark.parametrize("part", seeds(200, sample=8, size=50))
def test_mutated_files_of_triples(
    commands: Commands, place: Place, cases: MakeCases, part: range
) -> None:
    """Each is refused, or every row is read as its line says."""
    with cases("splits") as counted:
        for seed in part:
            draw, layout = random.Random(f"split {seed}"), ("openke", "names")[seed % 2]
            own = Place(place.folder / f"own{seed}")
            folder = own.cache / "datasets" / "mine"
            (films.write_graph if layout == "openke" else _write_names)(folder)
            weights = LAYOUTS[layout]
            path = folder / draw.choices([*weights], [*weights.values()])[0]
            _write(path, mutate.text(path.read_text(), draw), draw)
            ended = commands.run(own, first="inside.print_graph('mine')")
            problems = problems_of(ended, (0, 3))
            if ended.code == 0 and json.loads(ended.out) != _plainly_read(folder, layout):
                problems.append("rows were read otherwise than their lines say")
            imported = commands.run(own, "data", "import", folder, "--name", "second")
            problems += problems_of(imported, (0, 3))
            if imported.code and (folder.parent / "second").exists():
                problems.append("refused, and yet imported")
            problems += [f"left behind: {left}" for left in outcomes.leftovers(folder.parent)]
            counted.add(f"seed {seed} ({path})", problems)


def _plainly_read(folder: Path, layout: str) -> dict[str, list[list[str]]]:
    """Read the triples of a folder with no more than ``split``."""
    if layout == "names":
        return {s: [line.split("\t") for line in _lines(folder / f"{s}.tsv")] for s in films.SPLITS}
    names: dict[str, dict[int, str]] = {"entity": {}, "relation": {}}
    for kind, known in names.items():
        for line in _lines(folder / f"{kind}2id.txt")[1:]:
            name, number = re.fullmatch(r"(.*?)[ \t]+([^ \t]+)[ \t]*", line).groups()
            known[int(number)] = name
    entity, relation = names.values()
    return {
        split: [
            [entity[h], relation[r], entity[t]]
            for h, t, r in (
                map(int, line.split()) for line in _lines(folder / f"{split}2id.txt")[1:]
            )
        ]
        for split in films.SPLITS
    }


def _lines(path: Path) -> list[str]:
    lines = path.read_bytes().decode("utf-8-sig").split("\n")
    return [line.removesuffix("\r") for line in lines if line.strip()]
