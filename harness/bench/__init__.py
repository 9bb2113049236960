"""``harness bench``: time and memory of fusion by size, and of an epoch of each row of a suite.

Measurements of the harness itself are scripts of a checkout (``python -m tests.benchmarks``).
"""
