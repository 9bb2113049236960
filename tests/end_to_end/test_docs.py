"""Commands and snippets of the documentation run, its links lead somewhere.

Every command of a page is run in the order of the page, in a folder with results and a cache of its
own. A file that the page shows (its name, in code, above the block) is written first.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main
from typer.testing import CliRunner

from harness.analysis import significance
from harness.analysis.claims import load_claims
from harness.catalog import load_models
from harness.cli.main import app
from harness.config.yaml_source import load_yaml
from harness.model import MODELS
from harness.plan import suite as suites
from harness.plan.expand import expand
from harness.plan.suite import read_suite
from harness.procedure import STRATEGIES
from harness.report.files import load_any
from harness.run.cluster.settings import ClusterSettings, RaySettings, SlurmSettings
from harness.store import DATABASE, open_store, results_home
from harness.store.archive.suite_file import read_suite_file
from harness.store.files import write_whole
from harness.store.records import Cell, RunRecord
from tests.benchmarks.__main__ import app as benchmarks

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "reports/README.md"]
PAGES += sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))

SMALLER = {
    "harness run suites/quickstart.yaml": "--set training.epochs=1 --only seed=0,label=RotatE",
    "harness run suites/quickstart.yaml --dry-run": "--only seed=0",
    "harness run suites/quickstart.yaml --probe": "--only seed=0,label=RotatE",
    "harness run suites/fusion.yaml": (
        "--set training.epochs=1 --only seed=0,dataset=atlas,label=mean"
    ),
    "harness run suites/precision.yaml": "--set training.epochs=1 --only seed=0,label=MoCME",
    "harness run quickstart --set training.epochs=5": ("--only seed=0,label=RotatE"),
    "harness run my_suite.yaml --models my_models": "--set training.epochs=1 --only seed=0",
    "harness run my_suite.yaml --models my_models --set training.epochs=1": "--only seed=0",
    "harness run my_run.yaml": "--only seed=0,model=rotate",
    **{
        f"harness run suites/{suite}.yaml": "--only dataset=synthetic:signal,seed=0,label=RotatE"
        for suite in ("missing_modality", "noise")
    },
    "harness run quickstart --only label=RotatE,seed=0 --log tensorboard,mlflow": (
        "--set training.epochs=1"
    ),
    "harness run --model rotate --dataset atlas --seeds 3 --set optimiser.lr=1e-3,1e-2": (
        "--set training.epochs=1 --only seed=0"
    ),
    "harness run --model transe --dataset atlas --models my_strategies "
    "--set negatives.strategy.name=frequent": "--set training.epochs=1",
    "harness runs rm 3f2a": "--yes",
    "harness study run suites/tuning.yaml": (
        "--set training.epochs=1 --trials 1 --only dataset=atlas,label=TransE"
    ),
}
"""What is added to a command so that it takes seconds, or asks nothing."""

NOT_RUN = {
    "pip install -e .": "needs the network; the wheel is installed by test_wheel.py",
    "pip install -e '.[tensorboard,mlflow,wandb]'": "needs the network",
    "harness report --html --serve": "serves until Ctrl-C; test_serve.py asks it for pages",
    "pip install -e '.[test]'": "needs the network; it is how these tests came here",
    "pip install examples/harness_plugin": "test_plugin.py installs it",
    "pytest -n auto": "this is it",
    "pytest -m cuda": "needs a GPU",
    "pytest -m faults": "a quarter of an hour; it has tests of its own",
    "pytest -m cluster": "half an hour; it starts Slurm and Ray",
    "harness run suites/main_table.yaml --only dataset=mkg-w,seed=0 --device cuda --workers 6 "
    "--threads 2": "needs a GPU",
    "pytest tests/contract/test_models.py -k transe_text": "needs the file in the checkout",
    "pytest tests/benchmarks/test_kernels_benchmark.py --benchmark-only "
    "--benchmark-columns=min,median": "minutes",
    **dict.fromkeys(
        ["pip install -e '.[slurm]'", "pip install -e '.[ray]'"],
        "needs the network; tests/cluster needs them",
    ),
    **dict.fromkeys(
        ["ray get-auth-token --generate", "ray start --head", "ray start --address=HEAD:6379"],
        "tests/cluster starts a cluster so",
    ),
    **dict.fromkeys(
        [
            *(
                f"harness run suites/quickstart.yaml --executor slurm --engine slurm.yaml{more}"
                for more in ("", " --detach", " --on-interrupt cancel")
            ),
            "harness run suites/quickstart.yaml --executor ray --engine ray.yaml",
            "harness run suites/quickstart.yaml --executor ray --workers 2",
            "harness study run suites/tuning.yaml --executor slurm --engine slurm.yaml --workers 4",
            "harness runs log RUN",
        ],
        "needs a cluster; tests/cluster starts one",
    ),
    "python -m tests.benchmarks clusters": "half an hour, and a cluster",
    "pip install -e '.[peers]'": "needs the network; a peer that is missing is left out",
    **dict.fromkeys(
        [
            f"harness bench {name}"
            for name in (
                *("complexity", "complexity --dry-run", "models main_table --only dataset=mkg-w"),
            )
        ],
        "wants the machine for itself; test_bench.py runs it small",
    ),
    **dict.fromkeys(
        [
            f"python -m tests.benchmarks {name}"
            for name in (
                *("ceilings", "kernels", "peers", "fusion", "growth", "quality", "stores"),
                "peers --loss one_vs_all",
            )
        ],
        "wants the machine for itself; test_benchmarks.py runs it small",
    ),
    **dict.fromkeys(
        [
            f"harness bench models main_table --only dataset=mkg-w,label=MoCME{more}"
            for more in ("", " --set negatives.sampler=shared")
        ],
        "needs MKG-W and its public features",
    ),
    "harness bench models main_table_native --only dataset=mkg-w,label=NativE,label=MoMoK --set "
    "data.features=files": "files of the reader; test_bench.py runs it small",
    "harness compare quickstart:mocme quickstart:rotate": "needs the whole quickstart",
    "harness claims check results/claims.yaml": "test_claims.py checks these claims",
    "harness report --figure complexity --out complexity.pdf": "draws what was measured",
    "harness report --figure missing_modality --out missing_modality.pdf": "draws what was run",
    "harness report --figure experts --out experts.pdf": "draws what was run",
    "harness bench import complexity.json": "the file that pytest wrote; test_bench.py imports one",
    "pytest tests/benchmarks/test_complexity_benchmark.py --benchmark-only "
    "--benchmark-json=complexity.json": "minutes",
    "pytest tests/benchmarks/test_report_benchmark.py --benchmark-only": "minutes",
    'pytest tests/benchmarks --benchmark-only -k "fusion and d256-K3-M4-N16384" '
    "--benchmark-columns=min": "a minute",
    "harness run suites/complexity.yaml": "half an hour; test_bench.py runs a small one",
    "harness run suites/main_table.yaml": "days, on data that are not in the package",
    "harness run suites/main_table.yaml --only label=RotatE,dataset=mkg-w,seed=0": (
        "minutes, on data that are not in the package"
    ),
    "harness run suites/clean.yaml": "most of an hour, on data that are not in the package",
    "harness study run suites/thresholds.yaml --only dataset=atlas": "minutes: 72 runs",
    "harness data fetch mkg-w": "needs the network; test_data_from_a_mirror.py runs it",
    "harness data fetch mkg-w --no-features": "needs the network; likewise",
    "harness data audit mkg-w mkg-y db15k tiva kvc16k --format markdown --out docs/data_audit.md": (
        "data that are not in the package; test_data_audit.py runs it"
    ),
    **dict.fromkeys(
        [
            "harness data audit mkg-w --texts entity_text.tsv:short_description,image_summary_qwen",
            "harness data audit mkg-w --types types.tsv",
        ],
        "data that are not in the package; test_feature_leaks.py audits tables",
    ),
    "harness data import ~/benchmarks": "a folder of the reader; test_data_commands.py imports one",
}
"""Commands that are not run, and why."""

COMMANDS = ("harness", "python", "pip", "pytest", "ray")


class Block(NamedTuple):
    """A fenced block: its language, its text, and the file it is shown as ("" for none)."""

    language: str
    text: str
    file: str


def blocks(page: str) -> Iterator[Block]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    pattern = r"(?:`([^`\n]+[^`/])`:\n\n)?^```(\w*)\n(.*?)^```$"
    for match in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
        yield Block(match[2], match[3], match[1] or "")


def commands(block: Block) -> list[str]:
    """Return the commands of a block without prompts and remarks."""
    if block.language not in ("", "console", "bash", "sh"):
        return []
    found = []
    for line in block.text.splitlines():
        line = re.sub(r"\s+#\s.*$", "", line.removeprefix("$ ")).strip()
        parts = line.split(" && ")
        if parts[0].split(" ")[0] in COMMANDS:
            found += parts
        else:
            assert block.language != "console" or not line, f"not a command: {line}"
    return found


ALL_COMMANDS = {command for page in PAGES for block in blocks(page) for command in commands(block)}


# --- running ------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a checkout has, where commands are typed."""
    load_models()
    folder = tmp_path / "desk"
    for name in ("suites", "reports", "results/records"):
        shutil.copytree(REPOSITORY / name, folder / name)
    settings = folder / "suites/shared/atlas_settings.yaml"  # of the suites that pages run whole
    settings.write_text(re.sub(r"epochs: \d+", "epochs: 1", settings.read_text()))
    monkeypatch.setattr(suites, "shipped_folder", lambda: folder / "suites")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    for registry in (MODELS, STRATEGIES):  # pages add to them
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(significance, "RESAMPLES", 199)
    return folder


def prepare_database(make_record: Callable[..., RunRecord]) -> None:
    """The runs that docs/database.md speaks of, here and in another database."""
    for place, names in (("", ("3f2a", "91bc")), ("other/harness.db", ("77aa",))):
        with contextlib.closing(open_store(Path(place) if place else None)) as store:
            for seed, name in enumerate(names):
                run_id = f"{name}00000000"
                store.add(make_record(run_id, seed=seed))
                cell = Cell(
                    suite="quickstart",
                    position=0,
                    label="RotatE",
                    dataset="atlas",
                    seed=seed,
                    run_id=run_id,
                )
                store.plan("quickstart", "", [*store.cells("quickstart"), cell])


def prepare_few_records(_: Callable[..., RunRecord]) -> None:
    """Keep the records of two suites: importing and drawing all of them takes a minute."""
    for path in Path("results/records").iterdir():
        if path.name.partition(".")[0] not in ("main_table", "quickstart"):
            path.unlink()


def prepare_figures(_: Callable[..., RunRecord]) -> None:
    """Keep the records that the figures show."""
    shown = ("clean", "complexity", "experts", "main_table", "missing_modality", "noise")
    for path in Path("results/records").iterdir():
        if path.name.partition(".")[0] not in (*shown, "thresholds"):
            path.unlink()


def prepare_main_table(_: Callable[..., RunRecord]) -> None:
    """The committed records that docs/statistics.md speaks of."""
    files = [read_suite_file(path) for path in Path("results/records").glob("*.jsonl.gz")]
    cells = [cell for file in files for cell in file.cells if cell.suite == "main_table"]
    with contextlib.closing(open_store(results_home() / DATABASE)) as store:
        store.add_cells(cells)
        run_ids = {cell.run_id for cell in cells}
        for run in itertools.chain(*(file.content(Path()).runs for file in files)):
            if run.record.run_id in run_ids:
                store.add(run.record)
                ranks = run.files["ranks.npz"].content()
                write_whole(results_home() / "runs" / run.record.run_id / "ranks.npz", ranks)


def prepare_features(_: Callable[..., RunRecord]) -> None:
    import torch

    torch.save(torch.ones(3, 2), "old.pth")


PREPARE = {
    "README.md": prepare_few_records,
    "docs/clusters.md": prepare_database,
    "docs/database.md": prepare_database,
    "docs/features.md": prepare_features,
    "docs/gallery.md": prepare_figures,
    "docs/statistics.md": prepare_main_table,
    "reports/README.md": prepare_database,
}


def run(command: str) -> None:
    """Run a command line in this process."""
    words = shlex.split(command)
    if words[:2] == ["python", "-c"]:
        exec(words[2], {})
        return
    assert words[0] == "harness", f"cannot run '{command}': list it in NOT_RUN with a reason"
    words = [_newest_run() if word == "RUN" else word for word in words]
    result = CliRunner().invoke(app, words[1:])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"{command}: {result.exception}") from result.exception
    assert result.exit_code == 0, f"{command}:\n{result.output}"


def _newest_run() -> str:
    with contextlib.closing(open_store()) as store:
        trained = [record for record in store.find(status="ok") if record.history]
        return trained[-1].run_id


LONG = ("docs/database.md", "docs/gallery.md", "docs/studies.md", "docs/suites.md")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page in LONG else ()) for page in PAGES],
)
@pytest.mark.usefixtures("readable_ids")
def test_commands_and_python_of_a_page_run(
    page: str, desk: Path, make_record: Callable[..., RunRecord]
) -> None:
    PREPARE.get(page, lambda _: None)(make_record)
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.file:
            (desk / block.file).parent.mkdir(exist_ok=True)
            (desk / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, page, "exec"), names)
        for command in commands(block):
            if command not in NOT_RUN:
                run(f"{command} {SMALLER.get(command, '')}")


def test_nothing_is_excused_that_is_not_there() -> None:
    assert set(SMALLER) | set(NOT_RUN) <= ALL_COMMANDS
    assert not set(SMALLER) & set(NOT_RUN)


ENGINES: dict[str, type[ClusterSettings]] = {"slurm.yaml": SlurmSettings, "ray.yaml": RaySettings}
"""Engine file -> what it holds."""

# --- YAML ---------------------------------------------------------------------------------

YAML = [(page, block) for page in PAGES for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize(("page", "block"), YAML, ids=[f"{p}-{i}" for i, (p, _) in enumerate(YAML)])
def test_yaml_is_accepted(page: str, block: Block, desk: Path) -> None:
    """Suites are expanded; a part of a suite stands in one that is otherwise as small as can be."""
    path = desk / "suites" / "shown.yaml"
    if "suite:" in block.text and re.search(r"^(metrics|figure):", block.text, re.MULTILINE):
        path = desk / "reports" / "shown.yaml"
        path.write_text(block.text, encoding="utf-8")
        assert load_any(str(path)).title
        return
    if block.file in ENGINES:
        path.write_text(block.text, encoding="utf-8")
        assert load_yaml(path, ENGINES[block.file]).needs.cpus
        return
    if block.text.startswith("claims:"):
        path.write_text(block.text, encoding="utf-8")
        assert load_claims(path)[0].claims
        return
    text = block.text
    if not re.search(r"^name:", text, re.MULTILINE):
        head = "name: shown\ntitle: A part\ndatasets: [tiva, {dataset: atlas, features: all}]\n"
        text = head + text
        text += "" if "ablation:" in text or "rows:" in text else "rows: [rotate]\n"
    if "transe_text" in text:
        text = text.replace("transe_text", "transe")
        text = text.replace("  - transe\n", "", 1)
    if "dataset: clock," in text:  # the example plug-in's, which is not installed here
        text = text.replace("clock, features: letters-names", "atlas, features: all")
        text = text.replace("shifted_distmult", "distmult")
    if "dataset: my," in text:
        text = text.replace("dataset: my, features: hashed-names", "dataset: atlas, features: all")
    path.write_text(text, encoding="utf-8")
    assert expand(read_suite(path), {}).runs


# --- names and links ----------------------------------------------------------------------

TEXT = {
    page: (REPOSITORY / page).read_text(encoding="utf-8") for page in (*PAGES, "CONTRIBUTING.md")
}


EXAMPLE = "docs/adding_a_model.md"


def test_the_example_model_is_given_the_text_that_it_reads_and_no_more() -> None:
    (example,) = re.findall(r"capabilities = Capabilities\(.*?\n    \)", TEXT[EXAMPLE], re.DOTALL)
    assert 'requires=frozenset({"text"})' in example
    assert "uses_modalities" not in example


def known_commands() -> set[str]:
    def below(command: Any, path: str) -> Iterator[str]:
        if not hasattr(command, "commands"):
            yield path
            return
        for name, child in command.commands.items():
            yield from below(child, f"{path} {name}")

    return set(below(typer.main.get_command(app), "harness"))


def test_every_command_is_mentioned() -> None:
    everything = "\n".join(TEXT.values())
    assert [command for command in sorted(known_commands()) if command not in everything] == []


def test_commands_in_the_text_exist() -> None:
    known = known_commands()
    groups = {command.rsplit(" ", 1)[0] for command in known if command.count(" ") == 2}
    for page, text in TEXT.items():
        for words in re.findall(r"`harness ((?:[a-z]+ ?)+)", text.replace("\n", " ")):
            first, *rest = words.split()
            named = f"harness {first}"
            if named in groups and rest:
                named = f"{named} {rest[0]}"
            assert named in known | groups, f"{page}: {named}"


def test_benchmarks_in_the_text_exist() -> None:
    known = [command.callback.__name__ for command in benchmarks.registered_commands]
    for page, text in TEXT.items():
        for name in re.findall(r"python -m tests\.benchmarks ([a-z]+)", text):
            assert name in known, f"{page}: python -m tests.benchmarks {name}"


def slugs(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", TEXT)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXT[page]):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (REPOSITORY / page).parent / file if file else REPOSITORY / page
        assert target.exists(), f"{page}: {link}"
        assert not heading or heading in slugs(target), f"{page}: {link}"
