"""Names that a shell completes, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.catalog import load_models
from harness.cli.completion import (
    complete_datasets,
    complete_models,
    complete_runs,
    complete_suites,
)
from harness.data.load import sources
from harness.model import MODELS
from harness.plan.suite import shipped_suites
from harness.run.suite import plan_run, run_suite


def test_all_models_datasets_and_suites_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_models()
    package = {name for name in MODELS if not MODELS.get(name).__module__.startswith("harness_")}
    assert package <= set(complete_models(""))
    assert complete_models("mo") == ["mocme", "momok"]
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    (tmp_path / "datasets" / "my-graph").mkdir(parents=True)
    builtin = {entry.card.name for entry in sources()}
    assert builtin | {"my-graph"} == set(complete_datasets(""))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_suite.yaml").touch()
    assert complete_suites("") == sorted([*shipped_suites(), "my_suite.yaml"])


def test_run_ids_are_those_of_the_store_and_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path))
    assert complete_runs("") == []
    plan = plan_run({"model.name": "random", "data.dataset": "atlas"})
    (run_id,) = run_suite(plan, home=tmp_path, device="cpu", threads=1).run_ids
    (tmp_path / "runs" / "0interrupted").mkdir()
    assert complete_runs("") == ["0interrupted", run_id]
    assert complete_runs(run_id[:5]) == [run_id]
    (tmp_path / "runs" / run_id).rename(tmp_path / "elsewhere")
    assert complete_runs(run_id[:5]) == [run_id]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("harness run quick", "quickstart"),
        ("harness run --model rota", "rotate"),
        ("harness data show mkg-w", "mkg-w"),
        ("harness models show otk", "otkge"),
        ("harness study run tun", "tuning"),
    ],
)
def test_a_shell_gets_the_names_and_torch_is_not_imported(words: str, expected: str) -> None:
    program = (
        "import sys\n"
        "from harness.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    environment = os.environ | {
        "_HARNESS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['harness']\n{program}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [expected]
    assert done.stderr.split()[-1] == "False"
