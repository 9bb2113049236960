"""Suites, studies and single runs: planned, executed, and used afterwards."""
