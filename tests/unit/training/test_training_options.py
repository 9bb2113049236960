"""Epochs of draws, subsampling, warm-up and schedules against their written-out formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.catalog import build_model, load_models
from harness.config.override import Setting
from harness.data.batches import batches_of, drawn_batches, epoch_batches, steps_per_epoch
from harness.errors import ConfigError
from harness.index import GraphIndex
from harness.model import MODELS, Model
from harness.plan.settings import build_spec
from harness.plan.spec import ObjectiveSpec, OptimiserSpec, RunSpec, TrainingSpec
from harness.training.checkpoint import CheckpointFolder
from harness.training.loop import fit
from harness.training.objectives import contrast
from harness.training.optimisers import learning_rate
from harness.training.procedures import StandardProcedure
from harness.training.subsampling import PairFrequency

load_models()
N, R = 12, 2
DRAW = torch.Generator().manual_seed(1)
ROWS = torch.stack([torch.randint(n, (40,), generator=DRAW) for n in (N, R, N)], 1)
TRAIN = torch.cat([ROWS, ROWS[:25]])
"""Some rows occur twice."""
INDEX = GraphIndex(N, R, TRAIN, "d")
DISTINCT = torch.unique(TRAIN, dim=0)


def spec_of(**parts: Any) -> RunSpec:
    training = {"epochs": 3, "batch_size": 16, "evaluate_every": 1, **parts.pop("training", {})}
    return RunSpec.model_validate(
        {
            "model": {"name": parts.pop("model", "complex")},
            "data": {"dataset": "x"},
            "negatives": {"count": 4},
            "training": training,
            **parts,
        }
    )


# --- epochs -------------------------------------------------------------------------------


def test_an_epoch_of_draws_has_the_whole_batches_of_the_distinct_rows() -> None:
    batches = list(batches_of(TRAIN, "draws")(16, 3))
    assert [len(batch) for batch in batches] == [16] * (len(DISTINCT) // 16)
    assert len(batches) == steps_per_epoch(len(DISTINCT), 16, "draws")
    assert steps_per_epoch(11_652, 1024, "draws") == 11  # TIVA
    assert steps_per_epoch(20_071, 1024, "pass") == 20


def test_draws_are_uniform_and_with_replacement() -> None:
    rows = torch.arange(30).view(10, 3)
    counts = torch.zeros(10)
    for seed in range(400):
        for batch in drawn_batches(rows, 5, seed):
            counts += torch.bincount(batch[:, 0] // 3, minlength=10)
    assert counts.sum() == 400 * 2 * 5
    assert (counts / 400 - 1).abs().max() < 0.2
    assert any(len(torch.unique(b, dim=0)) < 5 for b in drawn_batches(rows, 5, 0))


def test_draws_are_those_of_the_seed_whatever_was_drawn_before() -> None:
    batches = batches_of(TRAIN, "draws")
    generator = torch.Generator().manual_seed(7)
    drawn = torch.randint(len(DISTINCT), (len(DISTINCT) // 16, 16), generator=generator)
    assert torch.equal(torch.stack(list(batches(16, 7))), DISTINCT[drawn])
    assert not torch.equal(torch.stack(list(batches(16, 8))), DISTINCT[drawn])


def test_a_batch_larger_than_train_is_drawn_once_an_epoch() -> None:
    assert [len(batch) for batch in batches_of(TRAIN, "draws")(500, 0)] == [500]
    assert not list(batches_of(TRAIN[:0], "draws")(500, 0))


def test_a_pass_is_what_it_was() -> None:
    order = torch.randperm(len(TRAIN), generator=torch.Generator().manual_seed(7))
    for batches in (batches_of(TRAIN, "pass")(16, 7), epoch_batches(TRAIN, 16, 7)):
        assert torch.equal(torch.cat(list(batches)), TRAIN[order])


def trained(folder: Path, spec: RunSpec, *epochs: int) -> tuple[Model, list[int]]:
    """Train in stages that end with these epochs; return the model and the sizes of batches."""
    sizes: list[int] = []
    for last in epochs:
        reciprocal = spec.objective.against_all
        model = build_model("complex", {"dim": 4, "reciprocal": reciprocal}, INDEX, seed=0)
        procedure = StandardProcedure(model, INDEX, spec, torch.device("cpu"))
        step = procedure.step

        def counted(batch: Tensor, generator: torch.Generator, step: Any = step) -> Any:
            sizes.append(len(batch))
            return step(batch, generator)

        procedure.step = counted  # type: ignore[method-assign]
        fit(
            model, procedure, spec.training.model_copy(update={"epochs": last}),
            CheckpointFolder(folder), lambda: {"mrr": 0.0}, seed=0, dataset="d",
        )  # fmt: skip
    return model, sizes


@pytest.mark.parametrize("loss", ["logistic", "one_vs_all", "k_vs_all"])
def test_training_by_draws_resumes_to_the_bit(tmp_path: Path, loss: str) -> None:
    spec = spec_of(training={"traversal": "draws"}, objective={"loss": loss, "sides": "one"})
    straight, sizes = trained(tmp_path / "a", spec, 4)
    resumed, _ = trained(tmp_path / "b", spec, 2, 4)
    assert set(sizes) == {16}
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    passed, _ = trained(tmp_path / "c", spec_of(objective={"loss": loss, "sides": "one"}), 4)
    assert not torch.equal(passed.get_parameter("entity"), straight.get_parameter("entity"))


# --- subsampling --------------------------------------------------------------------------


def importance_of(triple: tuple[int, int, int]) -> float:
    """Return the weight of a triple as the RotatE repository counts."""
    count: dict[tuple[int, int], int] = {}
    for head, relation, tail in TRAIN.tolist():
        for pair in ((head, relation), (tail, -relation - 1)):
            count[pair] = count[pair] + 1 if pair in count else 4
    head, relation, tail = triple
    return 1 / math.sqrt(count[head, relation] + count[tail, -relation - 1])


def test_pairs_are_counted_as_in_the_repository_of_rotate() -> None:
    found = PairFrequency(TRAIN, R)(TRAIN[:50])
    assert found.tolist() == pytest.approx([importance_of(tuple(t)) for t in TRAIN[:50].tolist()])


@pytest.mark.parametrize("loss", ["logistic", "margin"])
def test_frequent_positives_count_less_with_their_negatives(loss: str) -> None:
    positive, negative = (torch.randn(size, generator=DRAW) for size in ((6,), (6, 3)))
    weights = torch.rand(6, generator=DRAW) + 0.1
    spec = ObjectiveSpec(loss=loss, margin=1.0, temperature=0.5)  # type: ignore[arg-type]
    found, _ = contrast(positive, negative, spec, 0.0, weights)
    total = 0.0
    for w, s, others in zip(weights.tolist(), positive.tolist(), negative.tolist(), strict=True):
        shares = [math.exp(0.5 * o) for o in others]
        adversarial = [share / sum(shares) for share in shares]
        if loss == "margin":
            pairs = zip(adversarial, others, strict=True)
            total += w * sum(a * max(0.0, 1.0 - s + o) for a, o in pairs)
        else:
            of_negatives = sum(
                a * math.log1p(math.exp(o)) for a, o in zip(adversarial, others, strict=True)
            )
            total += w * (math.log1p(math.exp(-s)) + of_negatives) / 2
    assert float(found) == pytest.approx(total / float(weights.sum()), rel=1e-5)


def test_equal_weights_are_none_and_none_is_the_default() -> None:
    positive, negative = (torch.randn(size, generator=DRAW) for size in ((6,), (6, 3)))
    plain, _ = contrast(positive, negative, ObjectiveSpec(), 0.0)
    none, _ = contrast(positive, negative, ObjectiveSpec(), 0.0, None)
    equal, _ = contrast(positive, negative, ObjectiveSpec(), 0.0, torch.full((6,), 0.3))
    assert torch.equal(plain, none)
    assert torch.allclose(plain, equal)


def test_a_run_with_subsampling_weighs_its_positives() -> None:
    losses = []
    for subsampling in (True, False):
        spec = spec_of(model="rotate", objective={"subsampling": subsampling})
        model = build_model("rotate", {"dim": 4}, INDEX, seed=0)
        loss = StandardProcedure(model, INDEX, spec, torch.device("cpu")).loss
        assert (loss.importance is not None) == subsampling  # type: ignore[attr-defined]
        losses.append(loss(TRAIN[:16], torch.Generator().manual_seed(0))[0].item())
    assert losses[0] != losses[1]


# --- schedules ----------------------------------------------------------------------------


def rates(epochs: int, **options: Any) -> list[float]:
    spec = OptimiserSpec(lr=0.5, **options)
    return [learning_rate(spec, epoch, epochs) for epoch in range(epochs)]


def test_linear_falls_to_nothing_after_the_last_epoch() -> None:
    assert rates(5, schedule="linear") == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "restarts"])
def test_a_warm_up_rises_to_the_schedule_which_goes_over_the_other_epochs(schedule: str) -> None:
    warm = rates(13, schedule=schedule, warmup=3, cycle=2)
    assert warm[:3] == pytest.approx([0.5 / 4, 0.5 * 2 / 4, 0.5 * 3 / 4])
    assert warm[3:] == rates(10, schedule=schedule, cycle=2)
    assert warm[3] == 0.5


def test_restarts_are_those_of_torch() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, 3, T_mult=2)
    theirs = []
    for _ in range(30):
        theirs.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates(30, schedule="restarts", cycle=3) == pytest.approx(theirs)


def test_without_a_warm_up_schedules_are_what_they_were() -> None:
    for epoch, rate in enumerate(rates(7, schedule="cosine")):
        assert rate == 0.5 * (1.0 + math.cos(math.pi * epoch / 7)) / 2.0
    assert rates(5, schedule="step") == [0.5, 0.5, 0.5, 0.05, 0.05]


# --- identity -----------------------------------------------------------------------------


def built(**values: object) -> RunSpec:
    layers = [Setting(tuple(k.split(".")), v, f"x.yaml:1: {k}", True) for k, v in values.items()]
    return build_spec(layers, name="complex", model=MODELS.get("complex"), dataset="x", seed=0)


def run_id(**values: object) -> str:
    return built(**values).run_id(dataset_digest="d", feature_digest="", model_numerics=1)


@pytest.mark.parametrize(
    ("option", "value", "other", "effect"),
    [
        ("objective.softmax_smoothing", 0.0, 0.1, {"objective.loss": "one_vs_all"}),
        ("objective.sides", "both", "one", {"objective.loss": "one_vs_all"}),
        ("objective.subsampling", False, True, {}),
        ("optimiser.warmup", 0, 2, {}),
        ("optimiser.cycle", 50, 5, {"optimiser.schedule": "restarts"}),
        ("training.traversal", "pass", "draws", {}),
    ],
)
def test_a_default_makes_no_other_run_and_another_value_does(
    option: str, value: object, other: object, effect: dict[str, object]
) -> None:
    assert run_id(**{option: value}, **effect) == run_id(**effect)
    assert run_id(**{option: other}, **effect) != run_id(**effect)


@pytest.mark.parametrize(
    ("option", "value", "without"),
    [
        ("objective.softmax_smoothing", 0.1, {}),
        ("objective.softmax_smoothing", 0.1, {"objective.loss": "k_vs_all"}),
        ("objective.sides", "one", {}),
        ("objective.subsampling", True, {"objective.loss": "one_vs_all"}),
        ("optimiser.cycle", 5, {"optimiser.schedule": "cosine"}),
    ],
)
def test_an_option_without_effect_makes_no_other_run(
    option: str, value: object, without: dict[str, object]
) -> None:
    assert run_id(**{option: value}, **without) == run_id(**without)


def test_defaults_are_those_of_existing_runs() -> None:
    objective, optimiser, training = ObjectiveSpec(), OptimiserSpec(), TrainingSpec()
    assert (objective.softmax_smoothing, objective.sides, objective.subsampling) == (
        0.0,
        "both",
        False,
    )
    assert (optimiser.warmup, training.traversal) == (0, "pass")


# --- auxiliary losses ---------------------------------------------------------------------


def test_an_auxiliary_loss_that_trains_no_parameter_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build_model("complex", {"dim": 4}, INDEX, {})
    procedure = StandardProcedure(model, INDEX, spec_of(), torch.device("cpu"))
    procedure.start_epoch(0)
    monkeypatch.setattr(type(model), "auxiliary_loss", lambda self, draw: self.entity.sum())
    with pytest.raises(
        ConfigError, match=r"ComplEx: auxiliary_loss .* return the loss from penalty"
    ):
        procedure.step(TRAIN[:5], torch.Generator())
