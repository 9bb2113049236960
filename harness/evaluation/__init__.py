"""Evaluation: from scores to ranks to metrics."""
