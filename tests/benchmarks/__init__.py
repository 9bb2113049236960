"""Measurements of the harness itself, run from a checkout: ``python -m tests.benchmarks``."""
