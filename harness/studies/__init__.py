"""Searches for settings, with Optuna: the only package that imports it."""
