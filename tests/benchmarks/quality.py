"""Quality of the fused kernels: the MRR after the same training with both kinds of kernels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import catalog, pipeline
from harness.bench.text import note, table
from harness.bench.timing import OnProgress, silent
from harness.data.load import load_dataset
from harness.errors import ConfigError, suggest
from harness.plan import spec as plan
from tests.benchmarks.child import single_process

DIM, POSITIVES, NEGATIVES = 32, 256, 16
"""Small, since the reference holds every difference of a batch of queries and all entities."""
MODELS = {"transe": ("none", 0.03), "rotate": ("none", 0.03), "mocme": ("all", 0.001)}
"""Model -> its features, and a rate at which it learns within so few epochs."""


@dataclass(frozen=True)
class Quality:
    """Validation MRR (a fraction) after the same epochs.

    Attributes:
        model: name of the model.
        reference, fused: by kernels, from one seed.
        other_seed: with fused kernels, from the next seed.
    """

    model: str
    reference: float
    fused: float
    other_seed: float

    @property
    def difference(self) -> float:
        """Change by the fused kernels."""
        return self.fused - self.reference

    @property
    def between_seeds(self) -> float:
        """Change by another seed, for comparison."""
        return self.other_seed - self.fused


def measure(
    models: Sequence[str],
    dataset: str,
    *,
    epochs: int,
    seed: int,
    on_progress: OnProgress = silent,
) -> list[Quality]:
    """Train each model three times, each time in a process of its own.

    Args:
        models: names of ``MODELS``; all when empty.
        dataset: a small dataset with the feature set "all".
        epochs: epochs of each training; the MRR is that of the last.
        seed: first of two seeds.
        on_progress: progress callback.

    Raises:
        ConfigError: a model is not compared, or the dataset does not exist.
        DataError: the dataset is not on this machine, or one of its files is wrong.
        HarnessError: a training failed.
    """
    for model in models:
        if model not in MODELS:
            raise ConfigError(f"--models {model}: is not compared{suggest(model, MODELS)}")
    selected = list(models) or list(MODELS)
    for features in dict.fromkeys(MODELS[model][0] for model in selected):
        load_dataset(dataset, features)  # or a child process would report what is wrong with it
    trainings = (("reference", seed), ("auto", seed), ("auto", seed + 1))
    measured = []
    for position, model in enumerate(selected):
        scores = []
        for number, (kernels, training_seed) in enumerate(trainings):
            text = f"{model}, {kernels} kernels, seed {training_seed}"
            steps = position * len(trainings) + number
            on_progress(steps, len(selected) * len(trainings), text)
            with single_process() as pool:
                training = pool.submit(_train, model, dataset, epochs, training_seed, kernels)
                scores.append(training.result())
        measured.append(Quality(model, *scores))
    return measured


def _train(model: str, dataset: str, epochs: int, seed: int, kernels: str) -> float:
    """Return the validation MRR after the last epoch."""
    os.environ["HARNESS_KERNELS"] = kernels
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
        workplace = pipeline.Workplace(Path(folder), device="cpu")
        return float(pipeline.execute("quality", spec, workplace).history[-1]["valid_mrr"])


def quality_text(measured: Sequence[Quality], dataset: str, epochs: int, seed: int) -> str:
    """Format a line per model, MRR in percent."""
    headers = ["model", "reference", "fused", "difference", f"seed {seed + 1} instead"]
    rows = [
        [
            one.model,
            *(f"{100 * mrr:.3f}" for mrr in (one.reference, one.fused)),
            *(f"{100 * change:+.3f}" for change in (one.difference, one.between_seeds)),
        ]
        for one in measured
    ]
    legend = (
        f"Validation MRR in percent on {dataset} after {epochs} epochs from seed {seed}: "
        f"{DIM} components, {POSITIVES} positives, {NEGATIVES} negatives of each. Last column: "
        "change by another seed."
    )
    return f"{table(headers, rows)}\n\n{note(legend)}"
