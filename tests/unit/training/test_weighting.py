"""Weights of negatives: the entropy, its thresholds and what each reading does."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from pydantic import ValidationError

from harness.plan.spec import EgnsWeighting, ObjectiveSpec
from harness.training.objectives import contrast
from harness.training.weighting import binary_entropy, egns, self_adversarial, uniform

LOGITS = torch.linspace(-12, 12, 97)


def weights_of(logits: list[float], **options: object) -> list[float]:
    spec = EgnsWeighting.model_validate(options)
    return egns(torch.tensor([logits]), 0.0, spec)[0][0].tolist()


@pytest.mark.parametrize(("base", "number"), [("bits", 2), ("nats", math.e)])
def test_the_entropy_is_that_of_a_coin(base: str, number: float) -> None:
    p = torch.sigmoid(LOGITS.double()).numpy()
    expected = scipy.stats.entropy([p, 1 - p], base=number)
    assert binary_entropy(LOGITS, base).numpy() == pytest.approx(expected, abs=1e-6)


def test_a_logit_of_zero_has_exactly_one_bit() -> None:
    assert float(binary_entropy(torch.zeros(()))) == 1.0


def test_certain_outcomes_have_no_entropy_and_are_not_nan() -> None:
    assert binary_entropy(torch.tensor([-1e4, -200.0, 200.0, 1e4])).tolist() == [0.0] * 4


def test_in_nats_nothing_is_ever_hard_at_the_published_threshold() -> None:
    assert float(binary_entropy(LOGITS, "nats").max()) < 0.8
    _, shares = egns(LOGITS[None], 0.0, EgnsWeighting(base="nats"))
    assert float(shares["hard"]) == 0.0


@pytest.mark.parametrize(
    ("bits", "logit"), [(0.1, -4.33), (0.2, -3.44), (0.5, -2.09), (0.8, -1.14), (0.9, -0.77)]
)
def test_thresholds_lie_at_known_logits(bits: float, logit: float) -> None:
    above, below = binary_entropy(torch.tensor([logit + 0.01, logit - 0.01]))
    assert float(below) < bits < float(above)


def test_published_classes_easy_ambiguous_hard() -> None:
    assert weights_of([-5.0, -2.0, -0.5]) == pytest.approx([0.5, 1.5, 1.2])


def test_literally_a_confidently_wrong_negative_is_easy() -> None:
    assert weights_of([5.0, 2.0, 0.5]) == pytest.approx([0.5, 1.5, 1.2])


def test_a_confidently_wrong_negative_can_be_called_hard() -> None:
    assert weights_of([-5.0, 5.0, 2.0], overconfident="hard") == pytest.approx([0.5, 1.2, 1.2])


def test_thresholds_at_zero_make_all_hard() -> None:
    assert set(weights_of(LOGITS.tolist(), delta=(0.0, 0.0), hard=7)) == {7.0}


def test_thresholds_above_one_bit_make_all_easy() -> None:
    assert set(weights_of(LOGITS.tolist(), delta=(1.001, 1.001), easy=7)) == {7.0}


def test_one_bit_reaches_a_threshold_of_one() -> None:
    assert weights_of([0.0], delta=(0.2, 1.0), hard=7) == [7.0]


def test_an_entropy_equal_to_the_first_threshold_is_ambiguous() -> None:
    bits = float(binary_entropy(torch.tensor(-2.0)))
    assert weights_of([-2.0], delta=(bits, 0.8), ambiguous=7) == [7.0]


def test_equal_thresholds_leave_no_ambiguous_class() -> None:
    _, shares = egns(LOGITS[None], 0.0, EgnsWeighting(delta=(0.5, 0.5)))
    assert float(shares["ambiguous"]) == 0.0


def test_without_margin_the_entropy_is_that_of_minus_the_distance() -> None:
    scores, margin = torch.tensor([[3.5, 1.0, -4.0]]), 4.0
    spec = EgnsWeighting(score="without_margin")
    expected, _ = egns(scores - margin, 0.0, EgnsWeighting())
    assert torch.equal(egns(scores, margin, spec)[0], expected)
    assert not torch.equal(egns(scores, margin, EgnsWeighting())[0], expected)


def test_shares_are_those_of_the_classes_and_sum_to_one() -> None:
    _, shares = egns(torch.tensor([[-5.0, -5.0, -2.0, 0.0]]), 0.0, EgnsWeighting())
    assert {k: float(v) for k, v in shares.items()} == {
        "easy": 0.5,
        "ambiguous": 0.25,
        "hard": 0.25,
    }


def test_weights_have_no_gradient() -> None:
    scores = torch.randn(4, 5, requires_grad=True)
    weights, shares = egns(scores, 0.0, EgnsWeighting())
    assert not weights.requires_grad
    assert not any(share.requires_grad for share in shares.values())
    assert not self_adversarial(scores, 2.0).requires_grad
    assert not uniform(scores).requires_grad


def test_smooth_weights_pass_the_thresholds_as_sigmoids() -> None:
    logits, (low, high), width = [-5.0, -2.0, -0.5, 0.0, 3.0], (0.2, 0.8), 0.05
    expected = []
    for bits in binary_entropy(torch.tensor(logits)).tolist():
        first = 1 / (1 + math.exp(-(bits - low) / width))
        second = 1 / (1 + math.exp(-(bits - high) / width))
        expected.append(0.5 + 1.0 * first - 0.3 * second)
    assert weights_of(logits, smooth=width) == pytest.approx(expected, abs=1e-6)


def test_narrow_smooth_weights_are_the_steps_away_from_the_thresholds() -> None:
    logits = [-5.0, -2.0, -0.5, 5.0]
    for reading in ("literal", "hard"):
        narrow = weights_of(logits, smooth=1e-3, overconfident=reading)
        assert narrow == pytest.approx(weights_of(logits, overconfident=reading))


def test_a_gradient_flows_through_smooth_weights_only_when_it_may() -> None:
    found = {}
    for gradient in ("stop", "flow"):
        spec = ObjectiveSpec(weighting="egns", egns=EgnsWeighting(smooth=0.1, gradient=gradient))
        positive, negative = torch.zeros(2), torch.tensor([[-3.0, -1.0], [-3.4, 0.5]])
        negative.requires_grad_()
        loss, _ = contrast(positive, negative, spec, 4.0)
        loss.backward()
        found[gradient] = (float(loss.detach()), negative.grad)
    assert found["stop"][0] == found["flow"][0]
    assert torch.isfinite(found["flow"][1]).all()
    assert not torch.allclose(found["stop"][1], found["flow"][1])


def test_steps_cannot_pass_a_gradient() -> None:
    with pytest.raises(ValidationError, match="needs smooth > 0"):
        EgnsWeighting(gradient="flow")


def test_low_precision_scores_are_weighed_in_fp32() -> None:
    scores = torch.tensor([[-5.0, -2.0, 0.5]], dtype=torch.bfloat16)
    for weights in (
        uniform(scores),
        self_adversarial(scores, 1.0),
        egns(scores, 0, EgnsWeighting())[0],
    ):
        assert weights.dtype == torch.float32


def test_self_adversarial_weights_sum_to_one_and_prefer_high_scores() -> None:
    weights = self_adversarial(torch.tensor([[0.0, 1.0, 3.0]]), 2.0)
    assert weights[0].tolist() == pytest.approx(
        [math.exp(2 * s) / (1 + math.exp(2) + math.exp(6)) for s in (0, 1, 3)]
    )


def test_a_temperature_of_zero_weighs_all_alike() -> None:
    assert self_adversarial(torch.randn(1, 4), 0.0)[0].tolist() == [0.25] * 4


def test_equal_class_weights_give_the_plain_logistic_loss() -> None:
    positive, negative = torch.randn(6), torch.randn(6, 9) * 4
    ones = EgnsWeighting(easy=1, ambiguous=1, hard=1)
    weighted, _ = contrast(positive, negative, ObjectiveSpec(weighting="egns", egns=ones), 4.0)
    plain, _ = contrast(positive, negative, ObjectiveSpec(weighting="uniform"), 4.0)
    assert torch.equal(weighted, plain)
