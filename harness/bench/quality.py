"""The fused kernels train as well as the plain definition: same seed, same epochs, both kernels.

Also the entrance of the process that trains one of them:
``python -m harness.bench.quality MODEL DATASET EPOCHS SEED``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.bench.child import answer_of
from harness.bench.text import note, table
from harness.bench.timing import Tell
from harness.errors import ConfigError, RunError, suggest

__all__ = ["MODELS", "Quality", "measure", "quality_text"]

DIM, POSITIVES, NEGATIVES = 32, 256, 16
"""Small: the plain definition holds every difference of a batch of queries and all entities."""
MODELS = {"transe": ("none", 0.03), "rotate": ("none", 0.03), "mocme": ("all", 0.001)}
"""Model -> the features it is given, and a rate at which so few epochs teach it something."""


@dataclass(frozen=True)
class Quality:
    """Validation MRR (a fraction) after the same epochs.

    Attributes:
        model: which.
        reference, fused: by the kernels used, from one seed.
        other_seed: with fused kernels, from the next seed.
    """

    model: str
    reference: float
    fused: float
    other_seed: float

    @property
    def difference(self) -> float:
        """What the fused kernels change."""
        return self.fused - self.reference

    @property
    def between_seeds(self) -> float:
        """What another seed changes, for comparison."""
        return self.other_seed - self.fused


def measure(
    models: Sequence[str],
    dataset: str,
    *,
    epochs: int,
    seed: int,
    tell: Tell = lambda done, total, text: None,
) -> list[Quality]:
    """Train each model three times, each time in a process of its own.

    Args:
        models: of ``MODELS``; all when empty.
        dataset: a small one with the feature set "all".
        epochs: of every training; the MRR is that of the last.
        seed: the first of two.
        tell: told of the progress.

    Raises:
        ConfigError: a model that is not compared, or a dataset that there is not.
        DataError: the dataset is not on this machine, or a file of it is wrong.
        RunError: a training failed.
    """
    from harness.data.load import load

    for model in models:
        if model not in MODELS:
            raise ConfigError(f"--models {model}: is not compared{suggest(model, MODELS)}")
    chosen = list(models) or list(MODELS)
    for features in dict.fromkeys(MODELS[model][0] for model in chosen):
        load(dataset, features)  # what is wrong with it is said by this process
    ways = (("reference", seed), ("auto", seed), ("auto", seed + 1))
    found = []
    for place, model in enumerate(chosen):
        values = []
        for way, (kernels, started) in enumerate(ways):
            text = f"{model}, {kernels} kernels, seed {started}"
            tell(place * len(ways) + way, len(chosen) * len(ways), text)
            values.append(_trained_apart(model, dataset, epochs, started, kernels))
        found.append(Quality(model, *values))
    return found


def _trained_apart(model: str, dataset: str, epochs: int, seed: int, kernels: str) -> float:
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "harness.bench.quality", model, dataset, str(epochs), str(seed)],
        env=dict(os.environ, HARNESS_KERNELS=kernels),
        capture_output=True,
        text=True,
    )
    found = answer_of(done.stdout.strip().rpartition("\n")[2])
    if done.returncode or found is None:
        said = done.stderr.strip().splitlines() or ["it died without a word"]
        raise RunError(f"{model} with {kernels} kernels: {said[-1]}")
    return float(found["mrr"])


def _train(model: str, dataset: str, epochs: int, seed: int) -> float:
    """Return the validation MRR after the last epoch."""
    from harness import catalog, pipeline
    from harness.plan import spec as plan

    catalog.load_models()
    features, rate = MODELS[model]
    spec = plan.RunSpec(
        model=plan.ModelSpec.model_validate({"name": model, "dim": DIM}),
        data=plan.DataSpec(dataset=dataset, features=features),
        negatives=plan.NegativesSpec(count=NEGATIVES),
        optimiser=plan.OptimiserSpec(lr=rate),
        training=plan.TrainingSpec(
            epochs=epochs, batch_size=POSITIVES, evaluate_every=epochs, patience=0
        ),
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        place = pipeline.Workplace(Path(folder), device="cpu")
        return float(pipeline.execute("quality", spec, place).history[-1]["valid_mrr"])


def quality_text(found: Sequence[Quality], dataset: str, epochs: int, seed: int) -> str:
    """Return a line per model, MRR in percent."""
    headers = ["model", "reference", "fused", "difference", f"seed {seed + 1} instead"]
    rows = [
        [
            one.model,
            f"{100 * one.reference:.3f}",
            f"{100 * one.fused:.3f}",
            f"{100 * one.difference:+.3f}",
            f"{100 * one.between_seeds:+.3f}",
        ]
        for one in found
    ]
    about = (
        f"Validation MRR in percent on {dataset} after {epochs} epochs from seed {seed}: "
        f"{DIM} components, {POSITIVES} positives, {NEGATIVES} negatives of each. The last column "
        "is what another seed changes."
    )
    return f"{table(headers, rows)}\n\n{note(about)}"


if __name__ == "__main__":
    _model, _dataset, _epochs, _seed = sys.argv[1:]
    print(json.dumps({"mrr": _train(_model, _dataset, int(_epochs), int(_seed))}))
