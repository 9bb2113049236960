"""``harness models check``: models that are broken in one way each, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.catalog import load_models
from harness.cli.main import app
from harness.contract import CHECKS
from harness.errors import ConfigError
from harness.model import MODELS
from harness.procedure import STRATEGIES

SOUND = '''
"""TransE whose entities are a vector plus a projection of their text."""

import os

import torch
from torch import nn

from harness.kernels.rows import rows_of
from harness.model import Capabilities, Model, ModelConfig, Query, Term, register_model


class OwnConfig(ModelConfig):
    """Options."""

    dim: int = 64
    """Width."""


@register_model("own")
class Own(Model):
    """score(h, r, t) = 6 - |h + r - t|_1."""

    Config = OwnConfig
    capabilities = Capabilities(
        title="Own", reference="me", formula="6 - |h + r - t|_1", uses_modalities=True,
        requires=frozenset({"text"}),
    )

    def __init__(self, config, index, modalities):
        super().__init__(config, index, modalities)
        bound = 8 / config.dim
        n, r = index.n_entities, index.n_relations
        self.entity = nn.Parameter(torch.empty(n, config.dim).uniform_(-bound, bound))
        self.relation = nn.Parameter(torch.empty(r, config.dim).uniform_(-bound, bound))
        text = modalities["text"]
        self.register_buffer("text", text.matrix * text.present[:, None], persistent=False)
        self.project = nn.Linear(text.matrix.shape[1], config.dim, bias=False)
        # more

    def encode(self, entities=None):
        vectors, text = self.entity, self.text
        if entities is not None:
            vectors, text = rows_of(vectors, entities), text[entities]
        return {"entity": vectors + self.project(text)}

    def queries(self, tables, anchors, relations, side):
        anchor = rows_of(tables["entity"], anchors)
        relation = rows_of(self.relation, relations)
        point = anchor + relation if side == "tail" else anchor - relation
        return Query((Term("l1", point, "entity"),), 6.0)
'''  # fmt: skip

BROKEN = {
    "a parameter without a gradient": (
        {"# more": "self.gate = nn.Parameter(torch.zeros(config.dim))"},
        "gradients",
        r"'gate' \(16,\) did not move in 4 epochs: no gradient reaches it",
    ),
    "a relation of the wrong sign for heads": (
        {"anchor - relation": "anchor + relation"},
        "views",
        r"score_triples and score_all for the head differ by [\d.]+ at triple \(\d+, \d, \d+\): "
        r"-?[\d.]+ and -?[\d.]+; \d+ of 29 differ by more than rounding",
    ),
    "the mask is not read": (
        {" * text.present[:, None]": ""},
        "mask",
        r"a score with 7 as the features of entities that have none \(Modality.present is False\) "
        r"and with zeros differ by [\d.]+ at triple",
    ),
    "what else is asked": (
        {"point, \"entity\"": "point - point.mean(0), \"entity\""},
        "batch_size",
        r"the score of a single query and among 18 queries differ by [\d.]+ at entity \d+ for "
        r"\(\?, \d, \d+\)",
    ),
    "draws of the system": (
        {
            "rows_of(self.relation, relations)": "rows_of(self.relation, relations) * "
            "(1 + self.training * os.urandom(1)[0] / 256)"
        },
        "deterministic",
        r"the loss of epoch 1 was [\d.]+ in one training and [\d.]+ in the next from the same seed",
    ),
    "a running average that is not saved": (
        {
            "# more": 'self.register_buffer("mean", torch.zeros(config.dim), persistent=False)',
            "    def encode": "    def auxiliary_loss(self, generator):\n"
            "        self.mean.lerp_(self.relation.detach().mean(0), 0.1)\n\n    def encode",
            "rows_of(self.relation, relations)": "rows_of(self.relation, relations) - self.mean",
        },
        "save_load",
        r"a score after the weights were loaded into a new model and the score before differ by "
        r"[\d.e-]+ at entity \d+ for \(\?, \d, \d+\); is everything",
    ),
    "popularity of the answer alone": (
        {
            '{"entity": vectors + self.project(text)}': '{"entity": torch.cat([vectors + '
            "self.project(text), torch.ones(len(vectors), 1)], 1)}",
            "anchor + relation if": "torch.cat([relation, (anchor[:, :-1] * relation).sum(1, "
            "keepdim=True)], 1) if True or",
            '"l1"': '"dot"',
        },
        "learns",
        r"after \d+ epochs the MRR on the triples it was trained on is 0\.\d\d \(before: 0\.\d\d, "
        r"expected: above 0\.5\)",
    ),
    "a table of another size": (
        {"vectors + self.project(text)": "(vectors + self.project(text)).T"},
        "shapes",
        r"Own: encode made a table 'entity' of 16 rows for 29 entities; a table has a row for each",
    ),
    "a comparison that there is not": (
        {'"l1"': '"l3"'},
        "shapes",
        r"Own: a term of queries\(\) has the unknown op 'l3'; choose from dot, l1, l2, modulus",
    ),
    "a table that there is not": (
        {'point, "entity"': 'point, "entitty"'},
        "shapes",
        r"Own: a term of queries\(\) has the unknown table 'entitty'; did you mean 'entity'\?",
    ),
    "an exception": (
        {"point = anchor + relation if": "point = anchor @ relation if"},
        "shapes",
        r"RuntimeError: mat1 and mat2 shapes.*\nraised at .*/own\.py:50$",
    ),
    "relations of another width": (
        {"torch.empty(r, config.dim)": "torch.empty(r, config.dim + 1)"},
        "shapes",
        r"RuntimeError: The size of tensor.*; the model has entity \(29, 16\), relation \(3, 17\), "
        r"project\.weight \(16, 10\), features 'text' \(29, 10\), features 'image'",
    ),
    "queries of another width than the table": (
        {'point, "entity"': 'point[:, 1:], "entity"'},
        "shapes",
        r"Own: the term of queries\(\) for table 'entity' has a query that is a tensor of "
        r"float32 of shape \(18, 15\); the shape \(queries, width of the table\) = \(18, 16\) was",
    ),
    "a modality that it does not require by its name": (
        {"uses_modalities=True,": "", 'frozenset({"text"})': 'frozenset({"txet"})'},
        "shapes",
        r"model 'own' reads modalities\['text'\], but receives txet; name 'text' in `requires` of",
    ),
    "features in the state": (
        {"persistent=False": "persistent=True"},
        "other_features",
        r"weights loaded into a model with fewer features score as with all of them",
    ),
    "an option without a word": (
        {'    """Width."""\n': ""},
        "described",
        r"option 'dim' of OwnConfig has no docstring",
    ),
    "no capabilities": (
        {"    capabilities = ": "    abilities = "},
        "declared",
        r"the class has no `capabilities = Capabilities\(title=",
    ),
}  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    load_models()
    for registry in (MODELS, STRATEGIES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*words: str) -> Result:
    return CliRunner().invoke(app, ["models", "check", *words])


def results(text: str, *words: str) -> dict[str, tuple[str, str]]:
    """Return check -> status and message, of a model file with this text."""
    Path("own.py").write_text(text)
    ran = check("own.py", "--json", *words)
    found = {row["check"]: (row["status"], row["message"]) for row in json.loads(ran.stdout)["own"]}
    assert ran.exit_code == int(any(status == "failed" for status, _ in found.values()))
    return found


def test_a_sound_model_passes_every_check(desk: Path) -> None:
    found = results(SOUND)
    assert list(found) == [one.name for one in CHECKS]
    assert {name: said for name, said in found.items() if said[0] != "ok"} == {
        "fusion_weights": ("not applicable", "the model gives no fusion weights")
    }


@pytest.mark.parametrize("case", BROKEN)
def test_of_a_broken_model_the_intended_check_fails_alone(case: str, desk: Path) -> None:
    changes, name, said = BROKEN[case]
    text = SOUND
    for old, new in changes.items():
        text = text.replace(old, new)
    found = results(text)
    failed = {key: message for key, (status, message) in found.items() if status == "failed"}
    assert list(failed) == [name], failed
    assert re.match(said, failed[name], re.DOTALL), failed[name]


def test_a_check_that_rests_on_one_that_failed_waits_for_it(desk: Path) -> None:
    assert results(SOUND.replace("vectors + self.project(text)", "vectors[:, None]"))["ranks"] == (
        "waiting",
        "for 'shapes'",
    )
    lines = check("own.py").stdout.splitlines()
    assert "-       ranks           waits for 'shapes'" in lines
    assert lines[-2] == "own: 3 ok, 1 failed, 18 waiting, 0 not applicable"


def test_a_table_may_be_the_parameter_itself(desk: Path, recwarn: pytest.WarningsRecorder) -> None:
    found = results(
        SOUND.replace("rows_of(vectors, entities), text[entities]", "vectors[:4], text[:4]")
        .replace("vectors + self.project(text)", "vectors")
    )  # fmt: skip
    assert found["encode_rows"][1].startswith("'entity' of encode(ids) and of encode() differ by")
    assert not recwarn.list


UNREADABLE = {
    "it raises": (
        "import math\n\nmaths.pi\n",
        r"own\.py:3: the model file cannot be loaded: NameErr",
    ),
    "it ends the process": ("import sys\n\nsys.exit(0)\n", r"own\.py:3: .*loaded: SystemExit: 0"),
    "it has no model": (
        "import math\n",
        r"own\.py: registers no model; a model is a class below @register_model\(\"its_name\"\)",
    ),
    "it has a strategy alone": (
        "from harness.procedure import Strategy, register_strategy\n\n"
        '@register_strategy("hard")\nclass Hard(Strategy):\n    pass\n',
        r"own\.py: registers no model to check; a strategy is checked in training: harness run "
        r"--model transe --dataset atlas --models .*/own\.py --set negatives\.strategy\.name=hard "
        r"--set training\.epochs=1$",
    ),
    "a name is taken": (
        SOUND.replace('"own"', '"rotate"'),
        r"model 'rotate' is registered twice: .*rotate\.py:\d+ and .*own\.py:20; "
        "give one of them another name",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_checked(case: str, desk: Path) -> None:
    text, said = UNREADABLE[case]
    Path("own.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(app, ["models", "check", "own.py"], catch_exceptions=False)


def test_a_path_that_is_not_there_or_no_python(desk: Path) -> None:
    Path("own.txt").write_text(SOUND)
    for path, said in (("none.py", "no such file or folder"), ("own.txt", "is a Python file")):
        with pytest.raises(ConfigError, match=said):
            CliRunner().invoke(app, ["models", "check", path], catch_exceptions=False)


def test_models_and_settings_that_are_not_there(desk: Path) -> None:
    Path("own.py").write_text(SOUND)
    for words, said in (
        (["--model", "onw"], r"own\.py: registers no model 'onw'; did you mean 'own'\?"),
        (["--set", "model.dmi=8"], r"--set model\.dmi: own has no such option; did you mean 'dim'"),
        (["--set", "model.dim=x"], r"--set model\.dim: model 'own': "),
        (["--set", "model=3"], r"--set model=3: name a setting of it"),
        (["--set", "seed=1"], r"--set seed: a check has no such setting; it has model, negatives"),
    ):
        with pytest.raises(ConfigError, match=said):
            CliRunner().invoke(app, ["models", "check", "own.py", *words], catch_exceptions=False)


def test_one_model_of_a_folder_a_line_per_check_in_eighty_columns(desk: Path) -> None:
    folder = Path("own_models")
    folder.mkdir()
    (folder / "_shared.py").write_text("BOUND = 8\n")
    text = SOUND.replace("import os\n", "from ._shared import BOUND\n").replace("8 /", "BOUND /")
    (folder / "own.py").write_text(text.replace("anchor - relation", "anchor + relation"))
    (folder / "sound.py").write_text(text.replace('"own"', '"sound"'))
    for name, line in (
        ("own", "FAILED  views           score_triples, score_all and score_pairs agree"),
        ("sound", "ok      views           score_triples, score_all and score_pairs agree"),
    ):
        ran = check("own_models", "--model", name, "--set", "model.dim=8", "--set",
                    "training.epochs=1")  # fmt: skip
        lines = ran.stdout.splitlines()
        assert lines[0] == f"{name}, own_models/{name}.py:20"
        assert lines[1].endswith("; model.dim=8, training.epochs=1")
        assert line in lines
        assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ('"text"', r"`requires` in capabilities is 'text'; a set of names of modalities was expec"),
        ('["text"]', r"is \['text'\]; .*such as frozenset\(\{'text', 'image'\}\)$"),
        ("None", "is None; a set of names of modalities was expected"),
    ],
)
def test_requires_that_is_no_set_is_refused(desk: Path, requires: str, message: str) -> None:
    (desk / "own.py").write_text(SOUND.replace('frozenset({"text"})', requires))
    with pytest.raises(ConfigError, match=rf"own\.py:\d+: the model file cannot be .*{message}"):
        CliRunner().invoke(app, ["models", "check", "own.py"], catch_exceptions=False)
