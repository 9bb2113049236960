"""A user's folder of models: what is said of a file that cannot be imported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import catalog
from harness.errors import ConfigError
from harness.model import MODELS

BROKEN = {
    "syntax": ("import math\nclass Model(:\n", r"own\.py:2: .*invalid syntax"),
    "name": ("import math\n\nmaths.pi\n", r"own\.py:3: .*NameError: name 'maths' is not defined"),
    "import": ("import no_such_library\n", r"own\.py:1: .*No module named 'no_such_library'"),
    "taken": (
        "from harness.model import MODELS, register_model\n\n"
        "@register_model('rotate')\nclass Mine(MODELS.get('transe')):\n    pass\n",
        r"model 'rotate' is registered twice: .*rotate\.py:\d+ and .*own\.py:3",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_model_file_that_cannot_be_imported(tmp_path: Path, case: str) -> None:
    text, said = BROKEN[case]
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        catalog.load_folder(tmp_path)
    assert caught.value.__cause__ is not caught.value  # who follows causes would never end


def test_the_line_of_a_model_file_that_another_one_imports(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from . import _shared\n")
    (tmp_path / "_shared.py").write_text("\n1 / 0\n")
    said = rf"{re.escape(str(tmp_path))}/_shared\.py:2: .*ZeroDivisionError"
    with pytest.raises(ConfigError, match=said):
        catalog.load_folder(tmp_path)


def test_a_folder_whose_init_fails(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("raise RuntimeError('not today')\n")
    with pytest.raises(ConfigError, match=r"__init__\.py:1: .*not today"):
        catalog.load_folder(tmp_path)


OWN = """\
from harness.model import MODELS, register_model


@register_model("{name}")
class Own(MODELS.get("transe")):
    \"\"\"TransE again.\"\"\"
"""


def test_a_file_is_loaded_without_the_others_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODELS, "hint", "own models need --models PATH")
    catalog.load_models()
    with pytest.raises(ConfigError, match=r"'single'.*\(own models need --models PATH\)$"):
        MODELS.get("single")
    (tmp_path / "single.py").write_text(OWN.format(name="single"))
    (tmp_path / "other.py").write_text("1 / 0\n")
    catalog.load_folder(tmp_path / "single.py")
    assert "single" in MODELS
    with pytest.raises(ConfigError, match="unknown model 'nowhere'") as refused:
        MODELS.get("nowhere")
    assert "--models" not in str(refused.value)


def test_models_are_in_folders_and_python_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"notes\.txt: a model is a Python file"):
        catalog.load_folder(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match=r"--models .*absent: no such folder or file$"):
        catalog.load_folder(tmp_path / "absent")
