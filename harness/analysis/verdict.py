"""The verdict of a comparison as a sentence, and how its numbers are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.significance import DifferenceTest
from harness.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from harness.analysis.compare import MetricComparison, SideComparison

__all__ = [
    "headline",
    "shown_difference",
    "shown_interval",
    "shown_number",
    "shown_p",
    "shown_sign",
    "side_names",
]


def headline(comparison: SideComparison, compared: MetricComparison) -> str:
    """Return which side is better on a metric, by how much, and how sure that is."""
    first, second = side_names(comparison)
    phrases = {
        "better": f"{first} is better than {second}",
        "worse": f"{first} is worse than {second}",
        "open": f"{first} and {second} cannot be told apart",
    }[compared.answer]
    subset = f", {comparison.bucket} triples" * (comparison.bucket != "all")
    alone = " (one seed)" * (len(comparison.seeds) == 1)
    title = METRICS[compared.metric].title
    return (
        f"{phrases} on {comparison.dataset}{subset}: {title} "
        f"{shown_difference(compared.metric, compared.finding)}, {shown_p(compared.finding.p)}"
        f"{alone}"
    )


def shown_difference(metric: str, finding: DifferenceTest) -> str:
    """Return a difference with its interval: ``+0.38 (0.03 to 0.72)``."""
    return f"{shown_sign(metric, finding.difference)} ({shown_interval(metric, finding)})"


def shown_p(p: float) -> str:
    """Return ``p = 0.042``; very small ones as a bound."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.995 else "p = 1"


def side_names(comparison: SideComparison) -> tuple[str, str]:
    """Return the labels of the sides, what the user called them where these are the same."""
    labels = comparison.first.label, comparison.second.label
    return labels if labels[0] != labels[1] else (comparison.first.text, comparison.second.text)


def shown_number(metric: str, value: float, sign: str = "") -> str:
    """Return a value in points with two decimals; ranks, which are large, with one."""
    return f"{value:{sign}z.{2 if METRICS[metric].factor > 1 else 1}f}"


def shown_sign(metric: str, value: float) -> str:
    """Return a value with its sign; zero without."""
    text = shown_number(metric, value, "+")
    return text if text.strip("+-0.") else text[1:]


def shown_interval(metric: str, finding: DifferenceTest) -> str:
    """Return the interval of a difference: ``0.03 to 0.72``."""
    return f"{shown_number(metric, finding.low)} to {shown_number(metric, finding.high)}"
