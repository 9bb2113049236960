"""The wheel holds what it should, and what it installs works without the checkout."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import sysconfig
import venv
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]


def call(*words: object, cwd: Path, **environment: str) -> str:
    """Run a program; return what it printed on stdout."""
    result = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked and new files: the checkout stays clean."""
    pytest.importorskip("build")
    source = tmp_path_factory.mktemp("source")
    names = call("git", "ls-files", "-co", "--exclude-standard", cwd=REPOSITORY).splitlines()
    for name in names:
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    # The build requirement is in the extra [dev], so nothing has to be downloaded.
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``harness`` command of a fresh environment that lends the packages of this one."""
    place = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    own = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place)
    call(
        sys.executable, "-m", "pip", "--python", python, "install",
        "--no-deps", "--no-index", "--quiet", wheel, cwd=place,
    )  # fmt: skip
    # Plain paths in a .pth file: the editable install of the lender is not taken over.
    lent = Path(own.strip()) / "lent.pth"
    lent.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return place / "bin" / "harness"


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"harness"}
    assert not [n for n in names if Path(n).match("test_*.py") or Path(n).match("conftest.py")]
    for needed in (
        "harness/py.typed",
        "harness/models/rotate.py",
        "harness/models/mocme/model.py",
        "harness/suites/quickstart.yaml",
        "harness/suites/schema.json",
        "harness/suites/shared/atlas_settings.yaml",
        "harness/reports/main.yaml",
        "harness/reports/templates/page.html.j2",
        "harness/reports/templates/page.css",
        "harness/reports/templates/page.js",
        "harness/store/migrations/versions/v0001_runs.py",
        "harness/store/migrations/script.py.mako",
        "harness/data/sets/_atlas/features.safetensors",
        "harness/data/sets/_atlas/ATTRIBUTION.md",
        "harness/data/sets/_atlas/LICENSE-UNICODE.txt",
    ):
        assert needed in names
    licences = {n.split("/licenses/")[1] for n in names if "/licenses/" in n}
    assert "LICENSE" in licences
    assert {Path(n).name for n in licences} >= {"ATTRIBUTION.md", "LICENSE-UNICODE.txt"}


def test_every_python_file_of_the_checkout_is_in_it(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "harness").rglob("*.py")
    } | {
        f"harness/{path.relative_to(REPOSITORY)}"
        for folder in ("models", "suites", "reports")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".j2") and "rendered" not in path.parts
    }
    assert expected - held == set()


def test_it_runs_in_a_folder_that_has_a_package_called_models(
    installed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    (folder / "models" / "rotate.py").write_text("raise RuntimeError('not ours')\n")
    surroundings = {
        "HARNESS_HOME": str(folder / "results"),
        "HARNESS_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": "",
        "COLUMNS": "80",
    }

    shown = call(installed, "models", "show", "rotate", cwd=folder, **surroundings)
    origin = next(line for line in shown.splitlines() if line.startswith("defined in"))
    assert str(installed.parents[1]) in origin

    listed = call(installed, "models", "list", cwd=folder, **surroundings)
    assert {"mocme", "rotate", "popularity"} <= set(listed.split())

    small = ("--set", "training.epochs=1", "--only", "seed=0,label=RotatE")
    table = call(installed, "run", "quickstart", *small, cwd=folder, **surroundings)
    assert "RotatE" in table
    with closing(sqlite3.connect(folder / "results" / "harness.db")) as database:
        ((variant,),) = database.execute("SELECT variant FROM suites").fetchall()
    reported = call(installed, "report", "--variant", variant, cwd=folder, **surroundings)
    row = next(line for line in table.splitlines() if line.startswith("RotatE"))
    assert row.split() in [line.split() for line in reported.splitlines()]
