"""Tests and benchmarks of the harness.

A regular package, since TorchKGE installs a package ``tests`` that would hide a namespace package.
"""
