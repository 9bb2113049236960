"""A model card: a folder with the weights, the record and a description of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, DataError, MachineError
from harness.plan.spec import changed_values
from harness.run.runs import get_record, resolve_run
from harness.store.records import RunRecord
from harness.training.checkpoint import CheckpointFolder

__all__ = ["write_model_card"]

_METRICS = {"mrr": "MRR", "hits@1": "Hits@1", "hits@3": "Hits@3", "hits@10": "Hits@10"}


def write_model_card(run: str, out: Path, home: Path | str | None = None) -> list[Path]:
    """Write a folder that can be published as a model, for example on Hugging Face.

    Args:
        run: id of a tested run, or its beginning.
        out: new folder: ``README.md`` (the card), ``model.safetensors`` (weights of the selected
            epoch), ``record.json`` (settings, metrics, provenance).
        home: results folder; ``$HARNESS_HOME``, else ``results``, when None.

    Returns:
        The files.

    Raises:
        ConfigError: there is no such run, it was not tested, or ``out`` is not empty.
        DataError: the folder of the run holds no checkpoint.
        MachineError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    run_id, folder = resolve_run(run, home)
    record = get_record(run_id, home)
    if record.status != "ok":
        raise ConfigError(f"run {run_id} is {record.status}; a card has the figures of the test")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is there already and not empty; choose a new folder")
    weights = CheckpointFolder(folder).load_best() if folder.is_dir() else None
    if weights is None:
        raise DataError(f"{folder}: holds no checkpoint of run {run_id}; its record alone is left")
    files = [out / name for name in ("README.md", "model.safetensors", "record.json")]
    try:
        out.mkdir(parents=True, exist_ok=True)
        files[0].write_text(_card(record), encoding="utf-8")
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, files[1])
        files[2].write_text(record.model_dump_json(indent=2), encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{error.filename or out}: {error.strerror or error}") from error
    return files


def _card(record: RunRecord) -> str:
    label = record.cells[0].label if record.cells else record.model
    title = f"{label} on {record.dataset}"
    metrics = {name: record.metric(name) for name in _METRICS}
    values = [(name, value) for name, value in metrics.items() if value is not None]
    header = [
        "---",
        "library_name: mmkgc-harness",
        "tags: [knowledge-graph, link-prediction, multi-modal]",
        "model-index:",
        f"- name: {_quoted(title)}",
        "  results:",
        "  - task: {type: graph-ml, name: Link prediction}",
        f"    dataset: {{type: {_quoted(record.dataset)}, name: {_quoted(record.dataset)}}}",
        "    metrics:",
        *(f"    - {{type: {_quoted(name)}, value: {value:.6f}}}" for name, value in values),
        "---",
    ]
    features = (
        f"{record.features} ({', '.join(record.modalities)})" if record.modalities else "none"
    )
    facts = {
        "run": f"`{record.run_id}`",
        "model": record.model,
        "dataset": f"{record.dataset}, digest `{record.dataset_digest}`",
        "features": features,
        "seed": record.seed,
        "epochs": len(record.history),
        "protocol": record.protocol,
        "harness": record.provenance.get("commit", "-"),
    }
    settings = json.dumps(changed_values(record.spec), indent=2, ensure_ascii=False)
    lines = [
        *header,
        "",
        f"# {title}",
        "",
        f"Link prediction on the test split: {record.spec.protocol.describe()}.",
        "",
        "| metric | value |",
        "| --- | ---: |",
        *(f"| {_METRICS[name]} | {100 * value:.2f} % |" for name, value in values),
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {key} | {value} |" for key, value in facts.items()),
        "",
        "## Settings that differ from the defaults",
        "",
        "```json",
        settings,
        "```",
    ]
    if record.notes:
        lines += ["", "## Remarks", "", *(f"* {note}" for note in record.notes)]
    lines += [
        "",
        "## Files",
        "",
        "`model.safetensors` has the parameters of the selected epoch by name, `record.json` "
        "settings, metrics, curves and provenance. `harness run --spec` with the settings above "
        "trains the model again.",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: Any) -> str:
    return json.dumps(str(text), ensure_ascii=False)
